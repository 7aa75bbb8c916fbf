"""Replicas and resources changed in turn: when that is one turn too many, and when it is not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.alternation import examine_turns
from gate.domain.decision import Decision, decide
from gate.domain.detection import Candidate, EvidenceKind, Examination, Response
from gate.domain.pattern import OnIncrease, Thresholds
from gate.domain.patterns import resource_thrashing
from gate.domain.reversal import UNCONFIRMED
from gate.domain.trace import ExecutionStatus, Trace, Verdict
from gate.domain.window import next_second
from tests.timeline import minute
from tests.unit.builders import policy_of, shape
from tests.unit.resources import (
    CPU_LIMIT,
    LIMIT,
    RESOURCE_THRASHING,
    Held,
    Turn,
    bind,
    judge_turns,
    make_change,
    make_history,
    with_traces,
)

_REFUSING = replace(RESOURCE_THRASHING, thresholds=Thresholds(on_increase=OnIncrease.REFUSE))
_WINDOW = RESOURCE_THRASHING.window
_SECOND = timedelta(seconds=1)


def held(replicas: int, memory: int) -> Held:
    return {"replicas": replicas, LIMIT: f"{memory}Mi"}


def walk(*states: tuple[int, int], pace: float = 10, start: float = 0) -> tuple[Turn, ...]:
    """Return the changes through some pairs of replicas and Mi of memory."""
    return tuple(
        (start + number * pace, held(*states[number]), held(*states[number + 1]))
        for number in range(len(states) - 1)
    )


# Replicas, memory, replicas, memory: four changes, three changes of lever; none goes back.
_DOWN = walk((9, 2000), (8, 2000), (8, 1700), (7, 1700), (7, 1400))
_UP = walk((1, 256), (2, 256), (2, 512), (3, 512), (3, 768))


def examine(*turns: Turn) -> Examination:
    return examine_turns(make_history(*turns), RESOURCE_THRASHING)


def kinds(decision: Decision) -> list[EvidenceKind]:
    return [o.finding.evidence_kind for o in decision.objections if o.finding is not None]


@pytest.mark.parametrize("status", [ExecutionStatus.PENDING, ExecutionStatus.COMPLETED])
def test_third_change_of_lever_is_refused_whether_outcomes_are_known_or_not(
    status: ExecutionStatus,
) -> None:
    decision = judge_turns(*_DOWN, status=status)

    (objection,) = decision.objections
    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [])])
    assert kinds(decision) == [EvidenceKind.LEVER_ALTERNATION]
    assert objection.summary == (
        "replicas and resources are changed in turn: replicas → resources → replicas → resources"
        " in 30 min, 3 changes of lever; 3 within 1 h 30 min are too many"
    )
    assert judge_turns(*_DOWN[:3], status=status).objections == ()


def test_change_of_replicas_may_be_the_turn_too_many() -> None:
    decision = judge_turns(*walk((9, 2000), (9, 1700), (8, 1700), (8, 1400), (7, 1400)))

    (objection,) = decision.objections
    assert objection.finding is not None
    assert decision.verdict is Verdict.DENY
    assert objection.finding.fields == ("replicas",)


def test_pure_increase_is_only_warned_about() -> None:
    decision = judge_turns(*_UP)

    (objection,) = decision.objections
    assert shape(decision) == (Verdict.ALLOW, [(Response.WARN, True, [])])
    assert objection.finding is not None
    assert objection.finding.increase_up_to == 1024 * 2**20
    assert judge_turns(*_UP, pattern=_REFUSING).verdict is Verdict.DENY


def test_increase_of_one_field_beside_a_reduction_is_refused() -> None:
    *turns, (when, before, after) = _UP
    mixed = (
        (when, {**before, CPU_LIMIT: "2"}, {**after, CPU_LIMIT: "1"}) if before and after else None
    )
    assert mixed is not None

    assert judge_turns(*turns, mixed).verdict is Verdict.DENY


@pytest.mark.parametrize(
    "turns",
    [
        walk((9, 2000), (8, 2000), (7, 2000), (6, 2000), (5, 2000), (5, 1500)),  # one turn
        walk((3, 512), (6, 512), (6, 1024), (3, 1024), (4, 1024)),  # a surge, a right-sizing, back
        walk((9, 2000), (8, 2000), (8, 1700), (7, 1700), (7, 1690)),  # the last is noise
        walk((9, 2000), (8, 2000), (8, 1990), (7, 1990), (7, 1600)),  # one before is noise
        walk((9, 2000), (8, 1700), (7, 1400), (6, 1100), (5, 800)),  # both levers at once
        walk((9, 2000), (8, 2000), (8, 1700), (7, 1700), (7, 1400), pace=31),  # too slow
    ],
)
def test_work_that_takes_few_turns_is_left_alone(turns: tuple[Turn, ...]) -> None:
    assert examine(*turns).findings == ()


def test_turns_exactly_within_the_window_trip() -> None:
    assert examine(*walk((9, 2000), (8, 2000), (8, 1700), (7, 1700), (7, 1400), pace=30)).findings


def test_refusal_ends_when_the_first_turn_leaves_the_window() -> None:
    (finding,) = examine(*_DOWN).findings
    *turns, (_, before, after) = _DOWN

    a_second_before = 30 + (finding.until - minute(30) - _SECOND) / timedelta(minutes=1)
    at_last = a_second_before + 1 / 60

    assert finding.until == next_second(minute(0) + _WINDOW)
    assert examine(*turns, (a_second_before, before, after)).findings
    assert not examine(*turns, (at_last, before, after)).findings


def test_warning_lasts_until_the_next_turn_is_not_one_too_many() -> None:
    (finding,) = examine(*_UP).findings

    for offset, trips in ((-_SECOND, True), (timedelta(0), False)):
        when = (finding.until + offset - minute(0)) / timedelta(minutes=1)
        later = examine(*_UP, *walk((3, 768), (2, 768), start=when))
        assert bool(later.findings) is trips


def test_changes_that_failed_are_no_turns() -> None:
    candidate = make_history(*_DOWN)
    first, second, third = candidate.history.traces
    failed = replace(second, status=ExecutionStatus.FAILED)

    examination = examine_turns(with_traces(candidate, first, failed, third), RESOURCE_THRASHING)

    assert examination.findings == ()


def test_unknown_outcomes_count_and_are_reported_as_missing() -> None:
    *turns, (when, before, after) = _DOWN
    assert before is not None
    assert after is not None

    examination = examine(*turns, (when, {**before, "replicas": 5}, {**after, "replicas": 5}))

    assert len(examination.findings) == 1
    assert examination.incomplete == (UNCONFIRMED,)


def test_approved_change_is_no_turn() -> None:
    candidate = make_history(*_DOWN)
    first, second, third = candidate.history.traces
    approved = replace(second, approval="an escalation")

    examination = examine_turns(with_traces(candidate, first, approved, third), RESOURCE_THRASHING)

    assert examination.findings == ()


def test_creation_and_deletion_are_no_turns() -> None:
    created: Turn = (20, None, held(8, 1700))
    deleted: Turn = (15, held(8, 1700), None)

    assert not examine(*_DOWN[:2], deleted, created, (30, held(8, 1700), held(8, 1400))).findings


def refuse(
    turn: Turn, *, version: int, suggests: str | None, verdict: Verdict = Verdict.DENY
) -> Trace:
    """Return a refused change, with what its refusal suggested."""
    trace, _ = make_change(turn, version=version, generation=99)
    objection = {"pattern": "scale-oscillation", "suggests": suggests}
    return replace(
        trace,
        verdict=verdict,
        status=ExecutionStatus.BLOCKED,
        decision={"objections": [objection]},
    )


def after_refusal(
    *, suggests: str | None, at: float = 5, place: int = 1, verdict: Verdict = Verdict.DENY
) -> Candidate:
    """Return the last of four turns, after a refusal that came before one of them."""
    candidate = make_history(*_DOWN)
    traces = [replace(trace, version=10 * trace.version) for trace in candidate.history.traces]
    refused = refuse(
        (at, held(8, 2000), held(6, 2000)),
        version=10 * place + 5,
        suggests=suggests,
        verdict=verdict,
    )
    traces.insert(place, refused)
    own = replace(candidate.trace, version=100)
    return with_traces(replace(candidate, trace=own), *traces)


@pytest.mark.parametrize(
    ("place", "at", "suggests", "excused"),
    [
        (1, 5, "decrease_resources", True),  # the second change
        (2, 15, "scale_deployment", True),  # the third
        (3, 25, "decrease_resources", True),  # the candidate itself
        (1, 5, "increase_resources", False),  # another kind than what followed
        (1, 5, None, False),
        (1, -81, "decrease_resources", False),  # longer ago than the window
    ],
)
def test_lever_that_a_refusal_suggested_does_not_count(
    place: int, at: float, suggests: str | None, *, excused: bool
) -> None:
    candidate = after_refusal(place=place, at=at, suggests=suggests)

    decision = decide(candidate, policy_of(RESOURCE_THRASHING))

    assert (decision.objections == ()) is excused


def test_suggestion_excuses_only_the_next_change_of_its_kind() -> None:
    more = (*_DOWN, *walk((7, 1400), (6, 1400), (6, 1000), (5, 1000), start=40))
    candidate = make_history(*more)
    first, *others = candidate.history.traces
    refused = refuse((5, held(8, 2000), held(6, 2000)), version=1, suggests="decrease_resources")

    examination = examine_turns(with_traces(candidate, first, refused, *others), RESOURCE_THRASHING)

    (finding,) = examination.findings
    assert finding.evidence["excused"] == ["trace 2"]
    assert finding.evidence["changes_of_lever"] == 4


def test_what_was_only_said_in_passing_excuses_nothing() -> None:
    admitted = after_refusal(suggests="decrease_resources", verdict=Verdict.ALLOW)

    assert decide(admitted, policy_of(RESOURCE_THRASHING)).verdict is Verdict.DENY


def test_open_detection_binds_the_lever_that_was_refused() -> None:
    open_ = (bind(LIMIT, kind=EvidenceKind.LEVER_ALTERNATION),)

    reduced = judge_turns(*walk((3, 512), (3, 256)), detections=open_)
    raised = judge_turns(*walk((3, 512), (3, 768)), detections=open_)
    scaled = judge_turns(*walk((3, 512), (2, 512)), detections=open_)

    assert reduced.verdict is Verdict.DENY
    assert shape(raised) == (Verdict.ALLOW, [(Response.WARN, False, [7])])
    assert scaled.objections == ()


def test_evidence_names_every_turn() -> None:
    (finding,) = resource_thrashing.examine(make_history(*_DOWN), RESOURCE_THRASHING).findings

    series = finding.evidence["series"]
    assert isinstance(series, list)
    assert [(entry["lever"], entry["action_type"]) for entry in series] == [
        ("replicas", "scale_deployment"),
        ("resources", "decrease_resources"),
        ("replicas", "scale_deployment"),
        ("resources", "decrease_resources"),
    ]
    assert finding.action_ids == ("trace 1", "trace 2", "trace 3")
    assert finding.span == timedelta(minutes=30)
    assert finding.evidence["min_occurrences"] == finding.evidence["changes_of_lever"] == 3
