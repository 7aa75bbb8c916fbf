"""Which recorded changes took effect, told from what later reviews saw of the object.

An admitted change may still be rejected after gate (a quota, another webhook, a conflict). Until
its outcome is observed, each later review's old object is the evidence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import NamedTuple

from gate.domain.change import Operation
from gate.domain.move import Move
from gate.domain.observation import ordinal
from gate.domain.snapshot import RESTARTED_AT, Field
from gate.domain.trace import (
    Sighting,
    State,
    StatePath,
    Trace,
    Verdict,
    number_in,
    values_at,
    was_persisted,
)

Aspect = Field | None  # one field, or a change as a whole

SETTLING = timedelta(seconds=40)  # the API server retries one request for at most 34 s
RACING = timedelta(seconds=2)  # requests this close together may have been sent at once
_NOWHERE = object()  # what no state holds


class Effect(Enum):
    """What is known of a recorded change."""

    TOOK = auto()
    DID_NOT = auto()
    UNKNOWN = auto()


# To look a member up in its class takes longer than all else that is done with it.
_TOOK, _DID_NOT, _UNKNOWN = Effect


@dataclass(frozen=True, slots=True)
class Moves:
    """The moves of one field, in order, and how many of them are unconfirmed.

    `counted` leaves out those that a person approved: they move the value and count no more than
    their own.
    """

    series: tuple[Move, ...]
    unconfirmed: int

    @property
    def counted(self) -> tuple[Move, ...]:
        """Return the moves that agents answer for."""
        return tuple(move for move in self.series if not move.is_approved)


def find_moves(traces: Sequence[Trace], field: Field, *, candidate: Trace) -> Moves:
    """Return the changes of a field: all but those known not to have taken effect.

    The candidate is the change under judgement; it is not among the moves, but what its review saw
    is evidence.
    """
    moves = []
    unconfirmed = 0
    for trace, effect in judge_effects(traces, field, candidate=candidate):
        after = trace.after(field)
        if effect is _DID_NOT or after is None:
            continue
        unconfirmed += effect is _UNKNOWN
        moves.append(move_of(trace, before=trace.before(field), after=after, effect=effect))
    return Moves(tuple(moves), unconfirmed)


def move_of(trace: Trace, *, before: int | None, after: int, effect: Effect = _UNKNOWN) -> Move:
    """Return the move that a trace makes of one field."""
    seen = trace.seen
    return Move(
        seen.at,
        before,
        after,
        trace.version,
        trace.actor,
        trace.action_id,
        seen,
        effect is _TOOK,
        trace.approval is not None,
        trace.undone_by,
    )


def is_stale(sighting: Sighting, earlier: Iterable[Sighting]) -> bool:
    """Tell whether a review saw an older state than one before it: its change cannot persist.

    The API server then asks again with the current state. Resource versions are compared where both
    are numbers, which those of etcd are. A cache is seconds behind: an object that is older than
    what was seen long before comes from a restored cluster, and is judged.
    """
    return any(
        _is_newer(other, sighting) and abs(sighting.at - other.at) < SETTLING for other in earlier
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
    traces: Sequence[Trace], aspect: Aspect, *, candidate: Trace
) -> list[tuple[Trace, Effect]]:
    """Return what is known of every admitted change of a field, in order of version.

    Without a field, of every admitted change as a whole. Of the changes that started from one state
    of the object at most one took effect: the one that later reviews saw, else the last of them may
    have.
    """
    chain = (*traces, candidate)
    judged: list[tuple[Trace, Effect]] = []
    has_unknown = False
    for index, (trace, next_state) in enumerate(
        zip(traces, _find_next_states(chain), strict=False)
    ):
        if trace.verdict is Verdict.DENY or not (aspect is None or trace.changes(aspect)):
            continue
        effect = _judge_by(next_state, trace, aspect) or _infer(trace, aspect, chain[index + 1 :])
        has_unknown |= effect is _UNKNOWN
        judged.append((trace, effect))
    if not has_unknown:
        return judged
    possible: dict[object, Trace] = {}
    for wanted in (_UNKNOWN, _TOOK):
        possible |= {_start_of(trace): trace for trace, effect in judged if effect is wanted}
    return [
        (trace, _DID_NOT)
        if effect is _UNKNOWN and possible[_start_of(trace)] is not trace
        else (trace, effect)
        for trace, effect in judged
    ]


def judge_effect(traces: Sequence[Trace], action_id: str, *, candidate: Trace) -> Effect:
    """Return what is known of one change as a whole; nothing where it is not on record."""
    judged = judge_effects(traces, None, candidate=candidate)
    found = (effect for trace, effect in judged if trace.action_id == action_id)
    return next(found, _UNKNOWN)


class _Claim(NamedTuple):
    """What an object holds from a change on: in one field, or wherever the change touched it."""

    trace: Trace
    aspect: Aspect
    paths: tuple[StatePath, ...]
    left: object

    def find_in(self, state: State) -> object:
        """Return what a state holds there; None where it cannot tell."""
        if self.aspect is not None:
            return number_in(state, self.aspect)
        return values_at(state, self.paths)

    def is_met_by(self, state: State) -> bool:
        """Tell whether a state holds what the change was to leave."""
        return self.find_in(state) == self.left

    def is_made_by(self, other: Trace) -> bool:
        """Tell whether another change was to leave the same."""
        if self.aspect is not None:
            return other.changes(self.aspect) and other.after(self.aspect) == self.left
        return other.state_after is not None and self.is_met_by(other.state_after)


def _claim_of(trace: Trace, aspect: Aspect) -> _Claim:
    if aspect is not None:
        return _Claim(trace, aspect, (), trace.after(aspect))
    paths = trace.paths
    left = None if trace.state_after is None else values_at(trace.state_after, paths)
    return _Claim(trace, aspect, paths, _NOWHERE if left is None else left)


def _find_next_states(chain: Sequence[Trace]) -> list[State | None]:
    """Return what the very next change of the object's spec left after each, where that was seen.

    Told from the reviews that came later.
    """
    states: dict[tuple[str, int], State] = {}
    found: list[State | None] = []
    for trace in reversed(chain):
        seen = trace.seen
        if seen.generation is None or seen.uid is None:
            found.append(None)
            continue
        found.append(states.get((seen.uid, seen.generation + 1)))
        if seen.state is not None:
            states[seen.uid, seen.generation] = seen.state
    found.reverse()
    return found


def _judge_by(next_state: State | None, trace: Trace, aspect: Aspect) -> Effect | None:
    """Return what an outcome or the very next state tells of a change, which is mostly enough."""
    is_persisted = was_persisted(trace.status, trace.error)
    if is_persisted is not None:
        return _TOOK if is_persisted else _DID_NOT
    if next_state is None or trace.seen.operation is not Operation.UPDATE:
        return None
    # A Scale's state alone cannot tell of a change as a whole.
    is_all_as_left = len(next_state) > 1 and next_state == trace.state_after
    if is_all_as_left or _claim_of(trace, aspect).is_met_by(next_state):
        return _TOOK
    # Metadata is written without another generation.
    return None if trace.is_of_metadata else _DID_NOT


def _infer(trace: Trace, aspect: Aspect, later: Sequence[Trace]) -> Effect:
    """Return what all later reviews together tell of a change."""
    claim = _claim_of(trace, aspect)
    if _is_confirmed(claim, later):
        return _TOOK
    sightings = [other.seen for other in later if other.seen.state is not None]
    if (
        _is_superseded(trace, later)
        or any(_refutes(sighting, trace) for sighting in sightings)
        or _is_outrun(claim, sightings)
    ):
        return _DID_NOT
    return _UNKNOWN


def _is_confirmed(claim: _Claim, later: Iterable[Trace]) -> bool:
    """Tell whether the object was seen as the change was to leave it.

    What was seen after another change to the same speaks of that one. A creation is told by the uid
    of what it created, a deletion by another object in its place.
    """
    uid, operation = claim.trace.seen.uid, claim.trace.seen.operation
    for other in later:
        seen = other.seen
        if seen.state is not None:
            is_same_object = _same(seen.uid, uid)
            match operation:
                case Operation.CREATE:
                    is_seen = is_same_object
                case Operation.DELETE:
                    is_seen = seen.uid is not None and not is_same_object
                case Operation.UPDATE:
                    is_seen = claim.is_met_by(seen.state)
            if is_seen:
                return True
        if other.verdict is Verdict.ALLOW and claim.is_made_by(other):
            return False
    return False


def _refutes(sighting: Sighting, trace: Trace) -> bool:
    """Tell whether the object was still the one the change started from, long enough after it.

    Sooner, the sighting may come from a stale cache. A creation is refuted by another object.
    """
    if trace.seen.operation is Operation.CREATE:
        return sighting.uid is not None and not _same(sighting.uid, trace.seen.uid)
    if sighting.at - trace.seen.at < SETTLING:
        return False
    if trace.is_of_metadata:
        return _same(sighting.resource_version, trace.seen.resource_version)
    return is_untouched(trace.seen, sighting)


def _is_outrun(claim: _Claim, sightings: Iterable[Sighting]) -> bool:
    """Tell whether a racing request still found the old value, where no generation tells more.

    Had the change taken effect, the request that came after it would have met its value.
    """
    seen = claim.trace.seen
    if seen.generation is not None or seen.state is None:
        return False
    found = claim.find_in(seen.state)
    return any(
        timedelta(0) <= later.at - seen.at < RACING
        and later.state is not None
        and _same(claim.find_in(later.state), found)
        for later in sightings
    )


def _start_of(trace: Trace) -> object:
    """Return what tells the state of the object that a change started from.

    Metadata changes within one generation, any number of times.
    """
    if trace.seen.generation is not None and not trace.is_of_metadata:
        return trace.seen.uid, trace.seen.generation
    return trace.seen.resource_version or trace.action_id


def _is_newer(sighting: Sighting, than: Sighting) -> bool:
    if _same(sighting.uid, than.uid) and sighting.generation and than.generation:
        return sighting.generation > than.generation
    version, other = ordinal(sighting.resource_version), ordinal(than.resource_version)
    return version is not None and other is not None and version > other


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
        and _restarts_of(other) == _restarts_of(trace)
        and other.seen.at - trace.seen.at < SETTLING
        for other in later
    )


def _restarts_of(trace: Trace) -> list[object]:
    """Return the instants a change restarts at, which its fingerprint leaves out."""
    return [after for (_, name), (_, after) in trace.changed.items() if name in RESTARTED_AT]
