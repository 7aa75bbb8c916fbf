"""Follows admitted changes of one workload through the states it is seen in."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gate.domain.change import Operation
from gate.domain.corroboration import Effect
from gate.domain.effect import find_base, is_taken, shows, tell_by_next, tell_effect, tell_late
from gate.domain.observation import Observation, Rollout
from gate.domain.outcome import (
    OUT_OF_TIME,
    SLACK,
    STALLED,
    UNDONE_WITHIN,
    Awaited,
    Progress,
)
from gate.domain.trace import NOT_PERSISTED, ExecutionStatus
from gate.domain.undoing import find_undoing, flatten, is_equal
from gate.domain.words import describe_span

_SECOND = timedelta(seconds=1)  # what the times of conditions are rounded down to


def follow(
    changes: Sequence[Awaited], seen: Observation, *, previous: Observation | None
) -> tuple[Awaited, ...]:
    """Return changes of one workload, in order of version, with what one more state tells.

    `previous` is the state seen before it. Taking in a state again changes nothing.
    """
    placed = [replace(change, base=find_base(change, seen, previous)) for change in changes]
    judged: list[Awaited] = []
    for index, change in enumerate(placed):
        effect = tell_effect(change, seen) if change.is_pending else Effect.UNKNOWN
        if effect is Effect.TOOK and is_taken(change, seen, (*judged, *placed[index + 1 :])):
            effect = Effect.DID_NOT
        followed = _conclude(change, effect, seen)
        judged.append(_conclude(followed, tell_by_next(followed, placed), None))
    rolled = [_follow_rollout(change, seen) for change in judged]
    return tuple(
        _note_undoing(change, seen, later=rolled[index + 1 :])
        for index, change in enumerate(rolled)
    )


def follow_late(
    change: Awaited, seen: Observation | None, *, now: datetime, is_continuous: bool
) -> Awaited:
    """Return an overdue change with what the object tells that was read just now.

    None is no object of that name; `is_continuous` as in `tell_late`.
    """
    if change.is_pending:
        effect = tell_late(change, seen, is_continuous=is_continuous)
        change = _conclude(change, effect, seen)
    if seen is None:
        return _complete(change, None) if change.is_executing else change
    followed = _follow_rollout(change, seen)
    return _stall(followed, seen, now=now)


def _conclude(change: Awaited, effect: Effect, seen: Observation | None) -> Awaited:
    """Note whether a pending change was persisted; when, where it was seen to happen."""
    if not change.is_pending or effect is Effect.UNKNOWN:
        return change
    if effect is Effect.DID_NOT:
        return _fail(change, seen, f"{NOT_PERSISTED}: {_describe_absence(change, seen)}")
    generation = None if seen is None else seen.generation
    if change.base is not None and not change.may_keep_generation:
        generation = change.base + 1
    outcome = replace(
        change.outcome,
        status=ExecutionStatus.EXECUTING,
        generation=None if change.operation is Operation.DELETE else generation,
        # What was not seen to happen happened within seconds of its admission.
        started_at=seen.at if seen is not None and seen.is_next else change.at,
        state=None if seen is None else seen.state,
    )
    return replace(change, outcome=outcome)


def _follow_rollout(change: Awaited, seen: Observation) -> Awaited:
    """Note how far a persisted change has come: its rollout, or what ended it before."""
    if not change.is_executing:
        return change
    is_over = seen.is_gone or seen.uid != change.uid
    if change.operation is Operation.DELETE:
        return _complete(change, seen.at if seen.is_next else None) if is_over else change
    generation = change.outcome.generation or 0
    is_replaced = seen.generation > generation and not shows(change, seen.state)
    if is_over or is_replaced:
        return _complete(change, None)
    return change if seen.generation < generation else _judge_rollout(change, seen)


def _judge_rollout(change: Awaited, seen: Observation) -> Awaited:
    if seen.rollout.is_complete(seen.generation):
        return _complete(change, _end_of(change, seen), seen)
    if _is_stuck(change, seen.rollout):
        return _fail(change, seen, f"{OUT_OF_TIME}: {_describe_pods(seen.rollout)}")
    return _note_progress(change, seen)


def _note_progress(change: Awaited, seen: Observation) -> Awaited:
    rollout, last = seen.rollout, change.progress
    has_grown = last is None or (
        rollout.updated > last.updated or rollout.available > last.available
    )
    at = seen.at if last is None or has_grown else last.at
    progress = Progress(
        updated=rollout.updated,
        available=rollout.available,
        at=at if last is None else max(at, last.at),
        deadline=rollout.deadline,
    )
    return replace(change, progress=progress)


def _stall(change: Awaited, seen: Observation, *, now: datetime) -> Awaited:
    """Fail a rollout that has gone without progress for longer than the object allows."""
    progress = change.progress
    if not change.is_executing or progress is None or change.operation is Operation.DELETE:
        return change
    if now - progress.at < progress.deadline + SLACK:
        return change
    pods = _describe_pods(seen.rollout)
    return _fail(change, seen, f"{STALLED}: {pods}, for {describe_span(now - progress.at)}")


def _note_undoing(change: Awaited, seen: Observation, *, later: Sequence[Awaited]) -> Awaited:
    """Note that a completed change was undone: by a later change on record, or by somebody else."""
    is_done = change.outcome.status is ExecutionStatus.COMPLETED
    if not is_done or change.is_settled or not _is_after(change, seen):
        return change
    undoing = find_undoing(change.before, change.after, seen)
    if undoing is None or seen.at - change.at > UNDONE_WITHIN:
        return change
    found = flatten(None if seen.is_gone else seen.state)
    for other in later:
        values = flatten(other.after)
        is_theirs = all(is_equal(i, values.get(i), found.get(i)) for i in undoing.items)
        if is_theirs and other.outcome.status is not ExecutionStatus.FAILED:
            undoing = replace(undoing, by=other.actor, action_id=other.action_id)
    status = ExecutionStatus.ROLLED_BACK if undoing.is_whole else change.outcome.status
    return replace(change, outcome=replace(change.outcome, status=status, undoing=undoing))


def _is_after(change: Awaited, seen: Observation) -> bool:
    """Tell whether a state came after the change, of the object that it was made on or instead."""
    is_same = seen.uid == change.uid
    match change.operation:
        case Operation.CREATE:
            is_later = seen.generation > (change.outcome.generation or 0)
            return is_same and (seen.is_gone or is_later)
        case Operation.DELETE:
            return not is_same and not seen.is_gone
        case Operation.UPDATE:
            is_later = seen.generation > (change.outcome.generation or 0)
            return is_same and not seen.is_gone and is_later


def _complete(change: Awaited, at: datetime | None, seen: Observation | None = None) -> Awaited:
    outcome = replace(
        change.outcome,
        status=ExecutionStatus.COMPLETED,
        ended_at=at,
        state=change.outcome.state if seen is None else seen.state,
    )
    return replace(change, outcome=outcome)


def _fail(change: Awaited, seen: Observation | None, error: str) -> Awaited:
    is_live = seen is not None and seen.is_next and change.outcome.started_at is not None
    outcome = replace(
        change.outcome,
        status=ExecutionStatus.FAILED,
        error=error,
        ended_at=seen.at if seen is not None and is_live else None,
        state=None if seen is None else seen.state,
    )
    return replace(change, outcome=outcome)


def _end_of(change: Awaited, seen: Observation) -> datetime | None:
    """Return when a rollout ended: as it was seen, else as the object's own condition says."""
    if seen.is_next:
        return seen.at
    told, started_at = seen.rollout.finished_at, change.outcome.started_at
    is_of_this = told is not None and started_at is not None and told >= started_at
    return told if is_of_this else None


def _is_stuck(change: Awaited, rollout: Rollout) -> bool:
    """Tell whether the Deployment gave up on this rollout, not on one before it."""
    since, started_at = rollout.stuck_since, change.outcome.started_at
    if since is None or started_at is None:
        return False
    is_seen = rollout.observed_generation >= (change.outcome.generation or 0)
    return is_seen and since >= started_at - _SECOND


def _describe_absence(change: Awaited, seen: Observation | None) -> str:
    if seen is None:
        return "no such object was there after the request could have been retried"
    if seen.uid != change.uid:
        return "another object has that name"
    if change.base is not None and seen.generation > change.base:
        return f"generation {seen.generation} of the object shows other values"
    return (
        f"the object was as before, at generation {seen.generation}, "
        "when the request could not be retried any more"
    )


def _describe_pods(rollout: Rollout) -> str:
    """Return how far a rollout came; of available pods nobody tells how many are updated ones."""
    old_ones = ", pods of before included" if rollout.total > rollout.updated else ""
    return (
        f"{rollout.updated} of {rollout.wanted} replicas updated; "
        f"{rollout.available} of {rollout.total} pods available{old_ones}"
    )
