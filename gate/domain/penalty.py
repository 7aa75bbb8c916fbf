"""The decaying penalty of reversals, the rule BGP uses against route flaps (RFC 2439)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from gate.domain.move import Move
from gate.domain.window import next_second

# An evenly spaced series reaches the threshold exactly; floats, and times kept to the millisecond,
# may fall short of it.
_TOLERANCE = 1e-6
_REVERSAL = 1.0


@dataclass(frozen=True, slots=True)
class Damping:
    """How many changes within which window trip, and what follows from that.

    `threshold` is S, `half_life` is H: they are such that `occurrences` changes spread evenly over
    the window just trip.
    """

    occurrences: int
    window: timedelta

    def __post_init__(self) -> None:
        if self.occurrences < 3:
            raise ValueError(f"min_occurrences is {self.occurrences}; a loop takes at least 3")
        if self.window <= timedelta(0):
            raise ValueError("time_window_minutes must be more than 0")

    @property
    def threshold(self) -> float:
        """Return S, the penalty at which a reversal trips."""
        return self.occurrences - 1.5

    @property
    def half_life(self) -> timedelta:
        """Return H, the time in which a penalty halves."""
        return _half_life(self.occurrences, self.window)

    def decay(self, penalty: float, elapsed: timedelta) -> float:
        """Return what is left of a penalty; time that runs backwards leaves it as it is."""
        halvings = max(elapsed, timedelta(0)) / self.half_life
        return penalty * math.exp2(-halvings)

    def trips(self, penalty: float) -> bool:
        """Tell whether a reversal with this penalty trips."""
        return penalty >= self.threshold - _TOLERANCE

    def wait(self, penalty: float) -> timedelta:
        """Return how long until one more reversal on top of this penalty no longer trips.

        H · log2(p / (S - 1)), p without the candidate.
        """
        bearable = self.threshold - _TOLERANCE - _REVERSAL
        if penalty <= bearable:
            return timedelta(0)
        return self.half_life * math.log2(penalty / bearable)


@dataclass(frozen=True, slots=True)
class Deadband:
    """The difference below which a change is noise."""

    absolute: int
    relative: float

    def ignores(self, reference: int, after: int) -> bool:
        """Tell whether a difference from the reference is too small to count.

        The smaller of both values is the measure, so that ups and downs count alike.
        """
        difference = abs(after - reference)
        return (
            difference == 0
            or difference < self.absolute
            or difference < self.relative * min(abs(reference), abs(after))
        )


class FoldedMove(NamedTuple):
    """One move as the fold took it, for the evidence."""

    move: Move
    penalty: float
    is_reversal: bool


class Fold(NamedTuple):
    """The penalty of one field after a series of moves, as of its last counted change.

    A tuple, as its moves are, since every review makes several.
    """

    damping: Damping
    deadband: Deadband
    penalty: float = 0.0
    direction: int = 0
    reference: int | None = None
    value: int | None = None
    counted_at: datetime | None = None
    moves: tuple[FoldedMove, ...] = ()

    def take(self, moves: Iterable[Move]) -> "Fold":
        """Return the fold after some more moves."""
        damping, deadband, penalty, direction, reference, value, counted_at, taken = self
        folded = list(taken)
        for move in moves:
            at, after = move.at, move.after
            if counted_at is not None and at - counted_at > damping.window:
                penalty, direction, reference, counted_at, folded = 0.0, 0, None, None, []
            left = damping.decay(penalty, at - counted_at) if penalty and counted_at else 0.0
            if move.is_approved:  # a person's decision moves the value and adds nothing
                folded.append(FoldedMove(move, left, is_reversal=False))
                value = after
                continue
            before = value if move.before is None else move.before
            value = after
            if before is None:
                reference = after
                continue
            if before != reference and not (
                reference is not None and deadband.ignores(reference, before)
            ):
                reference = before
            if deadband.ignores(reference, after):
                folded.append(FoldedMove(move, left, is_reversal=False))
                continue
            came_from, direction = direction, 1 if after > reference else -1
            is_reversal = came_from == -direction
            penalty = left + _REVERSAL if is_reversal else left
            reference, counted_at = after, max(at, counted_at or at)
            folded.append(FoldedMove(move, penalty, is_reversal))
        return Fold(
            damping, deadband, penalty, direction, reference, value, counted_at, tuple(folded)
        )

    @property
    def may_trip(self) -> bool:
        """Tell whether one more reversal would trip if it came at once."""
        return self.damping.trips(self.penalty + _REVERSAL)

    def is_forgotten(self, now: datetime) -> bool:
        """Tell whether the last counted change lies more than the window back."""
        return self.counted_at is not None and now - self.counted_at > self.damping.window

    def penalty_at(self, now: datetime) -> float:
        """Return the penalty as it has decayed until an instant."""
        if self.counted_at is None or self.penalty == 0 or self.is_forgotten(now):
            return 0.0
        return self.damping.decay(self.penalty, now - self.counted_at)

    def admits_at(self, now: datetime) -> datetime:
        """Return the first whole second at which one more reversal would be admitted.

        That is the earlier of the decay and the window's end after the last counted change; the
        promise holds as long as nothing else takes effect.
        """
        if self.counted_at is None:
            return now
        decayed = max(now, self.counted_at) + self.damping.wait(self.penalty_at(now))
        return next_second(min(decayed, self.counted_at + self.damping.window))


@lru_cache(maxsize=256)
def make_damping(occurrences: int, window: timedelta) -> Damping:
    """Return the damping of these, one object for every review."""
    return Damping(occurrences, window)


@lru_cache(maxsize=256)
def _half_life(occurrences: int, window: timedelta) -> timedelta:
    """Solve sum(2^(-i·W / ((n-1)·H)), i = 0 … n-2) = n - 1.5 for H, by bisection."""
    spacing = window / (occurrences - 1)
    target = occurrences - 1.5
    low, high = 1e-3, 1e4  # spacings per half-life
    for _ in range(200):
        middle = (low + high) / 2
        if sum(2.0 ** (-i * middle) for i in range(occurrences - 1)) > target:
            low = middle
        else:
            high = middle
    return spacing / middle
