"""The decaying penalty: its closed forms, its deadband, and time that misbehaves."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.move import Move
from gate.domain.penalty import Damping, Deadband, Fold
from gate.domain.window import next_second
from tests.timeline import SCALE_OSCILLATION, Outcome, minute, start_timeline

_DEFAULT = Damping(3, timedelta(minutes=120))
_NOTHING_IGNORED = Deadband(1, 0.0)
_bounded = settings(deadline=None, max_examples=150, derandomize=True)
_occurrences = st.integers(3, 8)
_windows = st.integers(30, 600).map(lambda minutes: timedelta(minutes=minutes))
_values = st.integers(0, 400)


def make_fold(damping: Damping = _DEFAULT, deadband: Deadband = _NOTHING_IGNORED) -> Fold:
    return Fold(damping, deadband)


def swing_every(spacing: timedelta, *, count: int, low: int = 3, high: int = 5) -> list[Move]:
    """Return moves between two values at a steady pace, up first."""
    return [
        Move(minute(0) + number * spacing, *((low, high), (high, low))[number % 2])
        for number in range(count)
    ]


def has_tripped(fold: Fold) -> bool:
    return any(folded.is_reversal and fold.damping.trips(folded.penalty) for folded in fold.moves)


@pytest.mark.parametrize(
    ("occurrences", "minutes"), [(3, 60), (4, 142), (5, 225)], ids=["3", "4", "5"]
)
def test_half_life_of_two_hours_is_as_published(occurrences: int, minutes: int) -> None:
    half_life = Damping(occurrences, timedelta(minutes=120)).half_life

    assert round(half_life / timedelta(minutes=1)) == minutes


@_bounded
@given(_occurrences, _windows)
def test_half_life_solves_its_equation(occurrences: int, window: timedelta) -> None:
    damping = Damping(occurrences, window)

    spacing = window / (occurrences - 1) / damping.half_life

    total = sum(2 ** (-i * spacing) for i in range(occurrences - 1))
    assert total == pytest.approx(damping.threshold, abs=1e-7)


@pytest.mark.parametrize(("occurrences", "window"), [(2, 120), (0, 120), (3, 0), (3, -5)])
def test_impossible_thresholds_are_refused_with_their_name(occurrences: int, window: int) -> None:
    with pytest.raises(ValueError, match=r"min_occurrences is \d|time_window_minutes"):
        Damping(occurrences, timedelta(minutes=window))


@pytest.mark.parametrize("occurrences", range(3, 9))
async def test_changes_spread_evenly_over_the_window_just_trip(occurrences: int) -> None:
    spacing = SCALE_OSCILLATION.window / (occurrences - 1) / timedelta(minutes=1)
    timelines = {
        needed: await start_timeline(
            replicas=5, patterns=(replace(SCALE_OSCILLATION, min_occurrences=needed),)
        )
        for needed in (occurrences, occurrences + 1)
    }

    for number in range(occurrences):
        for timeline in timelines.values():
            await timeline.scale((3, 5)[number % 2], at=minute(number * spacing))

    tripped = [event.outcome for event in timelines[occurrences].events]
    assert tripped[:-1] == [Outcome.ADMITTED] * (occurrences - 1)
    assert tripped[-1] is not Outcome.ADMITTED
    assert {event.outcome for event in timelines[occurrences + 1].events} == {Outcome.ADMITTED}


@_bounded
@given(_occurrences, _windows)
def test_changes_spread_evenly_over_any_window_just_trip(
    occurrences: int, window: timedelta
) -> None:
    spacing = window / (occurrences - 1) / timedelta(minutes=1)
    values = [(3, 5), (5, 3)] * occurrences

    fold = make_fold(Damping(occurrences, window)).take(
        Move(minute(number * spacing), *values[number]) for number in range(occurrences)
    )

    assert has_tripped(fold)
    assert not has_tripped(
        make_fold(Damping(occurrences, window)).take(folded.move for folded in fold.moves[:-1])
    )


@pytest.mark.parametrize("occurrences", range(3, 9))
def test_changes_spread_a_little_wider_than_the_window_do_not_trip(occurrences: int) -> None:
    damping = Damping(occurrences, timedelta(minutes=120))
    spacing = damping.window / (occurrences - 1) * 1.001

    fold = make_fold(damping).take(swing_every(spacing, count=occurrences))

    assert not has_tripped(fold)


@_bounded
@given(_occurrences, _windows, st.floats(0.05, 0.999))
def test_steady_reversals_trip_exactly_below_the_closed_form(
    occurrences: int, window: timedelta, share: float
) -> None:
    damping = Damping(occurrences, window)
    s = damping.threshold
    spacing = window * share
    border = damping.half_life * math.log2(s / (s - 1))
    if abs(spacing - border) < border * 1e-3:
        return

    fold = make_fold(damping).take(swing_every(spacing, count=400))

    assert has_tripped(fold) is (spacing < border)


def test_steady_reversals_by_default_trip_below_95_minutes() -> None:
    outcomes = [
        has_tripped(make_fold().take(swing_every(timedelta(minutes=minutes), count=200)))
        for minutes in (94, 95, 96)
    ]

    assert outcomes == [True, True, False]


@_bounded
@given(_occurrences, _windows, st.floats(0.0, 20.0))
def test_wait_is_the_closed_form(occurrences: int, window: timedelta, penalty: float) -> None:
    damping = Damping(occurrences, window)
    bearable = damping.threshold - 1

    wait = damping.wait(penalty)

    expected = damping.half_life * max(0.0, math.log2(max(penalty, bearable) / bearable))
    assert abs(wait - expected) < timedelta(seconds=1)


def test_direction_and_penalty_are_forgotten_only_after_more_than_the_window() -> None:
    fold = make_fold().take([Move(minute(0), 3, 5), Move(minute(10), 5, 3)])
    just_in, just_out = minute(130), minute(130) + timedelta(milliseconds=1)

    kept = fold.take([Move(just_in, 3, 5)])
    forgotten = fold.take([Move(just_out, 3, 5)])

    assert kept.moves[-1].is_reversal
    assert len(kept.moves) == 3
    assert not forgotten.moves[-1].is_reversal
    assert [folded.move.at for folded in forgotten.moves] == [just_out]
    assert fold.penalty_at(just_out) == 0.0


def test_first_change_has_no_direction_to_reverse() -> None:
    fold = make_fold().take([Move(minute(0), 5, 3)])

    assert (fold.direction, fold.penalty, fold.reference) == (-1, 0.0, 3)


def test_step_that_changes_nothing_carries_the_direction_on() -> None:
    moves = [Move(minute(0), 3, 5), Move(minute(5), 5, 5), Move(minute(10), 5, 3)]

    fold = make_fold().take(moves)

    assert [folded.is_reversal for folded in fold.moves] == [False, False, True]
    assert fold.counted_at == minute(10)


def test_moves_by_others_beyond_the_deadband_move_the_reference_and_add_nothing() -> None:
    deadband = Deadband(1, 0.10)
    near = [Move(minute(0), 90, 100), Move(minute(10), 95, 94)]  # somebody moved 100 to 95
    far = [Move(minute(0), 90, 100), Move(minute(10), 80, 79)]  # somebody moved 100 to 80

    measured_from_the_last_change = make_fold(deadband=deadband).take(near)
    measured_from_what_was_found = make_fold(deadband=deadband).take(far)

    assert measured_from_the_last_change.reference == 100
    assert measured_from_what_was_found.reference == 80
    assert measured_from_what_was_found.penalty == 0.0


def test_small_moves_add_up_against_the_last_counted_change() -> None:
    fold = Fold(_DEFAULT, Deadband(1, 0.10)).take(
        [Move(minute(0), 100, 96), Move(minute(5), 96, 92), Move(minute(10), 92, 89)]
    )

    assert [folded.move.after for folded in fold.moves] == [96, 92, 89]
    assert (fold.reference, fold.direction) == (89, -1)


def test_creation_starts_from_the_last_known_value() -> None:
    fold = make_fold().take([Move(minute(0), 5, 0), Move(minute(10), None, 5)])
    long_ago = make_fold().take(
        [Move(minute(0), 5, 0), Move(minute(300), None, 5), Move(minute(310), 5, 3)]
    )
    unknown = make_fold().take([Move(minute(0), None, 5), Move(minute(10), 5, 3)])

    assert [folded.is_reversal for folded in fold.moves] == [False, True]
    assert [folded.is_reversal for folded in long_ago.moves] == [False, True]
    assert [folded.is_reversal for folded in unknown.moves] == [False]


@_bounded
@given(_values, _values, st.integers(0, 20), st.floats(0.0, 0.5))
def test_deadband_counts_ups_and_downs_alike(
    one: int, other: int, absolute: int, relative: float
) -> None:
    deadband = Deadband(absolute, relative)

    assert deadband.ignores(one, other) is deadband.ignores(other, one)


@_bounded
@given(_values, _values, st.integers(0, 20), st.floats(0.0, 0.5), st.data())
def test_smaller_step_than_an_ignored_one_is_ignored(
    reference: int, after: int, absolute: int, relative: float, data: st.DataObject
) -> None:
    deadband = Deadband(absolute, relative)
    nearer = data.draw(st.integers(min(reference, after), max(reference, after)))

    if deadband.ignores(reference, after):
        assert deadband.ignores(reference, nearer)


@pytest.mark.parametrize(
    ("reference", "after", "ignored"),
    [(10, 11, False), (100, 110, False), (100, 105, True), (110, 100, False), (50, 53, True)],
)
def test_default_deadband_takes_the_smaller_value_as_its_measure(
    reference: int, after: int, *, ignored: bool
) -> None:
    assert Deadband(1, 0.10).ignores(reference, after) is ignored


_series = st.lists(st.tuples(st.integers(1, 150), st.integers(0, 30)), min_size=1, max_size=20)


def moves_of(series: list[tuple[int, int]], *, mirror: int | None = None) -> list[Move]:
    moves, now, value = [], 0, 15
    for gap, after in series:
        now += gap
        before = value if mirror is None else mirror - value
        moves.append(Move(minute(now), before, after if mirror is None else mirror - after))
        value = after
    return moves


@_bounded
@given(_series)
def test_mirrored_series_meets_the_same_penalties(series: list[tuple[int, int]]) -> None:
    ups = make_fold().take(moves_of(series))
    downs = make_fold().take(moves_of(series, mirror=30))

    assert ups.penalty == downs.penalty
    assert ups.direction == -downs.direction
    assert [folded.is_reversal for folded in ups.moves] == [
        folded.is_reversal for folded in downs.moves
    ]


@_bounded
@given(_series, st.integers(0, 400))
def test_penalty_only_decays_while_nothing_happens(
    series: list[tuple[int, int]], minutes: int
) -> None:
    fold = make_fold().take(moves_of(series))
    since = fold.counted_at or minute(0)
    earlier, later = since + timedelta(minutes=minutes), since + timedelta(minutes=minutes + 1)

    assert fold.penalty_at(later) <= fold.penalty_at(earlier) <= fold.penalty


@_bounded
@given(_series, _occurrences, _values)
def test_no_move_trips_a_fold_that_may_not_trip(
    series: list[tuple[int, int]], occurrences: int, after: int
) -> None:
    damping = Damping(occurrences, timedelta(minutes=120))
    for number in range(len(series)):
        fold = make_fold(damping).take(moves_of(series[:number]))
        at = fold.counted_at or minute(0)

        added = fold.take([Move(at, fold.value, after)]).moves[len(fold.moves) :]

        assert fold.may_trip or not any(
            folded.is_reversal and damping.trips(folded.penalty) for folded in added
        )


@_bounded
@given(_series, _occurrences, st.integers(-300, 120))
def test_reversal_is_tripped_until_the_admitted_second_and_not_from_it_on(
    series: list[tuple[int, int]], occurrences: int, offset: int
) -> None:
    fold = make_fold(Damping(occurrences, timedelta(minutes=120))).take(moves_of(series))
    last = fold.counted_at
    if last is None:
        return
    now = last + timedelta(seconds=offset)
    value = fold.value or 0

    def trips(instant_offset: timedelta) -> bool:
        folded = fold.take([Move(until + instant_offset, value, value - fold.direction)]).moves[-1]
        return folded.is_reversal and fold.damping.trips(folded.penalty)

    until = fold.admits_at(now)
    second = timedelta(seconds=1)
    if until > next_second(max(now, last)):
        assert trips(-second)
    assert not trips(timedelta(0))
    assert not trips(second)


def test_clock_set_back_neither_raises_nor_adds_penalty() -> None:
    moves = [
        Move(minute(0), 3, 5, version=1),
        Move(minute(10), 5, 3, version=2),
        Move(minute(5), 3, 5, version=3),
    ]

    fold = make_fold().take(moves)

    assert fold.penalty == 2.0
    assert fold.counted_at == minute(10)
    assert fold.penalty_at(minute(0)) == fold.penalty
    assert fold.penalty_at(minute(70)) == pytest.approx(fold.penalty / 2)


def test_fold_is_in_order_of_version_and_not_of_time() -> None:
    by_version = [Move(minute(2 / 60), 3, 5), Move(minute(0), 5, 3), Move(minute(4 / 60), 3, 5)]

    fold = make_fold().take(by_version)

    assert [folded.is_reversal for folded in fold.moves] == [False, True, True]
    assert fold.penalty == pytest.approx(2.0, abs=0.01)


def test_next_second_is_strictly_later() -> None:
    whole = minute(0)
    assert next_second(whole) == whole + timedelta(seconds=1)
    assert next_second(whole + timedelta(microseconds=1)) == whole + timedelta(seconds=1)


def test_approved_move_changes_the_value_and_neither_penalty_nor_direction() -> None:
    up = Move(minute(0), 3, 5)
    approved = Move(minute(10), 5, 3, is_approved=True)

    after = make_fold().take([up, approved])
    further = after.take([Move(minute(20), 3, 5)])

    assert (after.value, after.direction, after.counted_at) == (3, 1, minute(0))
    assert [folded.is_reversal for folded in further.moves] == [False, False, False]
    assert further.penalty == 0.0


def test_approved_first_move_tells_what_is_held() -> None:
    fold = make_fold().take([Move(minute(0), 5, 0, is_approved=True), Move(minute(10), None, 3)])

    assert fold.moves[-1].move.after == 3
    assert fold.direction == 1
