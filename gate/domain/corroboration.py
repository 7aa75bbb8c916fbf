"""Which recorded changes took effect, told from what later reviews saw of the object.

An admitted change may still be rejected after gate (a quota, another webhook, a conflict). Until
its outcome is observed, each later review's old object is the evidence.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum, auto

from gate.domain.change import Operation
from gate.domain.move import Move
from gate.domain.snapshot import Field
from gate.domain.trace import ExecutionStatus, Sighting, Trace, Verdict

SETTLING = timedelta(seconds=40)  # the API server retries one request for at most 34 s
RACING = timedelta(seconds=2)  # requests this close together may have been sent at once


class Effect(Enum):
    """What is known of a recorded change."""

    TOOK = auto()
    DID_NOT = auto()
    UNKNOWN = auto()


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
        move = move_of(trace, before=trace.before(field), after=after)
        moves.append(replace(move, is_confirmed=effect is Effect.TOOK))
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


def is_stale(sighting: Sighting, earlier: Iterable[Sighting]) -> bool:
    """Tell whether a review saw an older state than one before it: its change cannot persist.

    The API server then asks again with the current state. Resource versions are compared where both
    are numbers, which those of etcd are. A cache is seconds behind: an object that is older than
    what was seen long before comes from a restored cluster, and is judged.
    """
    return any(
        abs(sighting.at - other.at) < SETTLING and _is_newer(other, sighting) for other in earlier
    )


def was_touched_twice(earlier: Sighting, later: Sighting) -> bool:
    """Tell whether the spec provably changed twice between two sightings: made and undone."""
    if not _same(earlier.uid, later.uid):
        return False
    if earlier.generation is None or later.generation is None:
        return False
    return later.generation >= earlier.generation + 2


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

    Of the changes that started from one state of the object at most one took effect: the one that
    later reviews saw, else the last of them may have.
    """
    judged = [
        (trace, _judge(trace, field, (*traces[index + 1 :], candidate)))
        for index, trace in enumerate(traces)
        if trace.verdict is Verdict.ALLOW and trace.changes(field)
    ]
    possible: dict[object, Trace] = {}
    for wanted in (Effect.UNKNOWN, Effect.TOOK):
        possible |= {_start_of(trace): trace for trace, effect in judged if effect is wanted}
    return [
        (trace, Effect.DID_NOT)
        if effect is Effect.UNKNOWN and possible[_start_of(trace)] is not trace
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
    sightings = [other.seen for other in later if other.seen.state is not None]
    next_state = next((seen for seen in sightings if _is_next(seen, trace.seen)), None)
    if next_state is not None and trace.seen.operation is Operation.UPDATE:
        is_there = next_state.holds(field) == trace.after(field)
        return Effect.TOOK if is_there else Effect.DID_NOT
    if any(_confirms(seen, trace, field) for seen in _until_asked_again(trace, later, field)):
        return Effect.TOOK
    if (
        _is_superseded(trace, later)
        or any(_refutes(sighting, trace) for sighting in sightings)
        or any(_outruns(sighting, trace, field) for sighting in sightings)
    ):
        return Effect.DID_NOT
    return Effect.UNKNOWN


def _is_next(sighting: Sighting, earlier: Sighting) -> bool:
    """Tell whether a sighting shows what the very next change of the object's spec left."""
    if earlier.generation is None or sighting.generation is None:
        return False
    return _same(sighting.uid, earlier.uid) and sighting.generation == earlier.generation + 1


def _until_asked_again(trace: Trace, later: Sequence[Trace], field: Field) -> Iterator[Sighting]:
    """Return the sightings that speak of this change, not of a later one to the same value."""
    for other in later:
        if other.seen.state is not None:
            yield other.seen
        is_admitted = other.verdict is Verdict.ALLOW and other.changes(field)
        if is_admitted and other.after(field) == trace.after(field):
            return


def _confirms(sighting: Sighting, trace: Trace, field: Field) -> bool:
    """Tell whether the object was seen as the change was to leave it.

    A creation is told by the uid of what it created, a deletion by another object in its place.
    """
    is_same_object = _same(sighting.uid, trace.seen.uid)
    match trace.seen.operation:
        case Operation.CREATE:
            return is_same_object
        case Operation.DELETE:
            return sighting.uid is not None and not is_same_object
        case Operation.UPDATE:
            return sighting.holds(field) == trace.after(field)


def _refutes(sighting: Sighting, trace: Trace) -> bool:
    """Tell whether the object was still the one the change started from, long enough after it.

    Sooner, the sighting may come from a stale cache. A creation is refuted by another object.
    """
    if trace.seen.operation is Operation.CREATE:
        return sighting.uid is not None and not _same(sighting.uid, trace.seen.uid)
    return sighting.at - trace.seen.at >= SETTLING and is_untouched(trace.seen, sighting)


def _outruns(sighting: Sighting, trace: Trace, field: Field) -> bool:
    """Tell whether a racing request still found the old value, where no generation tells more.

    Had the change taken effect, the request that came after it would have met its value.
    """
    return (
        trace.seen.generation is None
        and timedelta(0) <= sighting.at - trace.seen.at < RACING
        and _same(sighting.holds(field), trace.before(field))
    )


def _start_of(trace: Trace) -> object:
    """Return what tells the state of the object that a change started from."""
    if trace.seen.generation is not None:
        return trace.seen.uid, trace.seen.generation
    return trace.seen.resource_version or trace.action_id


def _is_newer(sighting: Sighting, than: Sighting) -> bool:
    if _same(sighting.uid, than.uid) and sighting.generation and than.generation:
        return sighting.generation > than.generation
    version, other = _ordinal(sighting), _ordinal(than)
    return version is not None and other is not None and version > other


def _ordinal(sighting: Sighting) -> int | None:
    version = sighting.resource_version
    return int(version) if version is not None and version.isdecimal() else None


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
