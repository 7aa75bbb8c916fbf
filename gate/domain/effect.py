"""Whether an admitted change was persisted, told from the states its workload was seen in.

Silence tells nothing. A change was not persisted where the object is known to have gone on without
it, or is read again, still the same, when the API server can no longer be retrying the request.
"""

from collections.abc import Iterable

from gate.domain.change import Operation
from gate.domain.corroboration import Effect
from gate.domain.observation import Observation, ordinal
from gate.domain.outcome import Awaited
from gate.domain.trace import State
from gate.domain.undoing import flatten, is_equal


def find_base(change: Awaited, seen: Observation, previous: Observation | None) -> int | None:
    """Return the generation that a change started from, as far as two states in a row tell.

    A Scale carries its resourceVersion alone: that of a state, or one between two states that
    followed each other or are of one generation.
    """
    wanted, found = ordinal(change.resource_version), ordinal(seen.resource_version)
    if change.base is not None or change.operation is not Operation.UPDATE:
        return change.base
    if wanted is None or found is None or seen.uid != change.uid:
        return None
    if found == wanted:
        return seen.generation
    earlier = None if previous is None else ordinal(previous.resource_version)
    if previous is None or earlier is None or previous.uid != seen.uid:
        return None
    is_between = earlier <= wanted < found
    is_known = seen.is_next or previous.generation == seen.generation
    return previous.generation if is_between and is_known else None


def tell_effect(change: Awaited, seen: Observation) -> Effect:
    """Return what one state tells of a change, whenever it was seen."""
    is_same = seen.uid == change.uid
    match change.operation:
        case Operation.CREATE:
            return Effect.TOOK if is_same else Effect.UNKNOWN
        case Operation.DELETE:
            is_past = _is_later(seen, change) and not is_same
            is_deleted = is_same and (seen.is_leaving or seen.is_gone)
            return Effect.TOOK if is_past or is_deleted else Effect.UNKNOWN
        case Operation.UPDATE:
            return _tell_update(change, seen) if is_same else Effect.UNKNOWN


def tell_by_next(change: Awaited, others: Iterable[Awaited]) -> Effect:
    """Return what the review of the very next change of the object tells of a change.

    So a change is told of that nobody watched, and that another one followed. Of those from one
    state the last that fits was persisted.
    """
    if change.operation is not Operation.UPDATE or change.base is None:
        return Effect.UNKNOWN
    if change.may_keep_generation:
        return Effect.UNKNOWN
    same = [other for other in others if other.uid == change.uid]
    next_base = change.base + 1
    found = (other.before for other in same if other.base == next_base)
    state = next((before for before in found if before is not None and _is_whole(before)), None)
    if state is None:
        return Effect.UNKNOWN
    is_later_one = any(
        other.base == change.base and other.version > change.version and shows(other, state)
        for other in same
    )
    return Effect.TOOK if shows(change, state) and not is_later_one else Effect.DID_NOT


def tell_late(change: Awaited, seen: Observation | None, *, is_continuous: bool) -> Effect:
    """Return what a state tells that was read when no retry of the request can be under way.

    None is no object of that name. `is_continuous` where nothing was missed of the workload since
    before the request.
    """
    if seen is not None:
        effect = tell_effect(change, seen)
        if effect is not Effect.UNKNOWN:
            return effect
    match change.operation:
        case Operation.CREATE:
            return Effect.DID_NOT if is_continuous else Effect.UNKNOWN
        case Operation.DELETE:
            is_there = seen is not None and seen.uid == change.uid
            return Effect.DID_NOT if is_there else Effect.TOOK
        case Operation.UPDATE:
            is_as_before = seen is not None and _is_untouched(change, seen)
            return Effect.DID_NOT if is_as_before else Effect.UNKNOWN


def is_taken(change: Awaited, seen: Observation, others: Iterable[Awaited]) -> bool:
    """Tell whether another change made this state: of those from one state one was persisted.

    That is the one known to have, else the last of them.
    """
    if change.operation is not Operation.UPDATE or change.may_keep_generation:
        return False
    return any(
        other.uid == change.uid
        and (
            other.outcome.generation == seen.generation
            or (
                other.is_pending
                and other.version > change.version
                and other.base is not None
                and other.base == change.base
                and tell_effect(other, seen) is Effect.TOOK
            )
        )
        for other in others
    )


def shows(change: Awaited, state: State) -> bool:
    """Tell whether a state holds what a change was to leave."""
    wanted, found = flatten(change.after), flatten(state)
    return all(is_equal(item, wanted.get(item), found.get(item)) for item in change.items)


def _tell_update(change: Awaited, seen: Observation) -> Effect:
    is_there = Effect.TOOK if shows(change, seen.state) else Effect.UNKNOWN
    if change.may_keep_generation or change.base is None:
        return is_there if _is_later(seen, change) else Effect.UNKNOWN
    if seen.generation <= change.base:
        return Effect.UNKNOWN
    is_the_next = seen.generation == change.base + 1
    return Effect.DID_NOT if is_the_next and is_there is Effect.UNKNOWN else is_there


def _is_whole(state: State) -> bool:
    """Tell whether a state is that of an object; a Scale shows replicas alone."""
    return "digest" in state


def _is_later(seen: Observation, change: Awaited) -> bool:
    found, wanted = ordinal(seen.resource_version), ordinal(change.resource_version)
    return found is not None and wanted is not None and found > wanted


def _is_untouched(change: Awaited, seen: Observation) -> bool:
    """Tell whether the object is provably the one that the change started from."""
    if seen.uid != change.uid:
        return False
    if seen.resource_version == change.resource_version:
        return True
    if change.base is None or seen.generation != change.base:
        return False
    metadata = (change.before or {}).get("metadata")
    return not change.may_keep_generation or seen.state.get("metadata") == metadata
