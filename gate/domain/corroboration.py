"""Which recorded changes took effect, told from what later reviews saw of the object.

An admitted change may still be rejected after gate (a quota, another webhook, a conflict). Until
its outcome is observed, each later review's old object is the evidence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from gate.domain.snapshot import Field
from gate.domain.trace import ExecutionStatus, Sighting, Trace, Verdict

SETTLING = timedelta(seconds=40)  # the API server retries one request for at most 34 s


class Effect(Enum):
    """What is known of a recorded change."""

    TOOK = auto()
    DID_NOT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Move:
    """A change of one numeric field that took effect, or that would, and what its review saw."""

    at: datetime
    before: int | None
    after: int
    version: int = 0
    actor: str = ""
    action_id: str | None = None
    seen: Sighting | None = None


@dataclass(frozen=True, slots=True)
class Moves:
    """The moves of one field that count, in order, and how many of them are unconfirmed."""

    counted: tuple[Move, ...]
    unconfirmed: int


def find_moves(traces: Sequence[Trace], field: Field, *, candidate: Trace) -> Moves:
    """Return the changes of a field that count: all but those known not to have taken effect.

    The candidate is the change under judgement; it is not among the moves, but what its review saw
    is evidence.
    """
    moves = []
    unconfirmed = 0
    for trace, effect in judge_effects(traces, field, candidate=candidate):
        after = trace.after(field)
        if effect is Effect.DID_NOT or after is None:
            continue
        unconfirmed += effect is Effect.UNKNOWN
        moves.append(move_of(trace, before=trace.before(field), after=after))
    return Moves(tuple(moves), unconfirmed)


def move_of(trace: Trace, *, before: int | None, after: int) -> Move:
    """Return the move that a trace makes of one field."""
    return Move(
        at=trace.seen.at,
        before=before,
        after=after,
        version=trace.version,
        actor=trace.actor,
        action_id=trace.action_id,
        seen=trace.seen,
    )


def is_untouched(earlier: Sighting, later: Sighting) -> bool:
    """Tell whether the object's spec provably did not change between two sightings.

    A generation that has not moved says the same as the resourceVersion, and status updates do not
    hide it.
    """
    return _same(later.resource_version, earlier.resource_version) or (
        _same(later.uid, earlier.uid) and _same(later.generation, earlier.generation)
    )


def judge_effects(
    traces: Sequence[Trace], field: Field, *, candidate: Trace
) -> list[tuple[Trace, Effect]]:
    """Return what is known of every admitted change of a field, in order of version.

    Of the changes that started from one resourceVersion at most one took effect.
    """
    judged = [
        (trace, _judge(trace, field, (*traces[index + 1 :], candidate)))
        for index, trace in enumerate(traces)
        if trace.verdict is Verdict.ALLOW and trace.changes(field)
    ]
    winners = {
        trace.seen.resource_version: trace
        for trace, effect in judged
        if effect is Effect.TOOK and trace.seen.resource_version is not None
    }
    return [
        (trace, Effect.DID_NOT)
        if effect is Effect.UNKNOWN and trace.seen.resource_version in winners
        else (trace, effect)
        for trace, effect in judged
    ]


def _judge(trace: Trace, field: Field, later: Sequence[Trace]) -> Effect:
    match trace.status:
        case ExecutionStatus.COMPLETED | ExecutionStatus.ROLLED_BACK:
            return Effect.TOOK
        case ExecutionStatus.FAILED | ExecutionStatus.BLOCKED:
            return Effect.DID_NOT
        case ExecutionStatus.PENDING | ExecutionStatus.EXECUTING:
            pass
    if any(other.seen.holds(field) == trace.after(field) for other in later):
        return Effect.TOOK
    if _is_superseded(trace, later) or any(_refutes(other.seen, trace) for other in later):
        return Effect.DID_NOT
    return Effect.UNKNOWN


def _refutes(sighting: Sighting, trace: Trace) -> bool:
    """Tell whether the object was still the one the change started from, long enough after it.

    Sooner, the sighting may come from a stale cache.
    """
    return sighting.at - trace.seen.at >= SETTLING and is_untouched(trace.seen, sighting)


def _same(left: object, right: object) -> bool:
    return left is not None and left == right


def _is_superseded(trace: Trace, later: Iterable[Trace]) -> bool:
    """Tell whether the same request came again on top of other old values, admitted then or not."""
    return any(
        other.actor == trace.actor
        and other.seen.operation is trace.seen.operation
        and other.subresource == trace.subresource
        and other.fingerprint == trace.fingerprint
        and other.request_fingerprint != trace.request_fingerprint
        and other.seen.at - trace.seen.at < SETTLING
        for other in later
    )
