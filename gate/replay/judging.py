"""One change judged by the code that judges admissions; nothing else of replay calls it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.domain.corroboration import find_moves, move_of
from gate.domain.decision import Decision, Objection, decide
from gate.domain.detection import Candidate, Response
from gate.domain.pattern import Pattern, PatternType
from gate.domain.penalty import Damping, Deadband, Fold
from gate.domain.policy import Policy
from gate.domain.quantity import Amount, Unit
from gate.domain.snapshot import REPLICAS, Field, Part, Value
from gate.domain.trace import History, Trace, Verdict
from gate.domain.workload import WorkloadKey
from gate.services.case import Case, make_trace
from gate.services.identifiers import RANDOM_BYTES, make_action_id


@dataclass(frozen=True, slots=True)
class Penalty:
    """A penalty with what it is weighed by.

    It trips at `threshold`, halves in `half_life` and is forgotten after `window`.
    """

    pattern: str
    value: float
    threshold: float
    half_life: timedelta
    window: timedelta

    def after(self, elapsed: timedelta) -> float:
        """Return what is left of it after a time without changes."""
        if elapsed > self.window:
            return 0.0
        return self.value * math.exp2(-max(elapsed / self.half_life, 0.0))


@dataclass(frozen=True, slots=True)
class Judgement:
    """What gate would have answered to a change, and all that is kept of it.

    `penalty` counts the change itself; None where nothing folds what it changes. `labels` are None
    where they are not known.
    """

    key: WorkloadKey
    at: datetime
    trace: Trace
    labels: Mapping[str, str] | None
    changes_capacity: bool
    decision: Decision
    penalty: Penalty | None

    @property
    def refusals(self) -> tuple[Objection, ...]:
        """Return the objections that ask for a refusal, in audit mode too; the decisive first."""
        return tuple(o for o in self.decision.objections if o.response is Response.REFUSE)

    @property
    def is_denied(self) -> bool:
        """Tell whether the change would have been refused."""
        return self.decision.verdict is Verdict.DENY

    @property
    def is_first_of_episode(self) -> bool:
        """Tell whether a refusal is the first that something is held against."""
        return self.is_denied and any(
            objection.refuses
            and not any(detection.prevention_applied for detection in objection.bound_by)
            for objection in self.decision.objections
        )

    @property
    def retry_after(self) -> timedelta | None:
        """Return how long the same change would have been refused; None where it would not."""
        refusing = [o for o in self.decision.objections if o.refuses] or self.refusals
        if not refusing:
            return None
        wait = max(objection.until for objection in refusing) - self.at
        return timedelta(seconds=max(1, math.ceil(wait.total_seconds())))


def judge(
    case: Case,
    history: History,
    policy: Policy,
    *,
    at: datetime,
    number: int,
    owner: str | None,
    knows_labels: bool,
) -> Judgement:
    """Judge a change on the history before it.

    `number` tells it from all others of the replay; `owner` is who changed the replicas last.
    """
    # Ids need not be unpredictable here, and a replay must give the same twice.
    action_id = make_action_id(at, number.to_bytes(RANDOM_BYTES))
    labels = case.labels if knows_labels else None
    candidate = Candidate(
        trace=make_trace(case, history, action_id=action_id),
        change=case.change,
        history=history if labels is None else replace(history, labels=labels),
        find_owners=lambda: {} if owner is None else {(REPLICAS.container, REPLICAS.name): owner},
    )
    decision = decide(candidate, policy)
    return Judgement(
        key=case.key,
        at=candidate.now,
        trace=candidate.trace,
        labels=labels,
        changes_capacity=any(
            part.field.part in (Part.REPLICAS, Part.RESOURCES) for part in case.change.fields
        ),
        decision=decision,
        penalty=_find_penalty(candidate, decision, policy),
    )


def _find_penalty(candidate: Candidate, decision: Decision, policy: Policy) -> Penalty | None:
    """Return the penalty that decided, else the one nearest its threshold."""
    for objection in decision.objections:
        found = None if objection.finding is None else objection.finding.evidence.get("penalty")
        if isinstance(found, int | float):
            return _weigh(objection.pattern, float(found))
    penalties = [
        _weigh(pattern, _fold(candidate, pattern, field))
        for pattern in policy.patterns
        if pattern.scope.covers(candidate.history.key, candidate.history.labels)
        for field in _folded_by(pattern, candidate)
        if candidate.trace.after(field) is not None
    ]
    return max(penalties, key=lambda penalty: penalty.value / penalty.threshold, default=None)


def _weigh(pattern: Pattern, value: float) -> Penalty:
    damping = Damping(pattern.min_occurrences, pattern.window)
    return Penalty(pattern.name, value, damping.threshold, damping.half_life, pattern.window)


def _folded_by(pattern: Pattern, candidate: Candidate) -> list[Field]:
    if pattern.type is PatternType.SCALE_OSCILLATION:
        return [REPLICAS] if candidate.change.find(REPLICAS) is not None else []
    if pattern.type is not PatternType.RESOURCE_THRASHING:
        return []
    return [
        part.field
        for part in candidate.change.fields
        if part.field.part is Part.RESOURCES and _unit_of(part.after or part.before) is not None
    ]


def _fold(candidate: Candidate, pattern: Pattern, field: Field) -> float:
    """Return a field's penalty with the candidate counted."""
    trace = candidate.trace
    moves = find_moves(candidate.history.traces, field, candidate=trace).counted
    move = move_of(trace, before=trace.before(field), after=trace.after(field) or 0)
    thresholds = pattern.thresholds
    absolute = thresholds.dead_absolute
    if field != REPLICAS:
        part = candidate.change.find(field)
        is_cpu = part is not None and _unit_of(part.after or part.before) is Unit.MILLICORES
        absolute = thresholds.dead_absolute_cpu if is_cpu else thresholds.dead_absolute_memory
    damping = Damping(pattern.min_occurrences, pattern.window)
    fold = Fold(damping, Deadband(absolute, thresholds.dead_relative))
    return fold.take([*moves, move]).penalty_at(candidate.now)


def _unit_of(value: Value | None) -> Unit | None:
    compared = None if value is None else value.compared
    return compared.unit if isinstance(compared, Amount) else None
