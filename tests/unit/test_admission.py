"""One admission in order: what is read, what is written, and what happens when neither works."""

from dataclasses import replace
from datetime import datetime

import pytest

from gate.domain.pattern import Mode, Scope
from gate.domain.record import Write
from gate.domain.trace import ExecutionStatus, History, Verdict
from gate.errors import MissingPartitionError, StorageUnavailableError
from gate.ports.histories import Question
from gate.services.reviewed import Stage
from tests.fakes.histories import MemoryHistories
from tests.timeline import (
    SCALE_OSCILLATION,
    Outcome,
    Step,
    minute,
    start_timeline,
)

_DOWN_UP = (Step(0, 3), Step(10, 5))


class BusyHistories(MemoryHistories):
    """Histories that somebody else changes whenever a version is compared."""

    async def record(self, write: Write, *, deadline: float) -> bool:
        return write.expected_version is None and await super().record(write, deadline=deadline)


class BrokenHistories(MemoryHistories):
    """Histories that can be read and not written, or not even read."""

    def __init__(self, failure: Exception, *, is_readable: bool) -> None:
        super().__init__()
        self._failure = failure
        self._is_readable = is_readable

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        if not self._is_readable:
            raise self._failure
        return await super().read(question, now=now, deadline=deadline)

    async def record(self, write: Write, *, deadline: float) -> bool:
        del write, deadline
        raise self._failure


@pytest.mark.parametrize(("team", "watched"), [("payments", True), ("search", False)])
async def test_scale_is_in_scope_by_the_labels_last_seen(team: str, *, watched: bool) -> None:
    pattern = replace(SCALE_OSCILLATION, scope=Scope(labels={"team": "payments"}))
    timeline = await start_timeline(replicas=5, patterns=(pattern,))
    timeline.body["metadata"]["labels"] = {"team": team}
    await timeline.play(_DOWN_UP)

    timeline.subresource = "scale"
    event = await timeline.scale(3, at=minute(20))

    assert (event.outcome is Outcome.REFUSED) is watched


async def test_labels_of_the_request_go_before_those_seen_earlier() -> None:
    pattern = replace(SCALE_OSCILLATION, scope=Scope(labels={"team": "payments"}))
    timeline = await start_timeline(replicas=5, patterns=(pattern,))
    await timeline.play(_DOWN_UP)
    timeline.body["metadata"]["labels"] = {"team": "payments"}

    event = await timeline.scale(3, at=minute(20))

    assert event.outcome is Outcome.REFUSED


async def test_object_and_scale_share_one_history() -> None:
    timeline = await start_timeline(replicas=5)
    outcomes = []

    for number, (replicas, subresource) in enumerate([(3, ""), (5, "scale"), (3, "")]):
        timeline.subresource = subresource
        outcomes.append((await timeline.scale(replicas, at=minute(number * 10))).outcome)

    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REFUSED]


async def test_deleting_and_creating_washes_nothing() -> None:
    timeline = await start_timeline(replicas=5)

    events = [
        await timeline.delete(at=minute(0)),
        await timeline.create(5, at=minute(10)),
        await timeline.delete(at=minute(20)),
        await timeline.scale(3, at=minute(21)),
    ]

    assert [event.outcome for event in events] == [
        Outcome.ADMITTED,
        Outcome.ADMITTED,
        Outcome.REFUSED,
        Outcome.REFUSED,
    ]


async def test_creation_with_another_number_is_measured_from_the_last_known_one() -> None:
    timeline = await start_timeline(replicas=3)
    await timeline.play([Step(0, 5), Step(10, 3)])

    event = await timeline.create(5, at=minute(20))

    assert event.outcome is Outcome.WARNED


async def test_change_of_nothing_is_admitted_and_not_even_read() -> None:
    timeline = await start_timeline(replicas=3)

    event = await timeline.scale(3, at=minute(0))

    assert event.outcome is Outcome.ADMITTED
    assert timeline.histories.reads == 0


async def test_refusal_is_recorded_as_blocked_with_its_reason_and_never_counts() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.play([*_DOWN_UP, Step(20, 3), Step(25, 2), Step(30, 1)])

    admitted, refused = timeline.recordings[1], timeline.recordings[2:]

    assert (admitted.trace.verdict, admitted.trace.status) == (
        Verdict.ALLOW,
        ExecutionStatus.PENDING,
    )
    assert {(r.trace.verdict, r.trace.status) for r in refused} == {
        (Verdict.DENY, ExecutionStatus.BLOCKED)
    }
    assert [len(r.opens) for r in refused] == [1, 0, 0]
    assert refused[0].parameters == {"changes": [{"field": "replicas", "before": 5, "after": 3}]}
    assert refused[0].decision["verdict"] == "deny"


