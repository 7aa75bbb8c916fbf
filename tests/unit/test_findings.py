"""What a pattern finds in a history of replicas."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.decision import Decision, decide
from gate.domain.detection import EvidenceKind, Response
from gate.domain.pattern import Mode, OnIncrease, Thresholds
from gate.domain.trace import Overrides, Trace, Verdict
from tests.timeline import SCALE_OSCILLATION, minute
from tests.unit.builders import (
    judge,
    make_candidate,
    make_detection,
    make_trace,
    policy_of,
    series,
    shape,
)

_DOWN_UP = ((0, 5, 3), (10, 3, 5))
_UP_DOWN = ((0, 3, 5), (10, 5, 3))


@pytest.mark.parametrize(
    ("cap", "after", "response"),
    [
        (2.0, 20, Response.WARN),
        (2.0, 21, Response.REFUSE),
        (1.0, 10, Response.WARN),
        (1.0, 11, Response.REFUSE),
        (1.25, 12, Response.WARN),
        (1.25, 13, Response.REFUSE),
    ],
)
def test_increase_is_admitted_up_to_the_cap_times_the_highest_value(
    cap: float, after: int, response: Response
) -> None:
    pattern = replace(SCALE_OSCILLATION, thresholds=Thresholds(increase_cap=cap))

    decision = judge((0, 3, 10), (10, 10, 4), (20, 4, after), patterns=(pattern,))

    assert [o.response for o in decision.objections] == [response]


def test_highest_value_is_one_held_within_the_window_of_the_last_change() -> None:
    long_ago = ((-200, 3, 50), (-130, 50, 4))  # 50 was held until 140 minutes before the last one
    recent = ((-200, 3, 50), (-100, 50, 4))

    beyond = judge(*long_ago, (0, 4, 5), (10, 5, 4), (20, 4, 60))
    within = judge(*recent, (0, 4, 5), (10, 5, 4), (20, 4, 60))

    assert [o.response for o in beyond.objections] == [Response.REFUSE]
    assert [o.response for o in within.objections] == [Response.WARN]


def test_increase_is_refused_where_the_pattern_says_so() -> None:
    pattern = replace(SCALE_OSCILLATION, thresholds=Thresholds(on_increase=OnIncrease.REFUSE))

    decision = judge(*_UP_DOWN, (20, 3, 5), patterns=(pattern,))
    bound = judge((20, 3, 5), detections=(make_detection(),), patterns=(pattern,))

    assert decision.verdict is bound.verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("argocd-controller", "field manager argocd-controller undoes this, change it there"),
        (None, "somebody else undoes this, change it there"),
    ],
)
def test_contested_change_is_refused_with_its_owners_name(owner: str | None, words: str) -> None:
    *earlier, trace = series((0, 3, 5), (10, 3, 5), (20, 3, 5))

    decision = decide(make_candidate(trace, *earlier, owner=owner), policy_of(SCALE_OSCILLATION))

    (objection,) = decision.objections
    assert objection.refuses
    assert objection.finding is not None
    assert objection.finding.evidence_kind is EvidenceKind.CONTESTED
    assert objection.finding.evidence["owner"] == owner
    assert objection.summary == (
        "agents' changes of replicas were undone 2 times in 20 min, and 3 → 5 goes the same "
        f"way again; {words}"
    )


@pytest.mark.parametrize(
    ("moves", "contested"),
    [
        (((0, 4, 8), (10, 6, 8), (20, 7, 8)), True),  # back by half each time
        (((0, 4, 8), (10, 7, 11), (20, 8, 12)), False),  # back by less, then not at all
        (((0, 4, 8), (10, 9, 12), (20, 13, 15)), False),  # pushed on, not back
        (((0, 3, 5), (10, 3, 5), (130, 3, 5)), False),  # the first left the window
        (((0, 3, 5), (10, 3, 5), (20, 3, 2)), False),  # another way
        (((0, 5, 3), (10, 5, 3), (20, 5, 3)), True),  # reductions too
        (((0, 5, None), (10, 5, None), (20, 5, None)), True),  # and deletions
    ],
)
def test_contested_takes_two_undoings_of_the_same_direction_within_the_window(
    moves: tuple[tuple[float, int | None, int | None], ...], *, contested: bool
) -> None:
    decision = judge(*moves)

    kinds = [o.finding.evidence_kind for o in decision.objections if o.finding is not None]
    assert (EvidenceKind.CONTESTED in kinds) is contested


def test_contest_ends_by_the_time_of_its_changes_and_not_by_their_order() -> None:
    decision = judge((0, 3, 5), (10, 3, 5), (5, 3, 5), (20, 3, 5))

    assert decision.until == minute(5) + timedelta(minutes=120, seconds=1)


def test_contested_reversal_lasts_until_neither_stands_against_it() -> None:
    decision = judge((0, 5, 3), (10, 5, 8), (20, 5, 3), (30, 5, 8), (40, 5, 3))

    assert decision.until == minute(30) + timedelta(minutes=120, seconds=1)


def test_change_that_is_not_there_yet_is_not_undone() -> None:
    asked = [
        make_trace(3, 5 + n, at=minute(n / 6), version=n, resource_version="1", generation=1)
        for n in range(3)
    ]

    decision = decide(make_candidate(asked[-1], *asked[:-1]), policy_of(SCALE_OSCILLATION))

    assert decision.objections == ()


def with_overrides(overrides: Overrides, *moves: tuple[float, int, int]) -> Decision:
    traces = series(*moves)
    candidate = make_candidate(traces[-1], *traces[:-1])
    history = replace(candidate.history, overrides=overrides)
    return decide(replace(candidate, history=history), policy_of(SCALE_OSCILLATION))


def test_overrides_of_one_workload_replace_the_patterns_thresholds() -> None:
    swings = ((0, 5, 3), (10, 3, 5), (20, 5, 3))
    slow = ((0, 5, 3), (100, 3, 5), (200, 5, 3))

    assert with_overrides(Overrides(), *swings).verdict is Verdict.DENY
    assert with_overrides(Overrides(min_occurrences=4), *swings).verdict is Verdict.ALLOW
    assert with_overrides(Overrides(window=timedelta(minutes=9)), *swings).verdict is Verdict.ALLOW
    assert with_overrides(Overrides(), *slow).verdict is Verdict.ALLOW
    assert with_overrides(Overrides(window=timedelta(minutes=240)), *slow).verdict is Verdict.DENY


def test_deletion_counts_as_a_reduction_to_nothing_and_creation_from_it() -> None:
    decision = judge((0, 5, None), (10, None, 5), (20, 5, None))
    created = judge((0, 3, 5), (10, 5, None), (20, None, 5))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [])])
    assert shape(created) == (Verdict.ALLOW, [(Response.WARN, True, [])])


def test_creation_of_an_unknown_workload_is_not_judged() -> None:
    decision = judge((0, None, 5), detections=(make_detection(),))

    assert decision == Decision(Verdict.ALLOW, Mode.ENFORCE)


def approve(trace: Trace) -> Trace:
    return replace(trace, approval="an escalation")


def judge_traces(*traces: Trace, owner: str | None = None) -> Decision:
    candidate = make_candidate(traces[-1], *traces[:-1], owner=owner)
    return decide(candidate, policy_of(SCALE_OSCILLATION))


def test_approved_change_adds_no_penalty_and_moves_the_value() -> None:
    down, up, down_again, up_again = series((0, 5, 3), (10, 3, 5), (20, 5, 3), (30, 3, 5))

    after_approval = judge_traces(down, up, approve(down_again), up_again)
    without = judge_traces(down, up, down_again, up_again)
    later_reduction = judge_traces(down, approve(up), down_again)

    assert after_approval.objections == ()
    assert [o.response for o in without.objections] == [Response.WARN]
    assert later_reduction.objections == ()


def test_approved_change_does_not_hide_the_reversals_around_it() -> None:
    traces = series((0, 3, 5), (5, 5, 9), (10, 9, 5), (20, 5, 9), (30, 9, 5))

    decision = judge_traces(traces[0], approve(traces[1]), *traces[2:])

    finding = decision.objections[0].finding
    assert finding is not None
    folded = finding.evidence["series"]
    assert isinstance(folded, list)
    assert decision.verdict is Verdict.DENY
    assert [step["reversal"] for step in folded] == [False, False, True, True, True]
    assert [step.get("approved", False) for step in folded] == [False, True, False, False, False]


def test_value_that_an_approved_change_moved_is_not_undone_by_somebody_else() -> None:
    moves = ((0, 3, 5), (5, 5, 3), (10, 3, 5), (15, 5, 3), (20, 3, 5))
    traces = series(*moves)

    decision = judge_traces(traces[0], approve(traces[1]), traces[2], approve(traces[3]), traces[4])

    assert decision.objections == ()


def test_approved_change_that_is_undone_is_not_held_against_the_agent() -> None:
    first, second, third = series((0, 3, 5), (10, 3, 5), (20, 3, 5))

    assert judge_traces(first, approve(second), third).objections == ()
    assert judge_traces(first, second, third).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("owner", "named"), [("kubectl", "field manager kubectl"), (None, "field manager argocd")]
)
def test_contest_names_who_was_seen_to_undo_where_the_object_does_not_tell(
    owner: str | None, named: str
) -> None:
    first, second, third = series((0, 3, 5), (10, 3, 5), (20, 3, 5))

    decision = judge_traces(first, replace(second, undone_by="argocd"), third, owner=owner)

    assert decision.objections[0].summary.endswith(f"{named} undoes this, change it there")


def test_change_that_was_seen_to_be_undone_is_so_within_the_time_of_a_retry() -> None:
    moves = ((0, 3, 5), (0.2, 3, 5), (0.4, 3, 5))
    traces = [
        make_trace(before, after, at=minute(when), version=n, resource_version=str(n))
        for n, (when, before, after) in enumerate(moves, 1)
    ]
    seen = [replace(trace, undone_by="argocd") for trace in traces[:2]]

    assert judge_traces(*traces).objections == ()
    assert judge_traces(*seen, traces[2]).verdict is Verdict.DENY


def test_bound_increase_from_nothing_has_no_limit() -> None:
    decision = judge((0, 0, 50), detections=(make_detection(),))

    assert shape(decision) == (Verdict.ALLOW, [(Response.WARN, False, [7])])
    assert decision.objections[0].increase_up_to is None


def test_evidence_is_enough_to_redraw_the_decision() -> None:
    decision = judge(*_DOWN_UP, (20, 5, 3))

    finding = decision.objections[0].finding
    assert finding is not None
    evidence = dict(finding.evidence)
    folded = evidence.pop("series")
    assert isinstance(folded, list)
    first, second, third = folded
    assert evidence == {
        "threshold": 1.5,
        "half_life_seconds": 3600.0,
        "min_occurrences": 3,
        "window_seconds": 7200.0,
        "dead_absolute": 1,
        "dead_relative": 0.1,
        "on_increase": "warn",
        "increase_cap": 2.0,
        "penalty_before": pytest.approx(2 ** (-1 / 6), abs=1e-6),
        "penalty": pytest.approx(1 + 2 ** (-1 / 6), abs=1e-6),
    }
    assert first == {
        "version": 1,
        "time": "2026-11-24T08:00:00+00:00",
        "before": 5,
        "after": 3,
        "actor": "system:serviceaccount:ai-agents:scaler",
        "action_id": "trace 1",
        "penalty": 0.0,
        "reversal": False,
    }
    assert (second["penalty"], second["reversal"]) == (1.0, True)
    assert (third["before"], third["after"], third["reversal"]) == (5, 3, True)
    assert 0.0 < finding.confidence < 1.0
