"""The decision about one change: every pattern's objection, and the verdict that follows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from gate.domain.detection import Binding, Candidate, Examination, Finding, Response
from gate.domain.effectiveness import EffectivenessTable, Suggestion, suggest_alternative
from gate.domain.escalation import Escalation, NewEscalation
from gate.domain.pattern import Mode, Pattern, PatternType, Strategy
from gate.domain.patterns import (
    cascading_failure,
    ineffective_loop,
    resource_thrashing,
    scale_oscillation,
)
from gate.domain.policy import Policy
from gate.domain.strategy import ask_person, choose_strategy, find_approval
from gate.domain.trace import OpenDetection, Verdict
from gate.domain.window import next_second

_STRICTNESS = {strategy: rank for rank, strategy in enumerate(Strategy)}


@dataclass(frozen=True, slots=True)
class Judge:
    """How one type of pattern judges: afresh, and by what it promised earlier."""

    examine: Callable[[Candidate, Pattern], Examination]
    respond_to_open: Callable[[Candidate, Pattern, OpenDetection], Binding | None]


JUDGES: Mapping[PatternType, Judge] = {
    PatternType.SCALE_OSCILLATION: Judge(
        scale_oscillation.examine, scale_oscillation.respond_to_open
    ),
    PatternType.RESOURCE_THRASHING: Judge(
        resource_thrashing.examine, resource_thrashing.respond_to_open
    ),
    PatternType.INEFFECTIVE_LOOP: Judge(ineffective_loop.examine, ineffective_loop.respond_to_open),
    PatternType.CASCADING_FAILURE: Judge(
        cascading_failure.examine, cascading_failure.respond_to_open
    ),
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What decisions know beside the history: what worked before, and the next escalation's id.

    The id is asked for only where a person is.
    """

    effectiveness: EffectivenessTable = field(default_factory=dict)
    name_escalation: Callable[[], str] = str


_NO_ADVICE = Advice()


