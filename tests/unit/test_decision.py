"""What follows from findings and from what was promised earlier."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.decision import Decision, decide
from gate.domain.detection import EvidenceKind, Response
from gate.domain.pattern import Mode, PatternType, Scope, Strategy
from gate.domain.record import build_detections
from gate.domain.trace import Verdict
from gate.domain.workload import Kind, WorkloadKey
from tests.admissions import SEEDED
from tests.timeline import SCALE_OSCILLATION, minute
from tests.unit.builders import (
    KEY,
    OPEN_UNTIL,
    judge,
    make_candidate,
    make_detection,
    policy_of,
    series,
    shape,
)

_DOWN_UP = ((0, 5, 3), (10, 3, 5))
_UP_DOWN = ((0, 3, 5), (10, 5, 3))


def test_change_without_a_history_meets_no_objection() -> None:
    assert judge((0, 5, 3)) == Decision(Verdict.ALLOW, Mode.ENFORCE)


def test_reversal_that_trips_is_refused_and_opens_a_detection() -> None:
    decision = judge(*_DOWN_UP, (20, 5, 3))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [])])
    assert decision.enforces == ()


def test_increase_that_trips_is_warned_about_and_opens_a_detection() -> None:
    *earlier, trace = series(*_UP_DOWN, (20, 3, 5))
    candidate = make_candidate(trace, *earlier)

    decision = decide(candidate, policy_of(SCALE_OSCILLATION))

    (opened,) = build_detections(candidate, decision)
    assert shape(decision) == (Verdict.ALLOW, [(Response.WARN, True, [])])
    assert (opened.prevention_applied, opened.prevention_action) == (False, None)
    assert opened.matching_actions == ("trace 1", "trace 2", "trace 3")
    assert opened.action_count == 3
    assert opened.time_span == timedelta(minutes=20)
    assert opened.until == decision.until


def test_warned_detection_binds_a_reduction_that_trips_nothing() -> None:
    decision = judge((0, 5, 3), detections=(make_detection(),))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, False, [7])])
    assert decision.until == OPEN_UNTIL
    assert decision.objections[0].summary.endswith("binds them: what detection 7 saw")
    assert decision.enforces == (7,)


def test_refusal_after_a_warning_opens_a_detection_of_its_own() -> None:
    decision = judge(*_DOWN_UP, (20, 5, 3), detections=(make_detection(),))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [7])])
    assert decision.enforces == ()


def test_later_refusals_cite_the_detection_that_the_first_one_opened() -> None:
    applied = make_detection(prevention_applied=True, until=minute(200))

    decision = judge(*_DOWN_UP, (20, 5, 3), detections=(applied,))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, False, [7])])
    assert decision.until == minute(200)
    assert decision.enforces == ()


def test_refusal_beyond_an_applied_detection_opens_another() -> None:
    applied = make_detection(prevention_applied=True, until=minute(21))

    decision = judge(*_DOWN_UP, (20, 5, 3), detections=(applied,))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [7])])


def test_open_detection_admits_an_increase_with_a_warning_and_is_not_stored_again() -> None:
    decision = judge(*_UP_DOWN, (20, 3, 5), detections=(make_detection(),))

    assert shape(decision) == (Verdict.ALLOW, [(Response.WARN, False, [7])])


def test_detection_binds_until_its_instant_and_not_at_it() -> None:
    just_before = judge((99.999, 5, 3), detections=(make_detection(),))
    at_last = judge((100, 5, 3), detections=(make_detection(),))

    assert just_before.verdict is Verdict.DENY
    assert at_last.objections == ()


def test_detections_of_another_pattern_bind_nothing() -> None:
    assert judge((0, 5, 3), detections=(make_detection(pattern_id=2),)).objections == ()


def test_change_of_other_fields_is_not_bound() -> None:
    (trace,) = series((0, 5, 3))
    candidate = make_candidate(trace, detections=(make_detection(),))
    elsewhere = replace(candidate, change=replace(candidate.change, fields=()))

    assert decide(elsewhere, policy_of(SCALE_OSCILLATION)).objections == ()


def test_detections_of_audit_bind_nobody_after_a_switch_to_enforce() -> None:
    audited = make_detection(mode=Mode.AUDIT)

    assert judge((0, 5, 3), detections=(audited,)).objections == ()
    assert judge((0, 5, 3), detections=(audited,), mode=Mode.AUDIT).objections[0].bound_by == (
        audited,
    )


def test_penalty_of_audit_binds_after_a_switch_to_enforce() -> None:
    decision = judge(*_DOWN_UP, (20, 5, 3), detections=(make_detection(mode=Mode.AUDIT),))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [])])


def test_detections_of_enforcement_are_cited_in_audit_and_refuse_nothing() -> None:
    decision = judge((0, 5, 3), detections=(make_detection(),), mode=Mode.AUDIT)

    assert shape(decision) == (Verdict.ALLOW, [(Response.REFUSE, False, [7])])
    assert decision.mode is Mode.AUDIT
    assert decision.enforces == ()


def test_audit_stores_what_it_would_have_refused_once() -> None:
    *earlier, trace = series(*_DOWN_UP, (20, 5, 3))
    candidate = make_candidate(trace, *earlier)

    decision = decide(candidate, policy_of(SCALE_OSCILLATION, mode=Mode.AUDIT))
    again = judge(
        *_DOWN_UP, (20, 5, 3), detections=(make_detection(mode=Mode.AUDIT),), mode=Mode.AUDIT
    )

    (opened,) = build_detections(candidate, decision)
    assert decision.verdict is Verdict.ALLOW
    assert (opened.mode, opened.prevention_applied) == (Mode.AUDIT, False)
    assert [o.opens for o in again.objections] == [False]


@pytest.mark.parametrize(
    ("of_pattern", "of_all", "verdict"),
    [
        (None, Mode.ENFORCE, Verdict.DENY),
        (None, Mode.AUDIT, Verdict.ALLOW),
        (Mode.ENFORCE, Mode.AUDIT, Verdict.DENY),
        (Mode.AUDIT, Mode.ENFORCE, Verdict.ALLOW),
    ],
)
def test_mode_of_a_pattern_goes_before_the_mode_of_all(
    of_pattern: Mode | None, of_all: Mode, verdict: Verdict
) -> None:
    pattern = replace(SCALE_OSCILLATION, mode=of_pattern)

    decision = judge(*_DOWN_UP, (20, 5, 3), patterns=(pattern,), mode=of_all)

    assert decision.verdict is verdict
    assert decision.mode is (of_pattern or of_all)


def test_contested_detection_refuses_increases_until_it_ends() -> None:
    contested = make_detection(evidence_kind=EvidenceKind.CONTESTED, prevention_applied=True)

    decision = judge((0, 3, 5), detections=(contested,))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, False, [7])])


def test_refusal_for_a_contested_detection_does_not_last_longer_than_that() -> None:
    contested = make_detection(
        evidence_kind=EvidenceKind.CONTESTED, prevention_applied=True, until=minute(40)
    )

    decision = judge(*_UP_DOWN, (20, 3, 5), detections=(contested, make_detection(8)))

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, False, [7, 8])])
    assert decision.until == minute(40)
    assert decision.objections[0].summary.endswith("binds them: what detection 7 saw")


def test_several_patterns_are_judged_and_the_strictest_comes_first() -> None:
    cooling = replace(SCALE_OSCILLATION, own_end=timedelta(hours=9))
    patterns = [
        replace(cooling, id=1, mode=Mode.AUDIT, strategy=Strategy.BLOCK_ACTION),
        replace(cooling, id=2, strategy=Strategy.ALTERNATIVE_ACTION),
        replace(cooling, id=3, strategy=Strategy.COOLING_PERIOD),
        replace(cooling, id=4, strategy=Strategy.ESCALATE_HUMAN, own_end=timedelta(0)),
        replace(cooling, id=5, strategy=Strategy.BLOCK_ACTION, own_end=timedelta(0)),
        replace(cooling, id=6, min_occurrences=4),
    ]

    decision = judge(*_DOWN_UP, (20, 5, 3), patterns=tuple(patterns))

    assert decision.verdict is Verdict.DENY
    assert [o.pattern.id for o in decision.objections] == [5, 4, 3, 2, 1]
    assert all(o.opens for o in decision.objections)
    assert decision.until == minute(20) + timedelta(hours=9, seconds=1)


def test_rule_that_is_only_audited_disarms_no_promise_of_its_pattern() -> None:
    (loop,) = (p for p in SEEDED if p.type is PatternType.INEFFECTIVE_LOOP)
    moves = [(when, 5 + when, 6 + when) for when in range(10)]
    *earlier, trace = series(*moves, (10, 15, 16))
    promise = make_detection(
        pattern_id=loop.id,
        pattern_type=loop.type,
        evidence_kind=EvidenceKind.IDENTICAL,
        action_type="scale_deployment",
        prevention_applied=True,
    )
    candidate = make_candidate(trace, *earlier, detections=(promise,))

    alone = decide(make_candidate(trace, *earlier), policy_of(loop))
    bound = decide(candidate, policy_of(loop))

    (churn,) = alone.objections
    assert (churn.finding and churn.finding.evidence_kind, churn.mode) == (
        EvidenceKind.CHURN,
        Mode.AUDIT,
    )
    assert shape(bound) == (Verdict.DENY, [(Response.REFUSE, False, [7])])


_LABELLED = {"team": "payments", "tier": "web"}


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope(), True),
        (Scope(kinds=("Deployment",)), True),
        (Scope(kinds=("StatefulSet",)), False),
        (Scope(kinds=("StatefulSet", "Deployment")), True),
        (Scope(namespaces=("sh*",)), True),
        (Scope(namespaces=("prod-*", "shop")), True),
        (Scope(namespaces=("sho",)), False),
        (Scope(namespaces=("*shop",)), True),
        (Scope(labels={"team": "payments"}), True),
        (Scope(labels={"team": "payments", "tier": "db"}), False),
        (Scope(labels={"owner": "x"}), False),
        (Scope(kinds=("Deployment",), namespaces=("other",)), False),
    ],
)
def test_pattern_watches_only_its_scope(scope: Scope, *, covered: bool) -> None:
    *earlier, trace = series(*_DOWN_UP, (20, 5, 3))
    candidate = make_candidate(trace, *earlier, labels=_LABELLED)

    decision = decide(candidate, policy_of(replace(SCALE_OSCILLATION, scope=scope)))

    assert (decision.verdict is Verdict.DENY) is covered


def test_scope_knows_the_kinds_apart() -> None:
    key = WorkloadKey("test", "shop", Kind.STATEFUL_SET, "web")

    assert Scope(kinds=("StatefulSet",)).covers(key, {})
    assert not Scope(kinds=("StatefulSet",)).covers(KEY, {})
