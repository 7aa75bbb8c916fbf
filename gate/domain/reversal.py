"""Reversals of one number: agents that move it up and down, and agents undone by somebody else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

from gate.domain.capacity import describe_number, field_text
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
    NOTHING,
    Binding,
    Candidate,
    EvidenceKind,
    Examination,
    Finding,
    Response,
    Severity,
)
from gate.domain.move import Move
from gate.domain.pattern import OnIncrease, Pattern, Thresholds
from gate.domain.penalty import Damping, Deadband, Fold, FoldedMove, make_damping
from gate.domain.snapshot import REPLICAS, Field
from gate.domain.trace import UNLIMITED, OpenDetection
from gate.domain.window import find_end
from gate.domain.words import describe_path, describe_span

UNCONFIRMED = "outcome-unconfirmed"
STALE = "stale-sighting"


@dataclass(frozen=True, slots=True)
class FieldCase:
    """The candidate's move of one field with everything the rules weigh it against."""

    candidate: Candidate
    pattern: Pattern
    field: Field
    damping: Damping
    moves: tuple[Move, ...]
    fold: Fold
    move: Move
    is_unconfirmed: bool

    @property
    def direction(self) -> int:
        """Return 1 where the candidate gives more, -1 where less, 0 where neither."""
        return _direction(self.move)

    @property
    def show(self) -> Callable[[int], str]:
        """Return how the field's values read."""
        return partial(describe_number, self.field)

    @property
    def words(self) -> str:
        """Return what the candidate does to the field."""
        return f"{self.show(self.move.before or 0)} → {self.show(self.move.after)}"


def examine_field(candidate: Candidate, pattern: Pattern, field: Field) -> Examination:
    """Judge the change of one field by the pattern's thresholds.

    Both rules may have something to say; the one that refuses whatever the direction comes first.
    """
    if candidate.is_stale:
        return Examination(incomplete=(STALE,))
    case = open_field_case(candidate, pattern, field)
    if case is None:
        return NOTHING
    found = [finding for finding in (_find_contest(case), _find_reversal(case)) if finding]
    ends = [finding.until for finding in found if finding.response is Response.REFUSE]
    if ends:
        contested_until = _find_contest_end(case)
        found[0] = replace(found[0], until=max(*ends, contested_until or ends[0]))
    return Examination(
        findings=tuple(found),
        incomplete=(UNCONFIRMED,) if case.is_unconfirmed else (),
    )


def bind_field(
    candidate: Candidate, pattern: Pattern, field: Field, detection: OpenDetection
) -> Binding | None:
    """Return what an open detection asks for of one field's change; None where it changes nothing.

    Every change is refused, but an increase is only warned about unless the field is contested, up
    to `increase_cap` times the most that was held within the window.
    """
    case = open_field_case(candidate, pattern, field)
    if case is None or case.direction == 0:
        return None
    is_contested = detection.evidence_kind == EvidenceKind.CONTESTED
    return Binding(
        detection=detection,
        response=Response.WARN
        if not is_contested and is_warned_increase(case)
        else Response.REFUSE,
        summary=(
            f"{field_text(field)} {case.words} while an earlier detection binds them:"
            f" {detection.summary}"
        ),
        increase_up_to=None if is_contested else limit_to_name(case),
    )


def open_field_case(candidate: Candidate, pattern: Pattern, field: Field) -> FieldCase | None:
    """Return the case of one field's change; None where its values are not known."""
    found = find_moves(candidate.history.traces, field, candidate=candidate.trace)
    damping = damping_of(candidate, pattern)
    fold = Fold(damping, deadband_of(pattern.thresholds, field)).take(found.series)
    before = candidate.trace.before(field)
    before = fold.value if before is None else before
    after = candidate.trace.after(field)
    if before is None or after is None:
        return None
    return FieldCase(
        candidate=candidate,
        pattern=pattern,
        field=field,
        damping=damping,
        moves=found.series,
        fold=fold,
        move=move_of(candidate.trace, before=before, after=after),
        is_unconfirmed=found.unconfirmed > 0,
    )


def damping_of(candidate: Candidate, pattern: Pattern) -> Damping:
    """Return how many changes within which window trip on this workload."""
    overrides = candidate.history.overrides
    return make_damping(
        overrides.min_occurrences or pattern.min_occurrences, overrides.window or pattern.window
    )


def deadband_of(thresholds: Thresholds, field: Field) -> Deadband:
    """Return the difference below which a change of a field is noise."""
    absolute = thresholds.dead_absolute
    if field != REPLICAS:
        is_cpu = field.name.endswith(".cpu")
        absolute = thresholds.dead_absolute_cpu if is_cpu else thresholds.dead_absolute_memory
    return Deadband(absolute, thresholds.dead_relative)


