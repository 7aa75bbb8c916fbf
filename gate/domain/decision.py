"""The decision about one change: every pattern's objection, and the verdict that follows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gate.domain.detection import Binding, Candidate, Examination, Finding, Response
from gate.domain.pattern import Mode, Pattern, PatternType, Strategy
from gate.domain.patterns import scale_oscillation
from gate.domain.penalty import next_second
from gate.domain.trace import OpenDetection, Verdict

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
}


@dataclass(frozen=True, slots=True)
class Objection:
    """What one pattern has against a change.

    `until` is the first second at which it has nothing against it any more. `finding` is set where
    a rule tripped now, and is to be stored where `opens` says so; `bound_by` are the earlier
    detections that bind; `increase_up_to` is what an increase may reach, where one is admitted.
    """

    pattern: Pattern
    mode: Mode
    response: Response
    until: datetime
    summary: str
    increase_up_to: int | None = None
    finding: Finding | None = None
    opens: bool = False
    bound_by: tuple[OpenDetection, ...] = ()

    @property
    def refuses(self) -> bool:
        """Tell whether the change is refused for this."""
        return self.response is Response.REFUSE and self.mode is Mode.ENFORCE


@dataclass(frozen=True, slots=True)
class Decision:
    """What is answered and why; the strictest objection comes first."""

    verdict: Verdict
    mode: Mode
    objections: tuple[Objection, ...] = ()
    incomplete: tuple[tuple[PatternType, str], ...] = ()

    @property
    def until(self) -> datetime | None:
        """Return the latest instant that any objection names."""
        return max((objection.until for objection in self.objections), default=None)

    @property
    def enforces(self) -> tuple[int, ...]:
        """Return the ids of earlier detections that a refusal is now applied for."""
        return tuple(
            detection.id
            for objection in self.objections
            if objection.refuses and not objection.opens
            for detection in objection.bound_by
            if not detection.prevention_applied
        )


def decide(candidate: Candidate, patterns: Iterable[Pattern], *, mode: Mode) -> Decision:
    """Judge a change by every pattern that watches its workload.

    `mode` is the one that holds where a pattern has none of its own.
    """
    history = candidate.history
    watching = [p for p in patterns if p.scope.covers(history.key, history.labels)]
    objections: list[Objection] = []
    incomplete: list[tuple[PatternType, str]] = []
    for pattern in watching:
        if (judge := JUDGES.get(pattern.type)) is None:
            continue
        examination = judge.examine(candidate, pattern)
        incomplete += [(pattern.type, reason) for reason in examination.incomplete]
        objection = _object(candidate, pattern, examination.finding, pattern.mode or mode)
        if objection is not None:
            objections.append(objection)
    objections.sort(key=_rank)
    is_denied = any(objection.refuses for objection in objections)
    return Decision(
        verdict=Verdict.DENY if is_denied else Verdict.ALLOW,
        mode=objections[0].mode if objections else mode,
        objections=tuple(_without_effect(o) if is_denied else o for o in objections),
        incomplete=tuple(incomplete),
    )


def _object(
    candidate: Candidate, pattern: Pattern, finding: Finding | None, mode: Mode
) -> Objection | None:
    bound = _find_bindings(candidate, pattern, mode)
    responses = {binding.response for binding in bound}
    if finding is not None:
        responses.add(finding.response)
    if not responses:
        return None
    response = Response.REFUSE if Response.REFUSE in responses else Response.WARN
    if finding is not None and finding.response is not response:
        finding = None  # the refusal is an earlier detection's, and ends with it
    decisive = [binding for binding in bound if binding.response is response]
    opens = finding is not None and not _is_covered(finding, mode, [b.detection for b in bound])
    ends = [binding.detection.until for binding in decisive]
    if finding is not None:
        ends.append(_own_end(finding, candidate.now) if opens else finding.until)
    limits = [binding.increase_up_to for binding in bound]
    if finding is not None:
        limits.append(finding.increase_up_to)
    return Objection(
        pattern=pattern,
        mode=mode,
        response=response,
        until=max(ends),
        summary=finding.summary if finding is not None else decisive[-1].summary,
        increase_up_to=None if None in limits else limits[-1],
        finding=finding,
        opens=opens,
        bound_by=tuple(binding.detection for binding in bound),
    )


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


def _is_covered(finding: Finding, mode: Mode, bound: list[OpenDetection]) -> bool:
    """Tell whether an earlier detection already says what this finding says.

    A refusal needs one that was applied and promises no earlier end; a warning, or a finding of
    audit mode, any one.
    """
    if mode is Mode.AUDIT or finding.response is Response.WARN:
        return bool(bound)
    return any(d.prevention_applied and d.until >= finding.until for d in bound)


def _own_end(finding: Finding, now: datetime) -> datetime:
    own = finding.pattern.own_end
    return finding.until if own is None else max(finding.until, next_second(now + own))


def _rank(objection: Objection) -> tuple[bool, bool, int]:
    is_audit = objection.mode is Mode.AUDIT
    return (
        is_audit,
        objection.response is Response.WARN,
        _STRICTNESS[objection.pattern.strategy],
    )
