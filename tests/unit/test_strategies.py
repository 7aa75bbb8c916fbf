"""What is done beside refusing: people are asked, approvals honoured, other actions suggested."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.change import ActionType
from gate.domain.decision import Advice, Decision, decide
from gate.domain.detection import Candidate
from gate.domain.effectiveness import Effectiveness, EffectivenessScope, EffectivenessTable
from gate.domain.escalation import (
    OPEN_AT_MOST,
    Escalation,
    EscalationState,
    NewEscalation,
    digest_exact,
)
from gate.domain.message import answer_decision
from gate.domain.pattern import Mode, Pattern, Strategy
from gate.domain.record import build_detections, describe_decision
from gate.domain.strategy import choose_strategy
from gate.domain.trace import Cooling, ExecutionStatus, Trace, Verdict
from tests.timeline import SCALE_OSCILLATION, minute
from tests.unit.builders import KEY, make_candidate, make_detection, policy_of, series

ESCALATING = replace(SCALE_OSCILLATION, strategy=Strategy.ESCALATE_HUMAN)
SUGGESTING = replace(SCALE_OSCILLATION, strategy=Strategy.ALTERNATIVE_ACTION)
_DOWN_UP = ((0, 5, 3), (10, 3, 5))
_ADVICE = Advice(name_escalation=lambda: "a new id")


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_detections_the_strictest_strategy_binds_in_whatever_order(order: int) -> None:
    bound = [
        replace(make_detection(), strategy=strategy)
        for strategy in (Strategy.COOLING_PERIOD, Strategy.BLOCK_ACTION, Strategy.ESCALATE_HUMAN)
    ]

    assert choose_strategy(third_swing(), ESCALATING, bound[::order]) is Strategy.BLOCK_ACTION


def third_swing(*escalations: Escalation, at: float = 20, to: int = 3) -> Candidate:
    """Return a change that trips, beside what was asked about the workload before."""
    *earlier, trace = series(*_DOWN_UP, (at, 5, to))
    candidate = make_candidate(trace, *earlier)
    return replace(candidate, history=replace(candidate.history, escalations=escalations))


def approve(candidate: Candidate, **given: object) -> Escalation:
    """Return an approval of exactly this change, good until minute 60."""
    digest = digest_exact(
        candidate.change, KEY, actor=candidate.trace.actor, policy_version="a policy"
    )
    approval = Escalation(
        "an approval", digest, EscalationState.APPROVED, minute(60), decided_by="alice"
    )
    return replace(approval, **given)  # type: ignore[arg-type]  # fields of the escalation


def judge(candidate: Candidate, pattern: Pattern = ESCALATING, **given: object) -> Decision:
    """Decide about a change by one pattern."""
    advice = replace(_ADVICE, **given)  # type: ignore[arg-type]  # fields of the advice
    return decide(candidate, policy_of(pattern), advice)


def say(decision: Decision, *, action_id: str | None = "an-id") -> str:
    """Return the words of a denial."""
    return answer_decision(decision, KEY, now=minute(20), action_id=action_id).message


def test_refusal_that_escalates_opens_a_question_about_exactly_this_change() -> None:
    candidate = third_swing()

    decision = judge(candidate)

    (opened,) = build_detections(candidate, decision)
    assert decision.verdict is Verdict.DENY
    assert decision.asks == NewEscalation(
        id="a new id",
        pattern_id=ESCALATING.id,
        digest=approve(candidate).digest,
        actor=candidate.trace.actor,
        change={
            "action_type": "scale_deployment",
            "fields": [{"field": "replicas", "before": 5, "after": 3}],
        },
        summary=decision.objections[0].summary,
        requested_at=minute(20),
        expires_at=minute(80) + timedelta(seconds=1),
    )
    assert opened.prevention_action == "escalated"
    assert describe_decision(decision, problems=(), warnings=())["escalation"] == "a new id"
    assert (
        "Escalation: a person is asked (a new id), until 2026-11-24T09:20:01Z. Once approved,"
        " exactly this change is admitted once: repeat it as it is.\n"
    ) in say(decision)


def test_dry_run_asks_nobody_and_says_so() -> None:
    assert "Escalation: a person would be asked.\n" in say(judge(third_swing()), action_id=None)


def test_question_that_is_open_for_this_change_is_cited_and_not_asked_again() -> None:
    open_one = approve(third_swing(), id="asked before", state=EscalationState.OPEN)

    decision = judge(third_swing(open_one))

    assert decision.asks is None
    assert decision.asked == open_one
    assert "a person is asked (asked before), until 2026-11-24T09:00:00Z" in say(decision)


def test_question_that_has_expired_is_asked_again() -> None:
    expired = approve(third_swing(), state=EscalationState.OPEN, expires_at=minute(20))

    assert judge(third_swing(expired)).asks is not None


def test_another_change_is_another_question_until_there_are_many() -> None:
    others = [
        Escalation(f"{number}", f"digest {number}", EscalationState.OPEN, minute(60))
        for number in range(OPEN_AT_MOST)
    ]

    few, many = judge(third_swing(*others[:-1])), judge(third_swing(*others))

    assert few.asks is not None
    assert many.asks is None
    assert (
        "Escalation: people have 8 open questions about this workload; the newest is 7, open until"
        " 2026-11-24T09:00:00Z. No further one is asked.\n"
    ) in say(many)


@pytest.mark.parametrize("strategy", Strategy)
def test_approval_lets_its_change_through_whichever_strategy_refused_it(
    strategy: Strategy,
) -> None:
    approval = approve(third_swing())
    pattern = replace(SCALE_OSCILLATION, strategy=strategy)
    candidate = third_swing(approval)

    decision = judge(candidate, pattern)

    answer = answer_decision(decision, KEY, now=minute(20), action_id="an-id")
    assert (decision.verdict, decision.approval) == (Verdict.ALLOW, approval)
    assert build_detections(candidate, decision) == ()
    assert answer.warnings == ("gate: shop/web: admitted once, approved by alice (an approval)",)
    assert answer.audit["approval"] == "an approval"


def test_approval_lets_a_bound_change_through_and_applies_no_detection() -> None:
    (trace,) = series((20, 5, 3))
    candidate = make_candidate(trace, detections=(make_detection(),))
    history = replace(candidate.history, escalations=(approve(candidate),))

    decision = judge(replace(candidate, history=history))

    assert decision.verdict is Verdict.ALLOW
    assert decision.enforces == ()


@pytest.mark.parametrize(
    "given",
    [
        {"digest": "of another change"},
        {"state": EscalationState.OPEN},
        {"expires_at": minute(20)},
        {"reserved_by": "trace 1"},
        {"reserved_by": "a trace that is not on record any more"},
    ],
)
def test_approval_that_does_not_hold_lets_nothing_through(given: dict[str, object]) -> None:
    approval = approve(third_swing(), **given)

    assert judge(third_swing(approval)).verdict is Verdict.DENY


def test_approval_of_one_change_lets_no_other_through() -> None:
    approval = approve(third_swing(to=3))

    assert judge(third_swing(approval, to=2)).verdict is Verdict.DENY


def test_approval_ends_with_the_policy_it_was_given_under() -> None:
    candidate = third_swing(approve(third_swing()))
    changed = replace(policy_of(ESCALATING), version="another policy")

    assert decide(candidate, changed, _ADVICE).verdict is Verdict.DENY


def test_approval_of_another_agent_does_not_hold() -> None:
    approval = approve(third_swing())
    candidate = third_swing(approval)
    stranger = replace(candidate, trace=replace(candidate.trace, actor="another agent"))

    assert judge(stranger).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (ExecutionStatus.FAILED, Verdict.ALLOW),
        (ExecutionStatus.COMPLETED, Verdict.DENY),
        (ExecutionStatus.PENDING, Verdict.DENY),
    ],
)
def test_approval_is_free_again_only_where_its_change_took_no_effect(
    status: ExecutionStatus, verdict: Verdict
) -> None:
    let_through = admitted_by_approval(minute(15), status)
    candidate = third_swing(approve(third_swing(), reserved_by=let_through.action_id))
    traces = (*candidate.history.traces, let_through)
    again = replace(candidate, history=replace(candidate.history, traces=traces))

    assert judge(again).verdict is verdict


def admitted_by_approval(at: datetime, status: ExecutionStatus) -> Trace:
    """Return the trace of a change that an approval let through."""
    (trace,) = series((0, 5, 3))
    seen = replace(trace.seen, at=at, generation=50)
    return replace(
        trace, action_id="let through", version=3, seen=seen, status=status, approval="an approval"
    )


def test_approved_change_adds_no_penalty() -> None:
    first, second, third = series((0, 5, 3), (10, 3, 5), (20, 5, 3))
    approved = replace(second, approval="an approval", status=ExecutionStatus.COMPLETED)

    decision = judge(make_candidate(third, first, approved))

    assert decision.objections == ()


@pytest.mark.parametrize(
    ("coolings", "strategy"),
    [
        ((), Strategy.COOLING_PERIOD),
        (((-60, -30),), Strategy.COOLING_PERIOD),
        (((-60, -30), (-20, 5)), Strategy.ESCALATE_HUMAN),
        (((-400, -300), (-20, 5)), Strategy.COOLING_PERIOD),
        (((-60, -30), (-20, 5), (8, 12)), Strategy.ESCALATE_HUMAN),
    ],
)
def test_third_cooling_in_a_row_asks_a_person(
    coolings: tuple[tuple[int, int], ...], strategy: Strategy
) -> None:
    pattern = replace(SCALE_OSCILLATION, escalate_after=3)
    candidate = third_swing()
    past = tuple(Cooling(pattern.id, minute(began), minute(ended)) for began, ended in coolings)
    history = replace(candidate.history, coolings=past)

    decision = judge(replace(candidate, history=history), pattern)

    assert decision.objections[0].strategy is strategy
    assert (decision.asks is not None) is (strategy is Strategy.ESCALATE_HUMAN)


def test_coolings_of_another_pattern_are_not_in_the_row() -> None:
    pattern = replace(SCALE_OSCILLATION, escalate_after=2)
    candidate = third_swing()
    history = replace(candidate.history, coolings=(Cooling(99, minute(5), minute(15)),))

    decision = judge(replace(candidate, history=history), pattern)

    assert decision.objections[0].strategy is Strategy.COOLING_PERIOD


def test_refusal_that_an_earlier_one_binds_keeps_its_strategy() -> None:
    earlier = make_detection(strategy=Strategy.ESCALATE_HUMAN, prevention_applied=True)
    (trace,) = series((20, 5, 3))

    decision = judge(make_candidate(trace, detections=(earlier,)), SCALE_OSCILLATION)

    assert decision.objections[0].strategy is Strategy.ESCALATE_HUMAN
    assert decision.asks is not None


def test_audit_asks_nobody() -> None:
    decision = decide(third_swing(), policy_of(ESCALATING, mode=Mode.AUDIT), _ADVICE)

    assert (decision.verdict, decision.asks) == (Verdict.ALLOW, None)


def figures(*known: Effectiveness, alert: str | None = None) -> EffectivenessTable:
    """Return what is known for one alert, or for Deployments."""
    scope = (EffectivenessScope.ALERT, alert) if alert else (EffectivenessScope.KIND, "Deployment")
    return {scope: known}


_MEMORY = Effectiveness(ActionType.INCREASE_RESOURCES, mean=0.82, lower=0.61, sample_size=14)
_RESTART = Effectiveness(ActionType.RESTART_DEPLOYMENT, mean=0.9, lower=0.3, sample_size=4)
_SCALE = Effectiveness(ActionType.SCALE_DEPLOYMENT, mean=0.4, lower=0.35, sample_size=40)


def suggested(table: EffectivenessTable, *, alert: str | None = None) -> str:
    candidate = third_swing()
    candidate = replace(candidate, trace=replace(candidate.trace, alert=alert))
    words = say(judge(candidate, SUGGESTING, effectiveness=table))
    return next(line for line in words.splitlines() if line.startswith("Instead:"))


def test_what_is_surest_to_work_is_suggested_with_its_figures() -> None:
    assert suggested(figures(_SCALE, _RESTART, _MEMORY)) == (
        "Instead: increase_resources has worked better for Deployments: mean score 0.82, at least"
        " 0.61, from 14 changes. It is judged like any other change."
    )


def test_what_worked_for_the_alert_goes_before_what_worked_for_the_kind() -> None:
    table = {**figures(_MEMORY), **figures(_RESTART, alert="HighLatency")}

    assert "restart_deployment has worked better for alert HighLatency" in suggested(
        table, alert="HighLatency"
    )
    assert "increase_resources has worked better for Deployments" in suggested(table, alert="Other")
    assert "increase_resources has worked better for Deployments" in suggested(table)


def test_what_is_no_better_than_the_refused_action_is_not_suggested() -> None:
    nothing = "Instead: nothing is known to have worked better here; look for the cause first."

    assert suggested({}) == nothing
    assert suggested(figures(_SCALE)) == nothing
    assert suggested(figures(_SCALE, _RESTART)) == nothing


def test_deleting_the_workload_is_never_suggested() -> None:
    deleting = replace(_MEMORY, action_type=ActionType.DELETE_WORKLOAD, lower=0.99)

    assert "increase_resources has worked better" in suggested(figures(deleting, _MEMORY))


def test_suggestion_is_on_record_so_that_following_it_is_held_against_nobody() -> None:
    candidate = third_swing()
    decision = judge(candidate, SUGGESTING, effectiveness=figures(_MEMORY))

    (opened,) = build_detections(candidate, decision)
    (refused,) = decision.objections
    recorded = describe_decision(decision, problems=(), warnings=())
    assert refused.suggestion is not None
    assert "'suggests': <ActionType.INCREASE_RESOURCES" in str(recorded["objections"])
    assert opened.prevention_action == "alternative-suggested"
    assert opened.prevention_details["suggests"] == "increase_resources"


def test_words_of_the_operator_go_before_what_is_known() -> None:
    pattern = replace(SUGGESTING, alternatives=("page the owner", "raise the HPA's maximum"))

    words = say(judge(third_swing(), pattern, effectiveness=figures(_MEMORY)))

    assert "Instead: page the owner; raise the HPA's maximum.\n" in words