def is_warned_increase(case: FieldCase) -> bool:
    """Tell whether a change is an increase that a reversal does not refuse."""
    highest = _highest_increase(case)
    return highest is not None and case.direction > 0 and case.move.after <= highest


def limit_to_name(case: FieldCase) -> int | None:
    """Return the most that an increase may reach, where there is such a limit to be told of."""
    highest = _highest_increase(case)
    return None if highest is None or highest >= UNLIMITED else highest


def _find_reversal(case: FieldCase) -> Finding | None:
    if not case.fold.may_trip:
        return None
    after = case.fold.take([case.move])
    last = after.moves[-1] if after.moves else None
    if last is None or not last.is_reversal or not case.damping.trips(last.penalty):
        return None
    now, threshold = case.candidate.now, case.damping.threshold
    series = [folded.move for folded in after.moves]
    reversals = sum(folded.is_reversal for folded in after.moves)
    span = _span(series)
    warned = is_warned_increase(case)
    return Finding(
        pattern=case.pattern,
        evidence_kind=EvidenceKind.REVERSAL,
        response=Response.WARN if warned else Response.REFUSE,
        fields=(field_text(case.field),),
        until=(after if warned else case.fold).admits_at(now),
        confidence=round(last.penalty / (last.penalty + threshold), 3),
        severity=Severity.CRITICAL if last.penalty >= 2 * threshold else Severity.WARNING,
        summary=(
            f"{field_text(case.field)} went {_path_to(case, series)} in {describe_span(span)}, and "
            f"{case.words} is reversal {reversals}: "
            f"penalty {last.penalty:.2f}, threshold {threshold:.2f}"
        ),
        describe=lambda: {
            **_thresholds(case),
            "penalty_before": round(case.fold.penalty_at(now), 6),
            "penalty": round(last.penalty, 6),
            "series": [_describe_folded(case, folded) for folded in after.moves],
        },
        action_ids=_ids(series[:-1]),
        span=span,
        increase_up_to=limit_to_name(case),
    )


def _find_contest(case: FieldCase) -> Finding | None:
    """Find agents' changes that somebody else keeps undoing, and that come again."""
    needed = _undone_needed(case)
    recent = _find_undone(case, asked_at=case.candidate.now)
    if len(recent) < needed:
        return None
    owner = _find_owner(case, recent)
    who = f"field manager {owner}" if owner else "somebody else"
    span = _span([*recent, case.move])
    return Finding(
        pattern=case.pattern,
        evidence_kind=EvidenceKind.CONTESTED,
        response=Response.REFUSE,
        fields=(field_text(case.field),),
        until=_end_of(case, recent),
        confidence=round(len(recent) / (len(recent) + needed), 3),
        severity=Severity.WARNING,
        summary=(
            f"agents' changes of {field_text(case.field)} were undone {len(recent)} times in "
            f"{describe_span(span)}, and {case.words} goes the same way again; "
            f"{who} undoes this, change it there"
        ),
        describe=lambda: {
            **_thresholds(case),
            "undone": len(recent),
            "needed": needed,
            "owner": owner,
            "series": [_describe_move(case, move) for move in (*case.moves, case.move)],
        },
        action_ids=_ids(recent),
        span=span,
    )


def _find_contest_end(case: FieldCase) -> datetime | None:
    """Return when the last contest ends that there is, or that there will be once all has settled.

    Undoings that cannot be told yet from changes that are still on their way are told then, so that
    nobody may be promised an earlier end of another refusal.
    """
    latest = max([case.candidate.now, *(move.at for move in case.moves)])
    undone = _find_undone(case, asked_at=latest + SETTLING)
    return None if len(undone) < _undone_needed(case) else _end_of(case, undone)


def _find_undone(case: FieldCase, *, asked_at: datetime) -> list[Move]:
    """Return the agents' changes like the candidate that somebody else undid within the window.

    As they are told at an instant at which the candidate comes again, if nothing else happens.
    """
    direction = case.direction
    if direction == 0:
        return []
    since = case.candidate.now - case.damping.window
    again = case.move if asked_at == case.move.at else case.move._replace(at=asked_at)
    return [
        move
        for move, following in pairwise((*case.moves, again))
        if _direction(move) == direction
        and _is_undone(move, following, now=asked_at)
        and move.at >= since
        and not _is_explained(following, case.moves)
    ]


