"""Histories in PostgreSQL: the common suites, and what the tables then hold."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from gate.domain.actor import Certainty
from gate.domain.change import Operation
from gate.domain.context import Context
from gate.domain.escalation import EscalationState
from gate.domain.record import Recording
from gate.domain.trace import Verdict
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError
from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import Pool
from tests.postgres.approvals_behaviour import ALICE, Answer, ApprovalsBehaviour
from tests.postgres.histories_behaviour import MINUTE, HistoriesBehaviour
from tests.postgres.records import (
    DATABASE,
    NOW,
    ask,
    make_detection,
    make_recording,
    make_repetition,
    make_trace,
)
from tests.postgres.surroundings_behaviour import SurroundingsBehaviour


@pytest.fixture
def histories(pool: Pool) -> PostgresHistories:
    return PostgresHistories(pool)


@pytest.fixture
def answer(pool: Pool) -> Answer:
    async def answer(escalation_id: str, state: EscalationState) -> None:
        await pool.execute(
            "WITH decided AS (UPDATE action_escalations SET state = $2, decided_by = $3,"
            " decided_at = now() WHERE id = $1::uuid RETURNING resource_id)"
            " UPDATE action_histories AS h SET version = version + 1 FROM decided"
            " WHERE h.resource_id = decided.resource_id",
            escalation_id,
            state,
            ALICE,
        )

    return answer


class TestPostgresHistories(HistoriesBehaviour, SurroundingsBehaviour, ApprovalsBehaviour):
    pass


async def fetch_one(pool: Pool, table: str) -> asyncpg.Record:
    (row,) = await pool.fetch(f"SELECT * FROM {table}")  # noqa: S608 - a table's name of this file
    return row


async def test_every_column_of_a_trace_is_filled(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    context = Context("HighLoad", "critical", "model-1", 0.87, "load is high", "incident-7")
    recording = make_recording(context=context)

    await histories.record(recording, deadline=deadline)

    row = await fetch_one(pool, "resource_action_traces")
    trace = recording.trace
    expected = {
        "action_id": trace.action_id,
        "action_timestamp": NOW,
        "correlation_id": "incident-7",
        "cluster": "prod",
        "resource_uid": trace.seen.uid,
        "actor": recording.actor.name,
        "actor_rule": "user system:*",
        "actor_certainty": Certainty.PROVEN,
        "alert_name": "HighLoad",
        "alert_severity": "critical",
        "model_used": "model-1",
        "model_confidence": "0.870",
        "model_reasoning": "load is high",
        "operation": "UPDATE",
        "subresource": "",
        "action_type": "scale_deployment",
        "action_parameters": recording.parameters,
        "resource_state_before": {"replicas": 5},
        "resource_state_after": {"replicas": 3},
        "changes_capacity": True,
        "old_resource_version": "100",
        "old_generation": 7,
        "verdict": "allow",
        "mode": "enforce",
        "decision": recording.decision,
        "execution_status": "pending",
        "attempts": 1,
        "version": 1,
        "kubernetes_operations": [{"operation": "update", "resource": "deployments/web"}],
        "effectiveness_score": None,
    }
    as_text = {"action_id", "model_confidence"}
    found = {name: str(row[name]) if name in as_text else row[name] for name in expected}
    assert found == expected


async def test_what_a_creation_lacks_stays_null(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    created = make_trace(operation=Operation.CREATE, resource_version=None)

    await histories.record(make_recording(trace=created), deadline=deadline)

    absent = await pool.fetchval(
        "SELECT num_nulls(resource_state_before, old_resource_version, correlation_id,"
        " alert_name, alert_severity, model_used, model_confidence, model_reasoning)"
        " FROM resource_action_traces"
    )
    assert absent == 8


async def test_attempts_are_counted(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    recording = make_recording(0)
    await histories.record(recording, deadline=deadline)
    for version in (1, 2, 3):
        repetition = make_repetition(recording.trace, version, resource_version="101")
        await histories.record(repetition, deadline=deadline)

    row = await fetch_one(pool, "resource_action_traces")
    history = await fetch_one(pool, "action_histories")

    assert row["attempts"] == 4
    assert (history["version"], history["total_actions"]) == (4, 1)


async def test_the_same_trace_twice_is_refused_without_a_trace_of_it(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    recording = make_recording(0)
    await histories.record(recording, deadline=deadline)

    with pytest.raises(StorageUnavailableError, match="SQLSTATE 23505"):
        await histories.record(make_recording(1, trace=recording.trace), deadline=deadline)

    assert (await fetch_one(pool, "action_histories"))["version"] == 1


async def test_deletion_is_noted_and_recreation_clears_it_on_one_history(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    def recording(version: int, operation: Operation, uid: str, verdict: Verdict) -> Recording:
        at = NOW + version * MINUTE
        return make_recording(
            version, trace=make_trace(operation=operation, uid=uid, at=at, verdict=verdict)
        )

    allow, deny = Verdict.ALLOW, Verdict.DENY
    seen = []
    for version, (operation, uid, verdict) in enumerate(
        (
            (Operation.UPDATE, "first", allow),
            (Operation.DELETE, "first", deny),
            (Operation.DELETE, "first", allow),
            (Operation.CREATE, "never", deny),
            (Operation.CREATE, "second", allow),
        )
    ):
        await histories.record(recording(version, operation, uid, verdict), deadline=deadline)
        row = await fetch_one(pool, "resource_references")
        seen.append((row["resource_uid"], row["deleted_at"]))

    gone = NOW + 2 * MINUTE
    assert seen == [
        ("first", None),
        ("first", None),
        ("first", gone),
        ("first", gone),
        ("second", None),
    ]
    assert (await fetch_one(pool, "action_histories"))["version"] == 5


async def test_a_losing_deletion_leaves_the_workload_alone(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(0), deadline=deadline)
    deletion = make_recording(0, trace=make_trace(operation=Operation.DELETE))

    await histories.record(deletion, deadline=deadline)

    assert (await fetch_one(pool, "resource_references"))["deleted_at"] is None


async def test_a_detection_is_stored_with_its_evidence_and_resolved_at_its_end(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    trace = make_trace()
    detection = make_detection(until=NOW + MINUTE, matching=(trace.action_id,))
    await histories.record(make_recording(0, trace=trace, opens=(detection,)), deadline=deadline)
    opened = await fetch_one(pool, "oscillation_detections")
    later = make_recording(1, trace=make_trace(at=NOW + 2 * MINUTE))

    await histories.record(later, deadline=deadline)

    resolved = await fetch_one(pool, "oscillation_detections")
    assert [str(action_id) for action_id in opened["matching_actions"]] == [trace.action_id]
    assert opened["pattern_evidence"] == detection.evidence
    assert (opened["severity"], opened["mode"], opened["time_span_minutes"]) == (
        "warning",
        "enforce",
        20,
    )
    assert (opened["resolved"], opened["resolution_method"]) == (False, None)
    assert (resolved["resolved"], resolved["resolution_method"]) == (True, "timeout")
    assert resolved["resolved_at"] == NOW + MINUTE


async def test_a_detection_is_stored_where_its_trace_goes_with_plain_ones(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    written = await asyncio.gather(
        histories.record(make_recording(), deadline=deadline),
        histories.record(
            make_recording(key=DATABASE, opens=(make_detection(),)), deadline=deadline
        ),
    )

    row = await fetch_one(pool, "oscillation_detections")
    assert all(written)
    assert row["resource_id"] == await pool.fetchval(
        "SELECT id FROM resource_references WHERE name = $1", DATABASE.name
    )


async def test_a_repetition_resolves_what_has_expired_too(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    recording = make_recording(0, opens=(make_detection(until=NOW + timedelta(seconds=1)),))
    await histories.record(recording, deadline=deadline)

    await histories.record(
        make_repetition(recording.trace, 1, resource_version=None), deadline=deadline
    )

    assert (await fetch_one(pool, "oscillation_detections"))["resolved"] is True


async def test_the_trace_survives_when_a_pattern_was_deleted_meanwhile(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    detections = (make_detection(pattern_id=9999),)

    written = await histories.record(make_recording(0, opens=detections), deadline=deadline)

    assert written is True
    assert await pool.fetch("SELECT id FROM oscillation_detections") == []


@pytest.mark.parametrize("text", ["a\0b", "\\u0000", "\\\0", "\ud800", "%s'; DROP TABLE x;--\n"])
async def test_text_that_postgresql_refuses_is_replaced_and_all_else_kept(
    histories: PostgresHistories, deadline: float, text: str
) -> None:
    recording = make_recording(labels={text: text}, decision={"warnings": [text]})
    kept = text.replace("\0", "\ufffd").replace("\ud800", "\ufffd")

    written = await histories.record(recording, deadline=deadline)

    history = await histories.read(ask(), now=NOW, deadline=deadline)
    assert written is True
    assert history.labels == {kept: kept}
    assert history.traces[0].decision == {"warnings": [kept]}


async def test_numbers_beyond_64_bits_are_kept(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(decision={"bytes": 10**25}), deadline=deadline)

    stored = await pool.fetchval("SELECT decision ->> 'bytes' FROM resource_action_traces")

    assert stored == str(10**25)


async def test_names_at_their_longest_are_kept(
    histories: PostgresHistories, deadline: float
) -> None:
    key = WorkloadKey("c" * 253, "n" * 63, Kind.DEPLOYMENT, "ü" * 253)

    await histories.record(make_recording(key=key), deadline=deadline)

    history = await histories.read(ask(key), now=NOW, deadline=deadline)
    assert history.version == 1


async def test_a_missing_partition_is_named_and_nothing_is_written(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    outside = make_trace(at=NOW + timedelta(days=400))

    with pytest.raises(MissingPartitionError, match="2027-12"):
        await histories.record(make_recording(trace=outside), deadline=deadline)

    assert await pool.fetch("SELECT id FROM resource_references") == []


async def test_another_broken_check_is_no_missing_partition(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await pool.execute(
        "ALTER TABLE resource_action_traces ADD CONSTRAINT never CHECK (action_type <> actor)"
    )
    broken = make_trace()
    object.__setattr__(broken, "actor", broken.action_type)

    with pytest.raises(StorageUnavailableError, match="SQLSTATE 23514"):
        await histories.record(make_recording(trace=broken), deadline=deadline)


async def test_an_id_that_tells_another_time_is_refused(
    histories: PostgresHistories, deadline: float
) -> None:
    trace = make_trace()
    object.__setattr__(trace.seen, "at", NOW + timedelta(milliseconds=1))

    with pytest.raises(StorageUnavailableError, match="SQLSTATE 23514"):
        await histories.record(make_recording(trace=trace), deadline=deadline)


async def test_a_row_that_cannot_be_understood_is_an_error_that_names_the_workload(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(), deadline=deadline)
    await pool.execute("UPDATE resource_action_traces SET action_parameters = '{}'")

    with pytest.raises(
        StorageUnavailableError,
        match=r"history of shop/Deployment/web cannot be read .changes is NoneType",
    ):
        await histories.read(ask(), now=NOW, deadline=deadline)


async def test_overrides_of_a_workload_are_read(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(), deadline=deadline)
    await pool.execute(
        "UPDATE action_histories SET oscillation_window_minutes = 60, pattern_min_occurrences = 5"
    )

    history = await histories.read(ask(), now=NOW, deadline=deadline)

    assert history.overrides.window == timedelta(minutes=60)
    assert history.overrides.min_occurrences == 5


async def test_what_becomes_of_a_trace_touches_no_index(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(0), deadline=deadline)
    async with pool.acquire() as connection:
        for status in ("executing", "completed"):
            await connection.execute(
                "UPDATE resource_action_traces SET execution_status = $1, attempts = attempts + 1,"
                " effectiveness_score = 0.5, effectiveness_criteria = '{}'",
                status,
            )
        await connection.execute("SELECT pg_stat_force_next_flush()")
        rows = await connection.fetch(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'resource_action_traces_y2026m11'"
        )

    assert [tuple(row) for row in rows] == [(2, 2)]
