"""What PostgreSQL can do to gate: every review is answered in time, and nothing is lost."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import asyncpg
import pytest

from tests.faults.stand import LATE, Replica, Stand, family_of, grow, make_workloads, signal_all

LIMIT = 2.0
Fault = Callable[[Stand], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def frozen(stand: Stand) -> AsyncIterator[None]:
    family = family_of(stand.server)
    signal_all(family, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(family, signal.SIGCONT)


@asynccontextmanager
async def stopped(stand: Stand) -> AsyncIterator[None]:
    await stand.server.__aexit__(None, None, None)
    try:
        yield
    finally:
        await stand.server.__aenter__()


@asynccontextmanager
async def killed(stand: Stand) -> AsyncIterator[None]:
    signal_all(family_of(stand.server), signal.SIGKILL)
    await stand.server.__aexit__(None, None, None)
    try:
        yield
    finally:
        await stand.server.__aenter__()


@asynccontextmanager
async def out_of_connections(stand: Stand) -> AsyncIterator[None]:
    """Take every connection there is, those of gate included."""
    async with AsyncExitStack() as held:
        administrator = await asyncpg.connect(stand.dsn)
        held.push_async_callback(administrator.close)
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND application_name LIKE 'gate%'"
        )
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                held.push_async_callback((await asyncpg.connect(stand.dsn)).close)
        yield


@asynccontextmanager
async def read_only(stand: Stand) -> AsyncIterator[None]:
    await stand.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await stand.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        connection = await asyncpg.connect(stand.dsn)
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()


@asynccontextmanager
async def holding(stand: Stand, command: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(stand.dsn)
    try:
        async with connection.transaction():
            await connection.execute(command)
            yield
    finally:
        await connection.close()


FAULTS: dict[str, Fault] = {
    "frozen": frozen,
    "stopped": stopped,
    "killed": killed,
    "out of connections": out_of_connections,
    "read-only": read_only,
    "a lock on every history": lambda stand: holding(
        stand, "SELECT id FROM action_histories FOR UPDATE"
    ),
    "a migration": lambda stand: holding(
        stand, "LOCK TABLE resource_action_traces IN ACCESS EXCLUSIVE MODE"
    ),
}


async def assert_recorded_once(stand: Stand, replica: Replica) -> None:
    recorded = [trace["request_uid"] for trace in await stand.traces()]
    assert sorted(recorded) == sorted(replica.sent)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_reviews_are_answered_in_time_nothing_is_lost_and_no_restart_is_needed(
    stand: Stand, replica: Replica, fault: Fault
) -> None:
    old = make_workloads(3)
    before = await replica.send_all(map(grow, old), limit=10)

    async with fault(stand):
        during = []
        for wave in range(3):
            reviews = map(grow, [*old, *make_workloads(3, prefix=f"new-{wave}")])
            during += await replica.send_all(reviews, limit=LIMIT)

    await replica.wait_until_flushed()
    after = await replica.send_all(map(grow, old), limit=10)

    assert all(each.is_allowed for each in (*before, *during, *after))
    assert max(each.took for each in during) < LIMIT + LATE
    assert [each.words for each in (*before, *after)] == [""] * 6
    await assert_recorded_once(stand, replica)
    assert any(trace["spooled_at"] for trace in await stand.traces())
    assert not replica.component.has_ended()


async def test_a_frozen_database_costs_the_first_reviews_their_time_and_the_rest_nothing(
    stand: Stand, replica: Replica
) -> None:
    workloads = make_workloads(40)
    async with frozen(stand):
        first = await replica.send_all(map(grow, workloads[:8]), limit=LIMIT)
        rest = [await replica.send(grow(workload), limit=LIMIT) for workload in workloads[8:]]

    slow = [each for each in rest if each.took > 0.3]
    assert max(each.took for each in first) < LIMIT + LATE
    assert sum(each.took for each in rest) < 8
    assert len(slow) <= 8
    await replica.wait_until_flushed()
    await assert_recorded_once(stand, replica)


async def test_what_was_refused_stays_refused_while_the_database_is_away(
    stand: Stand, replica: Replica
) -> None:
    (web,) = make_workloads(1)
    for replicas in (3, 5):
        review = web.scale(replicas)
        assert (await replica.send(review, limit=10)).is_allowed
        web.persist(review)
    refused = await replica.send(web.scale(3), limit=10)

    async with stopped(stand):
        again = await replica.send(web.scale(3), limit=LIMIT)
        other = await replica.send(web.scale(6), limit=LIMIT)

    assert [refused.is_allowed, again.is_allowed, other.is_allowed] == [False, False, True]
    await replica.wait_until_flushed()
    verdicts = [trace["verdict"] for trace in await stand.traces()]
    assert verdicts.count("allow") == 3


async def test_failure_mode_closed_refuses_what_cannot_be_recorded_and_records_that(
    stand: Stand,
) -> None:
    async with stand.replica(failure_mode="closed") as replica:
        await stand.wait_until_ready(replica)
        (web,) = make_workloads(1)
        before = await replica.send(grow(web), limit=10)
        async with stopped(stand):
            during = await replica.send(grow(web), limit=LIMIT)
        await replica.wait_until_flushed()
        await assert_recorded_once(stand, replica)

    assert (before.is_allowed, during.is_allowed) == (True, False)
    assert "PostgreSQL" in during.words
    assert [trace["verdict"] for trace in await stand.traces()] == ["allow", "deny"]


async def test_replicas_whose_database_comes_and_goes_lose_and_invent_nothing(
    stand: Stand,
) -> None:
    async with stand.replica("one") as one, stand.replica("two") as two:
        replicas = (one, two)
        for replica in replicas:
            await stand.wait_until_ready(replica)
        shared = make_workloads(4)
        for _ in range(2):
            async with stopped(stand):
                for replica in replicas:
                    await replica.send_all(map(grow, shared), limit=LIMIT)
            async with asyncio.TaskGroup() as sending:
                for replica in replicas:
                    sending.create_task(replica.send_all(map(grow, shared), limit=10))
        for replica in replicas:
            await replica.wait_until_flushed()

        recorded = [trace["request_uid"] for trace in await stand.traces()]
        assert sorted(recorded) == sorted([*one.sent, *two.sent])