def _undone_needed(case: FieldCase) -> int:
    return case.damping.occurrences - 1


def _end_of(case: FieldCase, undone: Sequence[Move]) -> datetime:
    """Return when too few of these are within the window."""
    instants = (move.at for move in undone)
    return find_end(instants, needed=_undone_needed(case), window=case.damping.window)


def _find_owner(case: FieldCase, undone: Sequence[Move]) -> str | None:
    """Return who undoes: the object's field manager, else who was seen to undo it last."""
    owner = case.candidate.find_owners().get((case.field.container, case.field.name))
    seen = (move.undone_by for move in reversed(undone) if move.undone_by is not None)
    return owner or next(seen, None)


def _is_undone(move: Move, following: Move, *, now: datetime) -> bool:
    """Tell whether the next value found is back by at least half, so somebody else moved it.

    A move that may only not be there yet is not undone: not while the object has not changed since,
    nor while its request may still be retried, unless its effect or its undoing was seen. What a
    person approved is not the agent's to be undone.
    """
    if move.before is None or following.before is None or move.is_approved:
        return False
    is_back = 2 * abs(move.after - following.before) >= abs(move.after - move.before)
    if not is_back or _sign(following.before - move.after) != -_direction(move):
        return False
    if move.seen is not None and following.seen is not None:
        if is_untouched(move.seen, following.seen) or is_stale(following.seen, [move.seen]):
            return False
        is_proven = (
            move.is_confirmed
            or move.undone_by is not None
            or was_touched_twice(move.seen, following.seen)
        )
        return is_proven or now - move.at >= SETTLING
    return True


def _is_explained(found: Move, moves: Sequence[Move]) -> bool:
    """Tell whether a racing change of an agent, rather than somebody else, left what was found."""
    return any(move.after == found.before and abs(move.at - found.at) < RACING for move in moves)


def _highest_increase(case: FieldCase) -> int | None:
    """Return the most that an increase may reach; None where a reversal refuses every increase.

    That is `increase_cap` times the highest value held within the window before the last counted
    change, so that it stays the same for as long as nothing takes effect. Where nothing was held,
    there is nothing to multiply, and no limit.
    """
    if case.pattern.thresholds.on_increase is OnIncrease.REFUSE:
        return None
    since = (case.fold.counted_at or case.candidate.now) - case.damping.window
    before = case.move.before or 0
    held = [before]
    for move in case.moves:
        if move.at >= since:
            held += [move.before or 0, move.after]
    if max(held) == 0:
        return UNLIMITED
    highest = int(case.pattern.thresholds.increase_cap * max(held))
    return highest if highest > before else None


def _thresholds(case: FieldCase) -> dict[str, object]:
    return {
        "threshold": case.damping.threshold,
        "half_life_seconds": round(case.damping.half_life.total_seconds(), 3),
        "min_occurrences": case.damping.occurrences,
        "window_seconds": case.damping.window.total_seconds(),
        "dead_absolute": case.fold.deadband.absolute,
        "dead_relative": case.fold.deadband.relative,
        "on_increase": case.pattern.thresholds.on_increase,
        "increase_cap": case.pattern.thresholds.increase_cap,
    }


def _describe_folded(case: FieldCase, folded: FoldedMove) -> dict[str, object]:
    return {
        **_describe_move(case, folded.move),
        "penalty": round(folded.penalty, 6),
        "reversal": folded.is_reversal,
    }


def _describe_move(case: FieldCase, move: Move) -> dict[str, object]:
    """Return the entry of a series: replicas as numbers, cpu and memory as quantities."""
    return {
        "version": move.version,
        "time": move.at.isoformat(),
        "before": _describe_value(case, move.before),
        "after": _describe_value(case, move.after),
        "actor": move.actor,
        "action_id": move.action_id,
        **({"approved": True} if move.is_approved else {}),
    }


def _describe_value(case: FieldCase, value: int | None) -> int | str | None:
    return value if value is None or case.field == REPLICAS else case.show(value)


def _direction(move: Move) -> int:
    return _sign(move.after - (move.before or 0))


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _ids(moves: Sequence[Move]) -> tuple[str, ...]:
    return tuple(move.action_id for move in moves if move.action_id is not None)


def _path_to(case: FieldCase, series: Sequence[Move]) -> str:
    """Return the values that led to the last move, with what it found."""
    *earlier, last = series
    return describe_path(earlier, then=last.before, show=case.show)


def _span(moves: Sequence[Move]) -> timedelta:
    """Return the time from the first move to the last; a clock set back makes it 0."""
    return max(moves[-1].at - moves[0].at, timedelta(0))
