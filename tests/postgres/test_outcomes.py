"""Outcomes in PostgreSQL: what is awaited, what is written once, and what becomes of approvals."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from gate.domain.outcome import Awaited, AwaitedChanges, Outcome
from gate.domain.record import Recording
from gate.domain.trace import ExecutionStatus, Trace, Verdict
from gate.domain.undoing import Undoing
from gate.postgres.histories import PostgresHistories
from gate.postgres.outcomes import PostgresOutcomes
from gate.postgres.pool import Pool
from tests.postgres.records import DATABASE, NOW, WEB, make_recording, make_trace

MINUTE = timedelta(minutes=1)
PENDING, EXECUTING = ExecutionStatus.PENDING, ExecutionStatus.EXECUTING
COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
ROLLED_BACK = ExecutionStatus.ROLLED_BACK
LOST = Outcome(FAILED, error="not-persisted: the object was as before")
DONE = Outcome(
    COMPLETED,
    generation=8,
    started_at=NOW + MINUTE / 60,
    ended_at=NOW + MINUTE,
    state={"replicas": 3},
)
UNDONE = Undoing(at=NOW + 2 * MINUTE, items=(("", "replicas"),), is_whole=True, by="argocd")


@pytest.fixture
def outcomes(pool: Pool) -> PostgresOutcomes:
    return PostgresOutcomes(pool)


async def test_admitted_changes_are_awaited_and_refused_ones_are_not(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    trace = make_trace()
    await record(pool, trace, make_trace(verdict=Verdict.DENY, at=NOW + MINUTE))

    (awaited,) = await find(outcomes)

    assert awaited == Awaited(
        action_id=trace.action_id,
        key=WEB,
        version=1,
        at=trace.seen.at,
        actor=trace.actor,
        operation=trace.seen.operation,
        uid=trace.seen.uid,
        resource_version="100",
        base=7,
        before={"replicas": 5},
        after={"replicas": 3},
    )


async def test_only_what_is_recent_enough_and_of_the_cluster_is_awaited(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    await record(pool, make_trace(), make_trace(at=NOW + MINUTE), make_trace(at=NOW + 2 * MINUTE))

    assert [each.version for each in await find(outcomes, since=NOW + MINUTE)] == [2, 3]
    assert [each.version for each in await find(outcomes, at_most=1)] == [1]
    assert await find(outcomes, cluster="another") == []


async def test_completed_changes_are_awaited_while_they_may_be_undone(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    await record(pool, make_trace())
    (awaited,) = await find(outcomes)
    await outcomes.mark([replace(awaited, outcome=DONE)])

    (found,) = await find(outcomes, completed_since=NOW)

    assert found.outcome == DONE
    assert await find(outcomes, completed_since=NOW + MINUTE) == []


async def test_an_outcome_is_written_with_its_times_and_the_state_after(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    await record(pool, make_trace())
    (awaited,) = await find(outcomes)

    assert await outcomes.mark([replace(awaited, outcome=DONE)]) == {awaited.action_id}

    row = await read(pool, awaited)
    assert row["execution_status"] == "completed"
    assert (row["execution_start_time"], row["execution_end_time"]) == (
        DONE.started_at,
        DONE.ended_at,
    )
    assert row["execution_duration_ms"] == 59_000
    assert (row["observed_generation"], row["observed_state"]) == (8, {"replicas": 3})


async def test_what_is_unknown_stays_null(pool: Pool, outcomes: PostgresOutcomes) -> None:
    await record(pool, make_trace())
    (awaited,) = await find(outcomes)

    await outcomes.mark([replace(awaited, outcome=LOST)])

    row = await read(pool, awaited)
    assert (row["execution_status"], row["execution_error"]) == ("failed", LOST.error)
    for column in ("execution_start_time", "execution_end_time", "execution_duration_ms"):
        assert row[column] is None


@pytest.mark.parametrize("second", [DONE, LOST, Outcome(EXECUTING, started_at=NOW)])
async def test_an_outcome_that_is_told_stands(
    pool: Pool, outcomes: PostgresOutcomes, second: Outcome
) -> None:
    await record(pool, make_trace())
    (awaited,) = await find(outcomes)
    await outcomes.mark([replace(awaited, outcome=DONE)])

    assert await outcomes.mark([replace(awaited, outcome=second)]) == set()
    assert (await read(pool, awaited))["execution_status"] == "completed"


async def test_the_start_of_a_rollout_is_kept_when_it_ends(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    await record(pool, make_trace())
    (awaited,) = await find(outcomes)
    begun = Outcome(EXECUTING, generation=8, started_at=NOW)
    await outcomes.mark([replace(awaited, outcome=begun)])

    await outcomes.mark([replace(awaited, outcome=DONE)])

    assert (await read(pool, awaited))["execution_start_time"] == NOW


async def test_two_leaders_write_that_it_was_undone_once(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    await record(pool, make_trace())
    (awaited,) = await find(outcomes)
    undone = replace(awaited, outcome=replace(DONE, status=ROLLED_BACK, undoing=UNDONE))
    half = replace(awaited, outcome=replace(DONE, undoing=replace(UNDONE, is_whole=False)))

    async with asyncio.TaskGroup() as tasks:
        marks = [tasks.create_task(outcomes.mark([each])) for each in (undone, half, undone)]

    assert sum(len(mark.result()) for mark in marks) >= 1
    (entry,) = (await read(pool, awaited))["follow_up_actions"]
    assert (entry["type"], entry["by"]) == ("undone", "argocd")


@pytest.mark.parametrize("outcome", [DONE, Outcome(EXECUTING, started_at=NOW)])
async def test_an_approval_is_used_up_by_a_change_that_is_there(
    pool: Pool, outcomes: PostgresOutcomes, outcome: Outcome
) -> None:
    trace = make_trace()
    await record(pool, trace)
    await approve(pool, reserved_by=trace)
    (awaited,) = await find(outcomes)

    await outcomes.mark([replace(awaited, outcome=outcome)])

    (escalation,) = await pool.fetch("SELECT * FROM action_escalations")
    assert escalation["state"] == "consumed"
    assert escalation["consumed_at"] is not None
    assert str(escalation["reserved_by"]) == trace.action_id
    assert await version(pool) == 1


async def test_an_approval_is_free_again_where_its_change_was_not_persisted(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    trace = make_trace()
    await record(pool, trace)
    await approve(pool, reserved_by=trace)
    (awaited,) = await find(outcomes)

    await outcomes.mark([replace(awaited, outcome=LOST)])

    (escalation,) = await pool.fetch("SELECT * FROM action_escalations")
    assert (escalation["state"], escalation["reserved_by"]) == ("approved", None)
    assert await version(pool) == 2


async def test_an_approval_is_used_up_although_the_rollout_failed(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    trace = make_trace()
    await record(pool, trace)
    await approve(pool, reserved_by=trace)
    (awaited,) = await find(outcomes)
    failed = Outcome(FAILED, error="rollout-stalled: 0 of 3", generation=8, started_at=NOW)

    await outcomes.mark([replace(awaited, outcome=failed)])

    assert await pool.fetchval("SELECT state FROM action_escalations") == "consumed"


async def test_what_an_admission_holds_is_left_for_next_time(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    web, database = make_trace(), make_trace()
    await record(pool, web)
    await write(pool, make_recording(0, key=DATABASE, trace=database))
    await approve(pool, reserved_by=web)
    found = await find(outcomes)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM action_histories WHERE id = 1 FOR UPDATE")

        marked = await outcomes.mark([replace(each, outcome=LOST) for each in found])

    assert marked == {database.action_id}
    assert await pool.fetchval("SELECT reserved_by IS NULL FROM action_escalations") is False


async def test_neither_completed_nor_newer_changes_keep_old_ones_from_being_listed(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    traces = [make_trace(at=NOW + number * MINUTE) for number in range(8)]
    await record(pool, *traces)
    done = [each for each in await find(outcomes) if each.at >= NOW + 4 * MINUTE]
    await outcomes.mark([replace(each, outcome=DONE) for each in done])

    cut = await look(outcomes, at_most=2)
    whole = await look(outcomes, at_most=5)

    expected = [traces[number].action_id for number in (0, 1, 6, 7)]
    assert [each.action_id for each in cut.changes] == expected
    assert cut.is_cut
    assert {each.action_id for each in whole.changes} == {each.action_id for each in traces}
    assert not whole.is_cut


async def test_a_list_is_cut_where_either_part_of_it_is(
    pool: Pool, outcomes: PostgresOutcomes
) -> None:
    await record(pool, *(make_trace(at=NOW + number * MINUTE) for number in range(3)))
    first, second, third = await find(outcomes)
    assert (await look(outcomes, at_most=3)).is_cut
    await outcomes.mark([replace(each, outcome=DONE) for each in (first, second)])

    assert (await look(outcomes, at_most=2)).is_cut
    assert not (await look(outcomes, at_most=3)).is_cut
    assert {each.action_id for each in (await look(outcomes, at_most=1)).changes} == {
        second.action_id,
        third.action_id,
    }


async def record(pool: Pool, *traces: Trace) -> None:
    """Write traces of one workload, one after another."""
    for number, trace in enumerate(traces):
        await write(pool, make_recording(number, trace=trace))


async def write(pool: Pool, recording: Recording) -> None:
    deadline = asyncio.get_running_loop().time() + 60
    assert await PostgresHistories(pool).record(recording, deadline=deadline)


async def find(outcomes: PostgresOutcomes, cluster: str = "prod", **given: Any) -> list[Awaited]:
    return list((await look(outcomes, cluster, **given)).changes)


async def look(outcomes: PostgresOutcomes, cluster: str = "prod", **given: Any) -> AwaitedChanges:
    window: Mapping[str, Any] = {"since": NOW, "completed_since": NOW, "at_most": 10}
    return await outcomes.list_awaited(cluster, **{**window, **given})


async def read(pool: Pool, awaited: Awaited) -> Mapping[str, Any]:
    row = await pool.fetchrow(
        "SELECT * FROM resource_action_traces WHERE action_id = $1", awaited.action_id
    )
    assert row is not None
    return dict(row)


async def approve(pool: Pool, *, reserved_by: Trace) -> None:
    """Make an approved escalation of the first workload, reserved by a trace."""
    await pool.execute(
        "INSERT INTO action_escalations (id, resource_id, action_id, digest, actor, change,"
        " summary, state, requested_at, expires_at, decided_by, decided_at, reserved_by,"
        " reserved_at) VALUES ($1, 1, $2, 'd', 'agent', '{}', 's', 'approved', $3, $4, 'ann', $3,"
        " $2, $3)",
        uuid4(),
        reserved_by.action_id,
        NOW,
        NOW + 60 * MINUTE,
    )


async def version(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT version FROM action_histories WHERE id = 1"))
