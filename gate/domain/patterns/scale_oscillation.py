"""Replicas that go up and down: reversals by agents, and agents undone by somebody else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from gate.domain.corroboration import (
    RACING,
    SETTLING,
    find_moves,
    is_stale,
    is_untouched,
    move_of,
    was_touched_twice,
)
from gate.domain.detection import (
    Binding,
    Candidate,
    EvidenceKind,
    Examination,
    Finding,
    Response,
    Severity,
)
from gate.domain.move import Move
from gate.domain.pattern import OnIncrease, Pattern
from gate.domain.penalty import Damping, Deadband, Fold, next_second
from gate.domain.snapshot import REPLICAS
from gate.domain.trace import OpenDetection
from gate.domain.words import describe_path, describe_span

UNCONFIRMED = "outcome-unconfirmed"
STALE = "stale-sighting"


@dataclass(frozen=True, slots=True)
class _Case:
    """The candidate's move with everything the rules weigh it against."""

    candidate: Candidate
    pattern: Pattern
    damping: Damping
    moves: tuple[Move, ...]
    fold: Fold
    move: Move


def examine(candidate: Candidate, pattern: Pattern) -> Examination:
    """Judge a change of replicas by the pattern's thresholds."""
    if candidate.change.find(REPLICAS) is None:
        return Examination(None)
    traces = candidate.history.traces
    if is_stale(candidate.trace.seen, (trace.seen for trace in traces)):
        return Examination(None, (STALE,))
    found = find_moves(traces, REPLICAS, candidate=candidate.trace)
    incomplete = (UNCONFIRMED,) if found.unconfirmed else ()
    case = _open_case(candidate, pattern, found.counted)
    if case is None:
        return Examination(None, incomplete)
    contest, reversal = _find_contest(case), _find_reversal(case)
    if contest and reversal and reversal.response is Response.REFUSE:
        contest = replace(contest, until=max(contest.until, reversal.until))
    return Examination(contest or reversal, incomplete)


def respond_to_open(
    candidate: Candidate, pattern: Pattern, detection: OpenDetection
) -> Binding | None:
    """Return what an open detection asks for; None where the change is none of its business.

    Every change of replicas is refused, but an increase out of reversals is only warned about, up
    to `increase_cap` times the most that was held within the window.
    """
    if candidate.change.find(REPLICAS) is None:
        return None
    found = find_moves(candidate.history.traces, REPLICAS, candidate=candidate.trace)
    case = _open_case(candidate, pattern, found.counted)
    if case is None or _direction(case.move) == 0:
        return None
    is_reversal = detection.evidence_kind == EvidenceKind.REVERSAL
    return Binding(
        detection=detection,
        response=Response.WARN if is_reversal and _is_warned(case) else Response.REFUSE,
        summary=(
            f"replicas {case.move.before} → {case.move.after} while an earlier detection binds"
            f" them: {detection.summary}"
        ),
        increase_up_to=_highest_increase(case) if is_reversal else None,
    )


def _open_case(candidate: Candidate, pattern: Pattern, moves: tuple[Move, ...]) -> _Case | None:
    overrides = candidate.history.overrides
    damping = Damping(
        overrides.min_occurrences or pattern.min_occurrences, overrides.window or pattern.window
    )
    deadband = Deadband(pattern.thresholds.dead_absolute, pattern.thresholds.dead_relative)
    fold = Fold(damping, deadband).take(moves)
    before = candidate.trace.before(REPLICAS)
    before = fold.value if before is None else before
    after = candidate.trace.after(REPLICAS)
    if before is None or after is None:
        return None
    move = move_of(candidate.trace, before=before, after=after)
    return _Case(candidate, pattern, damping, moves, fold, move)


def _find_reversal(case: _Case) -> Finding | None:
    after = case.fold.take([case.move])
    last = after.steps[-1] if after.steps else None
    if last is None or not last.is_reversal or not case.damping.trips(last.penalty):
        return None
    now, threshold = case.candidate.now, case.damping.threshold
    series = [step.move for step in after.steps]
    reversals = sum(step.is_reversal for step in after.steps)
    span = _span(series)
    warned = _is_warned(case)
    return Finding(
        pattern=case.pattern,
        evidence_kind=EvidenceKind.REVERSAL,
        response=Response.WARN if warned else Response.REFUSE,
        fields=(REPLICAS.name,),
        until=(after if warned else case.fold).admits_at(now),
        confidence=round(last.penalty / (last.penalty + threshold), 3),
        severity=Severity.CRITICAL if last.penalty >= 2 * threshold else Severity.WARNING,
        summary=(
            f"replicas went {_path_to(series)} in {describe_span(span)}, and "
            f"{case.move.before} → {case.move.after} is reversal {reversals}: "
            f"penalty {last.penalty:.2f}, threshold {threshold:.2f}"
        ),
        evidence={
            **_thresholds(case),
            "penalty_before": round(case.fold.penalty_at(now), 6),
            "penalty": round(last.penalty, 6),
            "series": [
                {
                    **_entry(step.move),
                    "penalty": round(step.penalty, 6),
                    "reversal": step.is_reversal,
                }
                for step in after.steps
            ],
        },
        action_ids=_ids(series[:-1]),
        span=span,
        increase_up_to=_highest_increase(case),
    )


