"""Replicas whose clocks differ, or go back: one PostgreSQL keeps the order, whatever they say."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest

from gate.domain.change import Operation
from gate.ports.policy import DeclaredModes
from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import close_pool, open_pool
from gate.services.admission import Admission
from gate.spool.absent import AbsentSpool
from tests.admissions import make_admission
from tests.reviews import Body, make_body
from tests.timeline import SCALE_OSCILLATION, SEAL, START, Clock, Event, Outcome, make_request

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
APART = 2 * SECOND
BACK = 5 * MINUTE


@dataclass
class Replica:
    """One replica with a clock of its own, `offset` from the true time."""

    admission: Admission
    clock: Clock
    offset: timedelta


@dataclass
class Shop:
    """A workload that agents change through either replica."""

    replicas: tuple[Replica, Replica]
    body: Body

    async def scale(self, number: int, replicas: int, *, at: timedelta) -> Event:
        """Ask one replica, so long after the start, and store what it admits."""
        replica = self.replicas[number]
        replica.clock.now = START + at + replica.offset
        new = copy.deepcopy(self.body)
        new["spec"]["replicas"] = replicas
        new["metadata"]["generation"] += 1
        request = make_request(Operation.UPDATE, old=copy.deepcopy(self.body), new=new)
        deadline = asyncio.get_running_loop().time() + 30
        reviewed = await replica.admission.review(request, deadline=deadline)
        assert reviewed.failure is None
        event = Event(replica.clock.now, reviewed)
        if event.outcome is not Outcome.REFUSED:
            version = int(new["metadata"]["resourceVersion"]) + 1
            new["metadata"]["resourceVersion"] = str(version)
            self.body = new
        return event

    async def loop(self) -> Event:
        """Swing from 5 to 3 and back through both replicas, and return the refusal."""
        first = await self.scale(0, 3, at=0 * SECOND)
        second = await self.scale(1, 5, at=0.5 * SECOND)
        third = await self.scale(0, 3, at=SECOND)
        outcomes = [event.outcome for event in (first, second, third)]
        assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REFUSED]
        return third


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        replicas = []
        for offset in (0 * SECOND, -APART):
            pool = await open_pool(dsn, size=2, application_name="gate-tests")
            stack.push_async_callback(close_pool, pool, grace=5)
            clock = Clock()
            admission = await make_admission(
                PostgresHistories(pool),
                clock=clock,
                seal=SEAL,
                patterns=(SCALE_OSCILLATION,),
                modes=DeclaredModes(),
                effectiveness={},
                spool=AbsentSpool(),
            )
            replicas.append(Replica(admission, clock, offset))
        one, two = replicas
        yield Shop((one, two), make_body(replicas=5))


async def read_traces(dsn: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(
            "SELECT version, verdict, action_timestamp FROM resource_action_traces ORDER BY version"
        )
    finally:
        await connection.close()


async def test_a_loop_through_replicas_two_seconds_apart_is_refused_by_both(
    shop: Shop, dsn: str
) -> None:
    await shop.loop()

    other = await shop.scale(1, 3, at=1.5 * SECOND)

    assert other.outcome is Outcome.REFUSED
    traces = await read_traces(dsn)
    assert [trace["verdict"] for trace in traces] == ["allow", "allow", "deny"]
    assert [trace["version"] for trace in traces] == [1, 2, 3]
    assert traces[1]["action_timestamp"] < traces[0]["action_timestamp"]


@pytest.mark.parametrize("number", [0, 1])
async def test_a_promise_given_by_one_replica_is_kept_by_the_other_by_its_own_clock(
    shop: Shop, number: int
) -> None:
    refusal = await shop.loop()
    promised = refusal.until - START - shop.replicas[number].offset

    before = await shop.scale(number, 3, at=promised - SECOND)
    after = await shop.scale(number, 3, at=promised)

    assert (before.outcome, after.outcome) == (Outcome.REFUSED, Outcome.ADMITTED)


async def test_a_clock_that_goes_back_lets_no_loop_through_and_loses_no_order(
    shop: Shop, dsn: str
) -> None:
    await shop.scale(0, 3, at=10 * MINUTE)
    await shop.scale(0, 5, at=11 * MINUTE)

    back = [await shop.scale(number, 3, at=11 * MINUTE - BACK) for number in (0, 1)]

    assert [event.outcome for event in back] == [Outcome.REFUSED, Outcome.REFUSED]
    traces = await read_traces(dsn)
    assert [trace["version"] for trace in traces] == list(range(1, len(traces) + 1))
    assert [trace["verdict"] for trace in traces][:3] == ["allow", "allow", "deny"]


async def test_a_promise_given_before_the_clock_went_back_is_kept(shop: Shop) -> None:
    refusal = await shop.loop()
    promised = refusal.until - START

    back = await shop.scale(0, 3, at=-BACK)
    before = await shop.scale(0, 3, at=promised - SECOND)
    after = await shop.scale(0, 3, at=promised)

    outcomes = [event.outcome for event in (back, before, after)]
    assert outcomes == [Outcome.REFUSED, Outcome.REFUSED, Outcome.ADMITTED]