@dataclass(frozen=True, slots=True)
class Objection:
    """What one pattern has against a change.

    `until` is the first second at which it has nothing against it any more. `finding` is set where
    a rule tripped now, and is to be stored where `opens` says so; `bound_by` are the earlier
    detections that bind; `increase_up_to` is what an increase may reach, where one is admitted.
    `also` are other rules of the pattern that tripped. `suggestion` says what worked better.
    """

    pattern: Pattern
    strategy: Strategy
    mode: Mode
    response: Response
    until: datetime
    summary: str
    increase_up_to: int | None = None
    finding: Finding | None = None
    also: tuple[Finding, ...] = ()
    opens: bool = False
    bound_by: tuple[OpenDetection, ...] = ()
    suggestion: Suggestion | None = None

    @property
    def refuses(self) -> bool:
        """Tell whether the change is refused for this."""
        return self.response is Response.REFUSE and self.mode is Mode.ENFORCE


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered and why; the strictest objection comes first.

    `approval` is the one by which a change is admitted in spite of its objections; `asks` the
    escalation that a refusal opens, `asked` one that is open already, for this change or, where
    `is_flooded`, for others of the workload.
    """

    verdict: Verdict
    mode: Mode
    objections: tuple[Objection, ...] = ()
    incomplete: tuple[tuple[PatternType, str], ...] = ()
    approval: Escalation | None = None
    asks: NewEscalation | None = None
    asked: Escalation | None = None
    is_flooded: bool = False

    @property
    def until(self) -> datetime | None:
        """Return the latest instant that any objection names."""
        return max((objection.until for objection in self.objections), default=None)

    @property
    def enforces(self) -> tuple[int, ...]:
        """Return the ids of earlier detections that a refusal is now applied for."""
        if self.approval is not None:
            return ()
        return tuple(
            detection.id
            for objection in self.objections
            if objection.refuses and not objection.opens
            for detection in objection.bound_by
            if detection.id is not None and not detection.prevention_applied
        )


def decide(candidate: Candidate, policy: Policy, advice: Advice | None = None) -> Decision:
    """Judge a change by every pattern that watches its workload.

    Several objections: the strictest decides what is done, the latest end is what is promised, and
    every one is recorded.
    """
    advice = advice or _NO_ADVICE
    history = candidate.history
    mode = policy.modes.holding_in(history.key.namespace)
    objections: list[Objection] = []
    incomplete: list[tuple[PatternType, str]] = []
    for pattern in policy.patterns:
        if not _is_watched(candidate, pattern):
            continue
        examination = JUDGES[pattern.type].examine(candidate, pattern)
        if examination.incomplete:
            incomplete += [(pattern.type, reason) for reason in examination.incomplete]
        if not examination.findings and not candidate.history.detections:
            continue
        objection = _object(candidate, pattern, examination.findings, pattern.mode or mode)
        if objection is not None:
            objections.append(_advise(candidate, objection, advice))
    objections.sort(key=_rank)
    decision = Decision(
        verdict=Verdict.DENY if any(o.refuses for o in objections) else Verdict.ALLOW,
        mode=objections[0].mode if objections else mode,
        objections=tuple(objections),
        incomplete=tuple(incomplete),
    )
    return _refuse(candidate, decision, policy, advice) if _is_denied(decision) else decision


def _refuse(candidate: Candidate, decision: Decision, policy: Policy, advice: Advice) -> Decision:
    """Complete a refusal, unless a person has approved exactly this change."""
    approval = find_approval(candidate, policy.version)
    if approval is not None:
        objections = tuple(replace(o, opens=False) for o in decision.objections)
        return replace(decision, verdict=Verdict.ALLOW, objections=objections, approval=approval)
    objections = tuple(map(_without_effect, decision.objections))
    first = objections[0]
    if first.strategy is not Strategy.ESCALATE_HUMAN:
        return replace(decision, objections=objections)
    asking = ask_person(
        candidate,
        first.pattern,
        summary=first.summary,
        policy_version=policy.version,
        name_escalation=advice.name_escalation,
    )
    return replace(
        decision,
        objections=objections,
        asks=asking.asks,
        asked=asking.asked,
        is_flooded=asking.is_flooded,
    )


def _is_watched(candidate: Candidate, pattern: Pattern) -> bool:
    """Tell whether a pattern looks at a change: by the labels before it or after it.

    One that has promised something does so in any case: to drop a label frees nobody, and an outage
    may hide them.
    """
    history = candidate.history
    if not pattern.scope.labels:
        return pattern.scope.covers_place(history.key)
    if any(
        pattern.scope.covers(history.key, labels)
        for labels in candidate.labels or (history.labels,)
    ):
        return True
    is_bound = any(detection.pattern_id == pattern.id for detection in history.detections)
    return is_bound and pattern.scope.covers_place(history.key)


def _is_denied(decision: Decision) -> bool:
    return decision.verdict is Verdict.DENY


def _object(
    candidate: Candidate, pattern: Pattern, findings: tuple[Finding, ...], mode: Mode
) -> Objection | None:
    finding, also, weighed = _weigh(findings, mode)
    bound = _find_bindings(candidate, pattern, weighed)
    if weighed is not mode and (promised := _find_bindings(candidate, pattern, mode)):
        # An enforced promise outweighs a rule that is only audited.
        finding, also, weighed, bound = None, (), mode, promised
    mode = weighed
    responses = {binding.response for binding in bound}
    if finding is not None:
        responses.add(finding.response)
    if not responses:
        return None
    response = Response.REFUSE if Response.REFUSE in responses else Response.WARN
    if finding is not None and finding.response is not response:
        finding = None  # the refusal is an earlier detection's, and ends with it
    decisive = [binding for binding in bound if binding.response is response]
    strategy = choose_strategy(candidate, pattern, [binding.detection for binding in decisive])
    alike = [other.until for other in also if other.response is response]
    opens = finding is not None and not _is_covered(
        finding,
        max([finding.until, *alike]),
        mode,
        [binding.detection for binding in bound],
    )
    ends = [binding.detection.until for binding in decisive]
    if finding is not None:
        ends.append(_own_end(finding, candidate.now) if opens else finding.until)
        ends += alike
    limits = [binding.increase_up_to for binding in bound]
    if finding is not None:
        limits.append(finding.increase_up_to)
    return Objection(
        pattern=pattern,
        strategy=strategy,
        mode=mode,
        response=response,
        until=max(ends),
        summary=finding.summary if finding is not None else decisive[-1].summary,
        increase_up_to=None if None in limits else limits[-1],
        finding=finding,
        also=also,
        opens=opens,
        bound_by=tuple(binding.detection for binding in bound),
    )


def _weigh(
    findings: tuple[Finding, ...], mode: Mode
) -> tuple[Finding | None, tuple[Finding, ...], Mode]:
    """Return the finding that decides, the others of its mode, and that mode.

    A rule may only be audited where its pattern is enforced, never the other way round.
    """
    if not findings:
        return None, (), mode
    modes = [Mode.AUDIT if Mode.AUDIT in (mode, finding.mode) else mode for finding in findings]
    strictest = Mode.ENFORCE if Mode.ENFORCE in modes else Mode.AUDIT
    alike = [f for f, its_mode in zip(findings, modes, strict=True) if its_mode is strictest]
    alike.sort(key=lambda finding: finding.response is Response.WARN)
    return alike[0], tuple(alike[1:]), strictest


def _advise(candidate: Candidate, objection: Objection, advice: Advice) -> Objection:
    """Add what worked better, where the strategy is to say so."""
    if objection.strategy is not Strategy.ALTERNATIVE_ACTION:
        return objection
    suggestion = suggest_alternative(
        advice.effectiveness,
        candidate.trace.action_type,
        alert=candidate.trace.alert,
        kind=candidate.history.key.kind,
    )
    return replace(objection, suggestion=suggestion)


def _without_effect(objection: Objection) -> Objection:
    """Keep a warning about a change that is refused from binding: the change takes no effect."""
    is_warning = objection.response is Response.WARN and objection.mode is Mode.ENFORCE
    return replace(objection, opens=False) if is_warning else objection


def _find_bindings(candidate: Candidate, pattern: Pattern, mode: Mode) -> list[Binding]:
    """Return what the open detections ask for; one of audit mode binds nobody else."""
    judge = JUDGES[pattern.type]
    return [
        binding
        for detection in candidate.history.detections
        if detection.pattern_id == pattern.id
        and detection.until > candidate.now
        and (detection.mode is Mode.ENFORCE or mode is Mode.AUDIT)
        and (binding := judge.respond_to_open(candidate, pattern, detection)) is not None
    ]


def _is_covered(finding: Finding, until: datetime, mode: Mode, bound: list[OpenDetection]) -> bool:
    """Tell whether an earlier detection already says what a finding says, until this instant.

    A refusal needs one that was applied and promises no earlier end; a warning, or a finding of
    audit mode, any one.
    """
    if mode is Mode.AUDIT or finding.response is Response.WARN:
        return bool(bound)
    return any(d.prevention_applied and d.until >= until for d in bound)


def _own_end(finding: Finding, now: datetime) -> datetime:
    own = finding.pattern.own_end
    return finding.until if own is None else max(finding.until, next_second(now + own))


def _rank(objection: Objection) -> tuple[bool, bool, int]:
    is_audit = objection.mode is Mode.AUDIT
    return (
        is_audit,
        objection.response is Response.WARN,
        _STRICTNESS[objection.strategy],
    )