def _find_contest(case: _Case) -> Finding | None:
    """Find agents' changes that somebody else keeps undoing, and that come again."""
    needed = case.damping.occurrences - 1
    direction = _direction(case.move)
    recent = [
        move
        for move, following in pairwise((*case.moves, case.move))
        if _is_undone(move, following, now=case.candidate.now)
        and not _is_explained(following, case.moves)
        and _direction(move) == direction
        and case.candidate.now - move.at <= case.damping.window
    ]
    if direction == 0 or len(recent) < needed:
        return None
    owner = case.candidate.owners.get(REPLICAS.name)
    who = f"field manager {owner}" if owner else "somebody else"
    span = _span([*recent, case.move])
    return Finding(
        pattern=case.pattern,
        evidence_kind=EvidenceKind.CONTESTED,
        response=Response.REFUSE,
        fields=(REPLICAS.name,),
        until=next_second(sorted(move.at for move in recent)[-needed] + case.damping.window),
        confidence=round(len(recent) / (len(recent) + needed), 3),
        severity=Severity.WARNING,
        summary=(
            f"agents' changes of replicas were undone {len(recent)} times in "
            f"{describe_span(span)}, and {case.move.before} → {case.move.after} goes the same way "
            f"again; {who} undoes this, change it there"
        ),
        evidence={
            **_thresholds(case),
            "undone": len(recent),
            "needed": needed,
            "owner": owner,
            "series": [_entry(move) for move in (*case.moves, case.move)],
        },
        action_ids=_ids(recent),
        span=span,
    )


def _is_undone(move: Move, following: Move, *, now: datetime) -> bool:
    """Tell whether the next value found is back by at least half, so somebody else moved it.

    A move that may only not be there yet is not undone: not while the object has not changed since,
    nor while its request may still be retried, unless its effect was seen.
    """
    if move.before is None or following.before is None:
        return False
    if move.seen is not None and following.seen is not None:
        if is_untouched(move.seen, following.seen) or is_stale(following.seen, [move.seen]):
            return False
        is_proven = move.is_confirmed or was_touched_twice(move.seen, following.seen)
        if not is_proven and now - move.at < SETTLING:
            return False
    return 2 * abs(move.after - following.before) >= abs(move.after - move.before) and (
        _sign(following.before - move.after) == -_direction(move)
    )


def _is_explained(found: Move, moves: Sequence[Move]) -> bool:
    """Tell whether a racing change of an agent, rather than somebody else, left what was found."""
    return any(move.after == found.before and abs(move.at - found.at) < RACING for move in moves)


def _is_warned(case: _Case) -> bool:
    """Tell whether a change is an increase that a reversal does not refuse."""
    highest = _highest_increase(case)
    return highest is not None and _direction(case.move) > 0 and case.move.after <= highest


def _highest_increase(case: _Case) -> int | None:
    """Return the most that an increase may reach; None where a reversal refuses every increase.

    That is `increase_cap` times the highest value held within the window before the last counted
    change, so that it stays the same for as long as nothing takes effect.
    """
    if case.pattern.thresholds.on_increase is OnIncrease.REFUSE:
        return None
    since = (case.fold.counted_at or case.candidate.now) - case.damping.window
    before = case.move.before or 0
    held = [before]
    for move in case.moves:
        if move.at >= since:
            held += [move.before or 0, move.after]
    highest = int(case.pattern.thresholds.increase_cap * max(held))
    return highest if highest > before else None


def _thresholds(case: _Case) -> dict[str, object]:
    return {
        "threshold": case.damping.threshold,
        "half_life_seconds": round(case.damping.half_life.total_seconds(), 3),
        "min_occurrences": case.damping.occurrences,
        "window_seconds": case.damping.window.total_seconds(),
        "dead_absolute": case.pattern.thresholds.dead_absolute,
        "dead_relative": case.pattern.thresholds.dead_relative,
        "on_increase": case.pattern.thresholds.on_increase,
        "increase_cap": case.pattern.thresholds.increase_cap,
    }


def _entry(move: Move) -> dict[str, object]:
    return {
        "version": move.version,
        "time": move.at.isoformat(),
        "before": move.before,
        "after": move.after,
        "actor": move.actor,
        "action_id": None if move.action_id is None else str(move.action_id),
    }


def _direction(move: Move) -> int:
    return _sign(move.after - (move.before or 0))


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _ids(moves: Sequence[Move]) -> tuple[str, ...]:
    return tuple(move.action_id for move in moves if move.action_id is not None)


def _path_to(series: Sequence[Move]) -> str:
    """Return the values that led to the last move, with what it found."""
    *earlier, last = series
    return describe_path(earlier, then=last.before)


def _span(moves: Sequence[Move]) -> timedelta:
    """Return the time from the first move to the last; a clock set back makes it 0."""
    return max(moves[-1].at - moves[0].at, timedelta(0))
