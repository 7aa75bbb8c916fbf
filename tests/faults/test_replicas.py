"""Two replicas on one database, and 32 clients that race: none gets further than one alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from gate.domain.outcome import Outcome
from gate.domain.trace import ExecutionStatus
from gate.postgres.outcomes import PostgresOutcomes
from gate.postgres.pool import close_pool, open_pool
from tests.faults.stand import CLUSTER, Replica, Stand, Timed, make_workloads, running_stand
from tests.faults.storage import Storage, action_id_of, assert_no_deadlock_and_no_error, fetch
from tests.postgres.servers import open_house

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 32
ALICE = "alice@example.org"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """Two replicas that ask a person about loops, and their database."""

    stand: Stand
    replicas: Sequence[Replica]

    def serving(self, client: int) -> Replica:
        return self.replicas[client % len(self.replicas)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        stand = await stack.enter_async_context(running_stand(stack.enter_context(open_house())))
        await stand.execute(
            "UPDATE oscillation_patterns SET prevention_strategy = 'escalate-human',"
            " prevention_parameters = '{}' WHERE pattern_type = 'scale-oscillation'"
        )
        starting = [stand.replica(name, outcomes=False) for name in ("one", "two")]
        replicas = [await stack.enter_async_context(each) for each in starting]
        for replica in replicas:
            await stand.wait_until_ready(replica)
        yield Pair(stand, replicas)


@pytest.mark.parametrize("workloads", [1, 4, CLIENTS])
async def test_racing_clients_get_no_further_than_one_alone_and_every_answer_is_on_record(
    pair: Pair, workloads: int
) -> None:
    prefix = f"one-of-{workloads}"
    storages = [Storage(each) for each in make_workloads(workloads, prefix=prefix)]

    async def swing(client: int) -> None:
        """Swing a workload between 3 and 5, as whichever agent and through whichever replica."""
        storage = storages[client % workloads]
        for attempt in range(4):
            wanted = 3 if storage.workload.replicas == 5 else 5
            agent = name_agent(client)
            await storage.scale(pair.serving(client + attempt), wanted, user=agent)

    async with asyncio.TaskGroup() as clients:
        for client in range(CLIENTS):
            clients.create_task(swing(client))

    for storage in storages:
        past = [answer for answer in storage.answers if answer.state == storage.state]
        assert storage.values == [3, 5]
        assert past
        assert not any(answer.is_allowed for answer in past)
    await assert_answers_are_on_record(pair.stand, storages, prefix=prefix)
    for replica in pair.replicas:
        assert await replica.count("gate_admission_failures_total") == 0
    await assert_no_deadlock_and_no_error(pair.stand)


async def test_an_approval_lets_one_change_through_however_many_ask_for_it(pair: Pair) -> None:
    storage = await loop_until_a_person_approves(pair, "approved")

    used = await race(pair, storage)
    storage.move(5)
    again = await race(pair, storage)

    ids = {action_id_of(answer) for answer in used}
    assert all(answer.is_allowed for answer in used)
    assert len(ids) == 1
    assert not any(answer.is_allowed for answer in again)
    assert await find_reserved(pair, "approved") == ids
    await assert_answers_are_on_record(pair.stand, [storage], prefix="approved")
    await assert_no_deadlock_and_no_error(pair.stand)


async def test_an_approval_whose_change_was_not_persisted_lets_the_next_one_through(
    pair: Pair,
) -> None:
    storage = await loop_until_a_person_approves(pair, "lost")

    first = {action_id_of(answer) for answer in await race(pair, storage, persists=False)}
    await tell_that_nothing_was_persisted(pair.stand, first)
    second = {action_id_of(answer) for answer in await race(pair, storage)}
    storage.move(5)
    third = await race(pair, storage)

    assert (len(first), len(second)) == (1, 1)
    assert not first & second
    assert not any(answer.is_allowed for answer in third)
    assert await find_reserved(pair, "lost") == second
    await assert_answers_are_on_record(pair.stand, [storage], prefix="lost")
    await assert_no_deadlock_and_no_error(pair.stand)


def name_agent(client: int) -> str:
    """Return an agent: half of the clients are one and the same."""
    return f"system:serviceaccount:ai-agents:{f'agent-{client}' if client % 2 else 'scaler'}"


async def race(pair: Pair, storage: Storage, *, persists: bool = True) -> list[Timed]:
    """Let all clients ask for the same reduction of the same state at once, as one agent."""
    reviews = [storage.workload.scale(3) for _ in range(CLIENTS)]
    answers = await asyncio.gather(
        *(storage.ask(pair.serving(client), review) for client, review in enumerate(reviews))
    )
    if persists:
        storage.workload.persist(reviews[0])
    return answers


async def loop_until_a_person_approves(pair: Pair, prefix: str) -> Storage:
    """Return a workload of whose loop a person allowed one more turn, from 5 to 3 replicas."""
    storage = Storage(make_workloads(1, prefix=prefix)[0])
    for wanted in (3, 5, 3):
        await storage.scale(pair.replicas[0], wanted)
    assert storage.values == [3, 5]
    await pair.stand.execute(
        f"UPDATE action_escalations SET state = 'approved', decided_by = '{ALICE}',"  # noqa: S608 - of this file
        " decided_at = now() WHERE state = 'open';"
        " UPDATE action_histories SET version = version + 1"
    )
    return storage


async def tell_that_nothing_was_persisted(stand: Stand, ids: set[str | None]) -> None:
    """Write what a watch tells of changes that something refused after gate."""
    pool = await open_pool(stand.dsn, size=1, application_name="gate tests")
    outcomes = PostgresOutcomes(pool)
    awaited = await outcomes.list_awaited(
        CLUSTER, since=LONG_AGO, completed_since=LONG_AGO, at_most=10_000
    )
    lost = Outcome(ExecutionStatus.FAILED, error="not-persisted: the object was as before")
    told = [replace(each, outcome=lost) for each in awaited.changes if each.action_id in ids]
    assert await outcomes.mark(told) == ids
    await close_pool(pool, grace=5)


async def find_reserved(pair: Pair, prefix: str) -> set[str]:
    """Return the changes that hold an approval of a workload."""
    rows = await fetch(
        pair.stand,
        "SELECT e.reserved_by::text FROM action_escalations AS e"
        " JOIN resource_references AS r ON r.id = e.resource_id"
        " WHERE r.name LIKE $1 AND e.state = 'approved' AND e.decided_by = $2",
        f"{prefix}-%",
        ALICE,
    )
    return {row["reserved_by"] for row in rows}


async def assert_answers_are_on_record(
    stand: Stand, storages: Sequence[Storage], *, prefix: str
) -> None:
    """Compare what was answered with the traces, one by one, and no version is given twice."""
    traces = await fetch(
        stand,
        "SELECT action_id::text, verdict, name, version, decision ? 'contention' AS gave_way"
        " FROM resource_action_traces WHERE name LIKE $1",
        f"{prefix}-%",
    )
    answers = [answer for storage in storages for answer in storage.answers]
    recorded = {trace["action_id"]: trace["verdict"] == "allow" for trace in traces}
    assert {answer.action_id: answer.is_allowed for answer in answers} == recorded
    decided = [(t["name"], t["version"]) for t in traces if not t["gave_way"]]
    assert len(decided) == len(set(decided))