async def test_refusal_for_a_warning_marks_the_warned_detection_as_enforced() -> None:
    timeline = await start_timeline(replicas=3)
    await timeline.play([Step(0, 5), Step(10, 3), Step(20, 5)])
    (warned,) = timeline.recordings[-1].opens
    assert not warned.prevention_applied

    pattern = replace(SCALE_OSCILLATION, min_occurrences=8)  # so that nothing trips by itself
    later = await start_timeline(histories=timeline.histories, patterns=(pattern,))
    later.body = timeline.body
    event = await later.scale(4, at=minute(30))

    assert event.outcome is Outcome.REFUSED
    assert timeline.recordings[-1].enforces == (1,)
    assert timeline.recordings[-1].opens == ()


async def test_switch_from_audit_to_enforce_keeps_the_penalty_and_drops_the_detections() -> None:
    audited = await start_timeline(replicas=5, mode=Mode.AUDIT)
    await audited.play([*_DOWN_UP, Step(20, 3), Step(30, 5)])
    enforced = await start_timeline(histories=audited.histories)
    enforced.body = audited.body

    event = await enforced.scale(3, at=minute(40))

    assert event.outcome is Outcome.REFUSED
    assert len(enforced.recordings[-1].opens) == 1
    assert enforced.recordings[-1].enforces == ()


@pytest.mark.parametrize(
    ("mode", "outcome", "status"),
    [
        (Mode.ENFORCE, Outcome.REFUSED, ExecutionStatus.BLOCKED),
        (Mode.AUDIT, Outcome.WARNED, ExecutionStatus.PENDING),
    ],
)
async def test_change_that_keeps_losing_gives_way_before_its_deadline(
    mode: Mode, outcome: Outcome, status: ExecutionStatus
) -> None:
    timeline = await start_timeline(histories=BusyHistories(), mode=mode)
    timeline.deadline = 0.0

    event = await timeline.scale(9, at=minute(0))

    (recording,) = timeline.recordings
    assert event.outcome is outcome
    assert "retry in 1 s" in (event.reviewed.answer.message or event.reviewed.answer.warnings[0])
    assert (recording.expected_version, recording.trace.status) == (None, status)
    assert recording.decision["contention"] is True


@pytest.mark.parametrize(
    "failure",
    [StorageUnavailableError("no answer in 1 s"), MissingPartitionError("none for 2026-11")],
)
async def test_decision_that_cannot_be_recorded_stands_and_says_so(failure: Exception) -> None:
    timeline = await start_timeline(histories=BrokenHistories(failure, is_readable=True))

    event = await timeline.scale(9, at=minute(0))

    assert event.reviewed.answer.verdict is Verdict.ALLOW
    assert event.reviewed.answer.warnings == (f"gate: decided, not recorded: {failure}",)
    assert event.reviewed.failure == str(failure)
    assert event.reviewed.stage is Stage.UNRECORDED


async def test_change_whose_history_cannot_be_read_is_admitted_and_says_so() -> None:
    failure = StorageUnavailableError("no answer in 1 s")
    timeline = await start_timeline(histories=BrokenHistories(failure, is_readable=False))

    event = await timeline.scale(9, at=minute(0))

    assert event.reviewed.answer.verdict is Verdict.ALLOW
    assert event.reviewed.answer.warnings == (
        "gate: admitted without a check, not recorded: no answer in 1 s",
    )
    assert event.reviewed.stage is Stage.UNDECIDED


async def test_refusal_after_a_denial_for_contention_is_a_trace_of_its_own() -> None:
    histories = MemoryHistories()
    timeline = await start_timeline(replicas=5, histories=histories)
    await timeline.play([*_DOWN_UP, Step(20, 3)])
    crowded = await start_timeline(histories=BusyHistories(), patterns=(SCALE_OSCILLATION,))
    crowded.deadline = 0.0
    crowded.body = timeline.body
    await crowded.scale(2, at=minute(25))
    (contended,) = crowded.recordings
    await histories.record(contended, deadline=0)

    event = await timeline.scale(2, at=minute(25.2))

    assert event.outcome is Outcome.REFUSED
    assert event.reviewed.action_id != contended.trace.action_id
    assert timeline.recordings[-1].trace.action_id == event.reviewed.action_id
