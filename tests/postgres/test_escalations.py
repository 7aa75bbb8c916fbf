"""What the tables hold of escalations, of spooled traces, and of what was observed of a change."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from gate.domain.pattern import Mode
from gate.domain.trace import ExecutionStatus, Verdict
from gate.errors import StorageUnavailableError
from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import Pool
from tests.postgres.records import (
    AGENT,
    NOW,
    ask,
    make_detection,
    make_escalation,
    make_recording,
    make_trace,
)


@pytest.fixture
def histories(pool: Pool) -> PostgresHistories:
    return PostgresHistories(pool)


async def fetch_all(pool: Pool, table: str) -> list[asyncpg.Record]:
    return await pool.fetch(f"SELECT * FROM {table}")  # noqa: S608 - a table's name of this file


async def test_an_escalation_holds_what_a_person_needs_to_decide(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    asks = make_escalation()
    recording = make_recording(0, trace=make_trace(verdict=Verdict.DENY), asks=asks)

    await histories.record(recording, deadline=deadline)

    (row,) = await fetch_all(pool, "action_escalations")
    expected: Mapping[str, object] = {
        "id": asks.id,
        "action_id": recording.trace.action_id,
        "pattern_id": 1,
        "digest": asks.digest,
        "actor": AGENT.name,
        "change": asks.change,
        "summary": asks.summary,
        "state": "open",
        "requested_at": NOW,
        "expires_at": asks.expires_at,
        "decided_by": None,
        "reserved_by": None,
    }
    ids = {"id", "action_id"}
    assert {name: str(row[name]) if name in ids else row[name] for name in expected} == expected


async def test_each_channel_of_the_pattern_is_told_once(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await pool.execute(
        "UPDATE oscillation_patterns SET alert_channels = '{oncall,chat,oncall}' WHERE id = 1"
    )
    asks = make_escalation()

    await histories.record(make_recording(0, asks=asks), deadline=deadline)

    rows = await fetch_all(pool, "notification_outbox")
    assert sorted((row["channel"], row["dedup_key"]) for row in rows) == [
        ("chat", f"escalation.opened/{asks.id}/chat"),
        ("oncall", f"escalation.opened/{asks.id}/oncall"),
    ]
    assert {row["kind"] for row in rows} == {"escalation.opened"}
    assert {str(row["escalation_id"]) for row in rows} == {asks.id}


@pytest.mark.parametrize("channels", ["NULL", "'{}'"])
async def test_without_channels_one_entry_is_for_all_with_everything_to_be_said(
    histories: PostgresHistories, pool: Pool, deadline: float, channels: str
) -> None:
    await pool.execute(f"UPDATE oscillation_patterns SET alert_channels = {channels}")  # noqa: S608 - of this file
    asks = make_escalation()

    await histories.record(make_recording(0, asks=asks), deadline=deadline)

    (row,) = await fetch_all(pool, "notification_outbox")
    assert (row["channel"], row["dedup_key"]) == (None, f"escalation.opened/{asks.id}")
    said = row["payload"]
    assert (said["namespace"], said["kind"], said["name"]) == ("shop", "Deployment", "web")
    assert (said["actor"], said["summary"]) == (AGENT.name, asks.summary)
    assert (said["pattern"], said["severity"]) == ("scale-oscillation", "warning")
    assert (row["attempts"], row["delivered_at"], row["dead_at"]) == (0, None, None)


async def test_a_pattern_deleted_meanwhile_does_not_keep_a_person_from_being_asked(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    asks = make_escalation(pattern_id=9999)

    await histories.record(make_recording(0, asks=asks), deadline=deadline)

    (escalation,) = await fetch_all(pool, "action_escalations")
    assert escalation["pattern_id"] is None
    assert len(await fetch_all(pool, "notification_outbox")) == 1


async def test_who_asks_can_never_be_the_one_who_decides(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(0, asks=make_escalation()), deadline=deadline)

    with pytest.raises(asyncpg.CheckViolationError, match="who_asks_does_not_decide"):
        await pool.execute(
            "UPDATE action_escalations SET state = 'approved', decided_at = now(),"
            " decided_by = actor"
        )


async def test_an_approval_that_is_revoked_without_moving_the_version_is_not_used(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    asks = make_escalation()
    await histories.record(make_recording(0, asks=asks), deadline=deadline)
    await pool.execute("UPDATE action_escalations SET state = 'expired'")

    written = await histories.record(make_recording(1, reserves=asks.id), deadline=deadline)

    assert written is False
    assert len(await fetch_all(pool, "resource_action_traces")) == 1


async def test_a_spooled_trace_carries_a_mark_and_others_do_not(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    waited = NOW + timedelta(minutes=3)
    await histories.record(make_recording(0, spooled_at=waited), deadline=deadline)
    await histories.record(make_recording(1), deadline=deadline)

    rows = await pool.fetch("SELECT spooled_at FROM resource_action_traces ORDER BY version")

    assert [row["spooled_at"] for row in rows] == [waited, None]


async def test_a_correction_says_what_was_answered_and_changes_nothing_the_second_time(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    refused = make_recording(0, trace=make_trace(verdict=Verdict.DENY), opens=(make_detection(),))
    await histories.record(refused, deadline=deadline)
    answered = replace(
        refused,
        trace=replace(refused.trace, verdict=Verdict.ALLOW, status=ExecutionStatus.PENDING),
        mode=Mode.AUDIT,
        decision={"verdict": "allow"},
        spooled_at=NOW,
    )

    await histories.record(answered, deadline=deadline)
    (first,) = await fetch_all(pool, "resource_action_traces")
    await histories.record(answered, deadline=deadline)
    (second,) = await fetch_all(pool, "resource_action_traces")

    assert (first["verdict"], first["mode"], first["execution_status"]) == (
        "allow",
        "audit",
        "pending",
    )
    assert (first["decision"], first["spooled_at"]) == ({"verdict": "allow"}, NOW)
    assert first == second
    (history,) = await fetch_all(pool, "action_histories")
    assert (history["version"], history["total_actions"]) == (1, 1)
    assert len(await fetch_all(pool, "oscillation_detections")) == 1


async def test_what_a_refused_change_opened_says_how_it_ended(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    trace = make_trace()
    warned = make_detection(matching=(trace.action_id,), prevention_applied=False)
    admitted = make_recording(0, trace=trace, opens=(warned,))
    await histories.record(admitted, deadline=deadline)
    denied = replace(trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED)

    await histories.record(
        replace(admitted, trace=denied, opens=(), spooled_at=NOW), deadline=deadline
    )

    (row,) = await fetch_all(pool, "oscillation_detections")
    assert (row["resolved"], row["resolution_method"]) == (True, "automatic")
    assert row["resolved_at"] is not None


async def test_a_correction_leaves_an_outcome_that_is_known_by_now(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    recording = make_recording(0)
    await histories.record(recording, deadline=deadline)
    await pool.execute("UPDATE resource_action_traces SET execution_status = 'completed'")
    answered = replace(recording, decision={"warnings": ["not recorded"]}, spooled_at=NOW)

    await histories.record(answered, deadline=deadline)

    (row,) = await fetch_all(pool, "resource_action_traces")
    assert (row["execution_status"], row["decision"]) == (
        "completed",
        {"warnings": ["not recorded"]},
    )


async def test_what_was_observed_of_a_change_is_read(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    await histories.record(make_recording(0), deadline=deadline)
    await pool.execute(
        "UPDATE resource_action_traces SET effectiveness_score = 0.125,"
        " execution_status = 'failed', execution_error = 'rollout-stalled: 1 of 3',"
        " follow_up_actions = $1, effectiveness_criteria = $2",
        [{"type": "reverted"}, {"type": "undone", "by": "argocd-controller"}],
        {"alert_resolved": False},
    )

    history = await histories.read(ask(), now=NOW, deadline=deadline)

    (trace,) = history.traces
    assert (trace.score, trace.is_alert_firing, trace.undone_by) == (
        0.125,
        True,
        "argocd-controller",
    )
    assert (trace.status, trace.error) == (ExecutionStatus.FAILED, "rollout-stalled: 1 of 3")
    (change,) = history.nearby
    assert (change.status, change.error) == (trace.status, trace.error)
    assert change.is_alert_firing is True


@pytest.mark.parametrize(
    ("criteria", "is_firing"),
    [
        (None, None),
        ({}, None),
        ({"alert_resolved": None}, None),
        ({"alert_resolved": "unknown"}, None),
        ({"alert_resolved": True}, False),
    ],
)
async def test_an_alert_that_was_not_assessed_is_neither_firing_nor_resolved(
    histories: PostgresHistories,
    pool: Pool,
    deadline: float,
    criteria: Mapping[str, object] | None,
    *,
    is_firing: bool | None,
) -> None:
    await histories.record(make_recording(0), deadline=deadline)
    await pool.execute("UPDATE resource_action_traces SET effectiveness_criteria = $1", criteria)

    history = await histories.read(ask(), now=NOW, deadline=deadline)

    assert history.traces[0].is_alert_firing is is_firing
    assert history.nearby[0].is_alert_firing is is_firing


async def test_of_a_workload_the_newest_change_of_each_outcome_is_read_of_what_is_around(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    stalled = "rollout-stalled: 0 of 3"
    outcomes = (
        ("failed", stalled, None),
        ("failed", stalled, None),
        ("failed", "not-persisted: a quota", None),
        ("executing", None, {"alert_resolved": False}),
        ("executing", None, None),
        ("completed", None, None),
        ("executing", None, None),
    )
    for number, outcome in enumerate(outcomes):
        trace = make_trace(at=NOW + number * timedelta(minutes=1))
        await histories.record(make_recording(number, trace=trace), deadline=deadline)
        await pool.execute(
            "UPDATE resource_action_traces SET execution_status = $2, execution_error = $3,"
            " effectiveness_criteria = $4 WHERE version = $1",
            number + 1,
            *outcome,
        )

    history = await histories.read(ask(), now=NOW + timedelta(hours=1), deadline=deadline)

    minutes = [(change.at - NOW) / timedelta(minutes=1) for change in history.nearby]
    assert minutes == [1, 2, 3, 5, 6]


async def test_of_a_decision_only_what_later_ones_look_at_is_read(
    histories: PostgresHistories, deadline: float
) -> None:
    decision = {
        "verdict": "deny",
        "objections": [
            {"pattern": "resource-thrashing", "suggests": "scale_deployment", "summary": "long"},
            {"pattern": "scale-oscillation", "summary": "long"},
        ],
        "warnings": ["careful"],
        "input_problems": ["cut"],
    }
    await histories.record(make_recording(0, decision=decision), deadline=deadline)

    history = await histories.read(ask(), now=NOW, deadline=deadline)

    assert history.traces[0].decision == {
        "objections": [{"suggests": "scale_deployment"}],
        "warnings": ["careful"],
    }


async def test_the_same_unspooled_trace_twice_is_refused(
    histories: PostgresHistories, deadline: float
) -> None:
    recording = make_recording(0)
    await histories.record(recording, deadline=deadline)

    with pytest.raises(StorageUnavailableError, match="SQLSTATE 23505"):
        await histories.record(replace(recording, expected_version=1), deadline=deadline)
