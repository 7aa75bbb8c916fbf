"""What prevents a pattern beside refusing: asking a person, and honouring the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gate.domain.corroboration import Effect, judge_effect
from gate.domain.detection import Candidate
from gate.domain.escalation import (
    OPEN_AT_MOST,
    Escalation,
    EscalationState,
    NewEscalation,
    digest_exact,
)
from gate.domain.pattern import Pattern, Strategy
from gate.domain.trace import OpenDetection
from gate.domain.window import next_second


@dataclass(frozen=True, slots=True)
class Asking:
    """An escalation to be opened, or one that is open already, if only for other changes."""

    asks: NewEscalation | None = None
    asked: Escalation | None = None
    is_flooded: bool = False


def choose_strategy(
    candidate: Candidate, pattern: Pattern, bound_by: Sequence[OpenDetection]
) -> Strategy:
    """Return the strategy of a refusal: the strictest it is bound by, else the pattern's.

    The `escalate_after`-th cooling in a row asks a person instead; a row is kept as long as each
    tripped within the pattern's window of the end of the one before.
    """
    if bound_by:
        return min((detection.strategy for detection in bound_by), key=list(Strategy).index)
    if pattern.strategy is not Strategy.COOLING_PERIOD or pattern.escalate_after is None:
        return pattern.strategy
    in_a_row = 1
    began = candidate.now
    for cooling in sorted(candidate.history.coolings, key=lambda c: c.until, reverse=True):
        if cooling.pattern_id != pattern.id:
            continue
        if began - cooling.until > pattern.window:
            break
        in_a_row += 1
        began = cooling.detected_at
    is_due = in_a_row >= pattern.escalate_after
    return Strategy.ESCALATE_HUMAN if is_due else Strategy.COOLING_PERIOD


def find_approval(candidate: Candidate, policy_version: str) -> Escalation | None:
    """Return an approval of exactly this change that has not let one through yet.

    One that did is free again only where its change is known not to have taken effect.
    """
    digest = _digest(candidate, policy_version)
    return next(
        (
            escalation
            for escalation in candidate.history.escalations
            if escalation.state is EscalationState.APPROVED
            and escalation.digest == digest
            and escalation.expires_at > candidate.now
            and _is_free(escalation, candidate)
        ),
        None,
    )


def ask_person(
    candidate: Candidate,
    pattern: Pattern,
    *,
    summary: str,
    policy_version: str,
    name_escalation: Callable[[], str],
) -> Asking:
    """Return how a person is asked about a refused change: once for one change.

    Where a workload has many open questions, the newest of them stands for all.
    """
    digest = _digest(candidate, policy_version)
    still_open = [
        escalation
        for escalation in candidate.history.escalations
        if escalation.state is EscalationState.OPEN and escalation.expires_at > candidate.now
    ]
    same = next((escalation for escalation in still_open if escalation.digest == digest), None)
    if same is not None:
        return Asking(asked=same)
    if len(still_open) >= OPEN_AT_MOST:
        newest = max(still_open, key=lambda escalation: escalation.id)
        return Asking(asked=newest, is_flooded=True)
    new = NewEscalation(
        id=name_escalation(),
        pattern_id=pattern.id,
        digest=digest,
        actor=candidate.trace.actor,
        change={
            "action_type": candidate.trace.action_type,
            "fields": [part.as_json() for part in candidate.change.fields],
        },
        summary=summary,
        requested_at=candidate.now,
        expires_at=next_second(candidate.now + pattern.escalation_lasts),
    )
    return Asking(asks=new)


def _digest(candidate: Candidate, policy_version: str) -> str:
    return digest_exact(
        candidate.change,
        candidate.history.key,
        actor=candidate.trace.actor,
        policy_version=policy_version,
    )


def _is_free(escalation: Escalation, candidate: Candidate) -> bool:
    if escalation.reserved_by is None:
        return True
    effect = judge_effect(
        candidate.history.traces, escalation.reserved_by, candidate=candidate.trace
    )
    return effect is Effect.DID_NOT
