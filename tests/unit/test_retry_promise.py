"""The promise in a refusal: refused a second before its instant, admitted from it on."""

import math
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from gate.domain.pattern import Mode, OnIncrease, Pattern, Thresholds
from tests.timeline import (
    SCALE_OSCILLATION,
    START,
    Event,
    Outcome,
    Step,
    Timeline,
    minute,
    start_timeline,
)

_SECOND = timedelta(seconds=1)
_promised = settings(deadline=None, max_examples=100, derandomize=True)


@dataclass(frozen=True, slots=True)
class Script:
    """A random history: patterns, the values it starts from, and what agents and others do."""

    patterns: tuple[Pattern, ...]
    start: int
    subresource: str
    steps: tuple[Step, ...]
    nth: int  # which refusal is looked at


def cooling(minutes: int | None) -> timedelta | None:
    return None if minutes is None else timedelta(minutes=minutes)


_patterns = st.builds(
    replace,
    st.just(SCALE_OSCILLATION),
    min_occurrences=st.integers(3, 4),
    window=st.integers(60, 240).map(lambda minutes: timedelta(minutes=minutes)),
    own_end=st.sampled_from([None, 1, 30, 200]).map(cooling),
    thresholds=st.builds(
        Thresholds,
        on_increase=st.sampled_from(OnIncrease),
        increase_cap=st.sampled_from([1.0, 1.5, 2.0]),
    ),
)
_values = st.sampled_from([0, 2, 3, 5, 8, 20])


def make_hasty_script(seed: int) -> Script:
    """Return a history in which changes are undone, and made again before that has settled.

    Evenly spread, where one that is drawn would be simple.
    """
    dice = Random(seed)  # noqa: S311 - nothing secret: histories for tests
    seconds = (1, 3, 10, 25, 60)
    now = 0
    steps = []
    for _ in range(dice.randint(3, 8)):
        now += dice.choice(seconds)
        wanted = 8 if dice.random() < 0.8 else 2
        steps.append(Step(now / 60, wanted, persists=dice.random() < 0.9))
        if dice.random() < 0.8:
            now += dice.choice(seconds)
            steps.append(Step(now / 60, 5, by_agent=False))
    pattern = replace(
        SCALE_OSCILLATION,
        own_end=cooling(dice.choice([None, 1, 5])),
        window=timedelta(minutes=dice.choice([5, 60, 120])),
    )
    return Script(
        patterns=(pattern,),
        start=5,
        subresource=dice.choice(["", "scale"]),
        steps=tuple(steps),
        nth=dice.randint(1, 2),
    )


@st.composite
def scripts(draw: st.DrawFn, *, clock_goes_back: bool = False) -> Script:
    """Draw histories dense enough that most of them end in a refusal."""
    patterns = [replace(p, id=n) for n, p in enumerate(draw(st.lists(_patterns, min_size=1)), 1)]
    shortest = -5 * 60_000 if clock_goes_back else 0
    start = draw(_values)
    now = 0.0
    values = [start]
    steps = []
    for _ in range(draw(st.integers(4, 16))):
        now += draw(st.integers(shortest, 50 * 60_000)) / 60_000
        by_agent = draw(st.integers(0, 3)) > 0
        undoes = not by_agent and len(values) > 1 and draw(st.booleans())
        values.append(values[-2] if undoes else draw(_values))
        persists = draw(st.integers(0, 9)) > 0
        steps.append(Step(now, values[-1], by_agent=by_agent, persists=persists))
    return Script(
        patterns=tuple(patterns[:2]),
        start=start,
        subresource=draw(st.sampled_from(["", "scale"])),
        steps=tuple(steps),
        nth=draw(st.integers(1, 3)),
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that a history ends in: the change, when, and until when."""

    timeline: Timeline
    replicas: int
    at: datetime
    until: datetime

    @property
    def message(self) -> str:
        """Return what a person reads."""
        return self.timeline.events[-1].reviewed.answer.message

    async def retry(self, at: datetime) -> Event:
        """Make the same change again."""
        return await self.timeline.scale(self.replicas, at=at)


async def play_until_refused(script: Script) -> Refusal | None:
    timeline = await start_timeline(
        replicas=script.start, patterns=script.patterns, subresource=script.subresource
    )
    left = script.nth
    for step in script.steps:
        for made in await timeline.play([step]):
            left -= made.outcome is Outcome.REFUSED
            if left == 0:
                return Refusal(timeline, step.replicas, made.at, made.until)
    return None


async def refuse(script: Script) -> Refusal:
    refusal = await play_until_refused(script)
    assume(refusal is not None)
    assert refusal is not None
    kinds = {
        str(opened.evidence["kind"]) for r in refusal.timeline.recordings for opened in r.opens
    }
    event(f"kinds {sorted(kinds)}")
    return refusal


@_promised
@given(scripts())
async def test_same_change_is_refused_a_second_before_and_admitted_at_its_instant(
    script: Script,
) -> None:
    refusal = await refuse(script)

    before = await refusal.retry(refusal.until - _SECOND)
    at_last = await refusal.retry(refusal.until)

    assert (before.outcome, before.until) == (Outcome.REFUSED, refusal.until)
    assert at_last.outcome is not Outcome.REFUSED


@_promised
@given(scripts())
async def test_same_change_is_admitted_a_second_later_with_no_retry_in_between(
    script: Script,
) -> None:
    refusal = await refuse(script)

    later = await refusal.retry(refusal.until + _SECOND)

    assert later.outcome is not Outcome.REFUSED


@_promised
@given(scripts(), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
async def test_refused_retries_do_not_move_the_instant(script: Script, shares: list[float]) -> None:
    refusal = await refuse(script)
    last = refusal.until - _SECOND
    instants = [refusal.at + (last - refusal.at) * share for share in sorted(shares)]

    retries = [await refusal.retry(instant) for instant in instants if instant > refusal.at]
    at_last = await refusal.retry(refusal.until)

    assert {(retry.outcome, retry.until) for retry in retries} <= {(Outcome.REFUSED, refusal.until)}
    assert at_last.outcome is not Outcome.REFUSED


@_promised
@given(scripts(clock_goes_back=True))
async def test_promise_holds_where_the_clock_was_set_back_before(script: Script) -> None:
    refusal = await refuse(script)

    before = await refusal.retry(refusal.until - _SECOND)
    at_last = await refusal.retry(refusal.until)

    assert before.outcome is Outcome.REFUSED
    assert at_last.outcome is not Outcome.REFUSED
    for recording in refusal.timeline.recordings:
        for opened in recording.opens:
            assert opened.time_span >= timedelta(0)
            assert opened.until > recording.trace.seen.at


@_promised
@given(scripts(), st.floats(0.0, 1.0))
async def test_increase_that_a_refusal_names_is_admitted_at_any_time_until_then(
    script: Script, share: float
) -> None:
    refusal = await refuse(script)
    named = re.search(r"An increase up to (\d+) replicas", refusal.message)
    if named is None:
        return

    at = refusal.at + (refusal.until - refusal.at) * share
    increase = await refusal.timeline.scale(int(named[1]), at=at)

    assert increase.outcome is not Outcome.REFUSED


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.integers(0, 2**32).map(make_hasty_script), st.sampled_from([0, 20, 60]))
async def test_promise_holds_where_changes_were_still_settling_when_it_was_made(
    script: Script, seconds: int
) -> None:
    refusal = await refuse(script)

    later = await refusal.retry(refusal.until + seconds * _SECOND)

    assert later.outcome is not Outcome.REFUSED


@pytest.mark.parametrize("second", [105, 140])
async def test_changes_that_were_still_settling_are_part_of_the_promise(second: int) -> None:
    timeline = await start_timeline(replicas=3, subresource="scale")
    for made, undone in ((0, 10), (60, 65), (90, 93)):
        await timeline.scale(5, at=minute(made / 60))
        await timeline.play([Step(undone / 60, 3, by_agent=False)])

    refused = await timeline.scale(5, at=minute(second / 60))
    at_last = await timeline.scale(5, at=refused.until)

    assert (refused.outcome, at_last.outcome) == (Outcome.REFUSED, Outcome.ADMITTED)


async def test_two_replicas_two_seconds_apart_keep_the_order_of_their_versions() -> None:
    timeline = await start_timeline(replicas=3)

    events = await timeline.play([Step(0, 5), Step(-2 / 60, 3), Step(0, 5), Step(-2 / 60, 3)])

    assert [e.outcome for e in events] == [
        Outcome.ADMITTED,
        Outcome.ADMITTED,
        Outcome.WARNED,
        Outcome.REFUSED,
    ]
    assert [r.trace.version for r in timeline.recordings] == [1, 2, 3, 4]


async def test_promise_of_the_first_example_is_the_closed_form() -> None:
    timeline = await start_timeline(replicas=5)

    events = await timeline.play([Step(0, 3), Step(10, 5), Step(20, 3)])

    penalty = 2 ** (-10 / 60)  # one reversal, ten minutes old
    wait = 60 * math.log2(penalty / 0.5)
    assert events[-1].outcome is Outcome.REFUSED
    assert events[-1].until - minute(20 + wait) <= _SECOND
    assert events[-1].until > minute(20 + wait)


async def test_cooling_period_lasts_at_least_its_own_time() -> None:
    pattern = replace(SCALE_OSCILLATION, own_end=timedelta(hours=5))
    timeline = await start_timeline(replicas=5, patterns=(pattern,))

    events = await timeline.play([Step(0, 3), Step(10, 5), Step(20, 3)])

    assert events[-1].until == START + timedelta(hours=5, minutes=20, seconds=1)


async def test_window_ends_the_promise_where_it_is_earlier_than_the_decay() -> None:
    audited = await start_timeline(replicas=3, mode=Mode.AUDIT)
    enforced = await start_timeline(histories=audited.histories)
    enforced.body = audited.body
    await audited.play([Step(number, (5, 3)[number % 2]) for number in range(13)])

    refused = await enforced.scale(3, at=minute(13))

    assert refused.outcome is Outcome.REFUSED
    assert refused.until == minute(12) + timedelta(minutes=120, seconds=1)


@pytest.mark.parametrize("offset", [-1, 0])
async def test_warned_of_reductions_are_refused_until_the_time_that_was_named(offset: int) -> None:
    timeline = await start_timeline(replicas=3)
    events = await timeline.play([Step(0, 5), Step(10, 3), Step(20, 5)])
    warned = events[-1]

    reduced = await timeline.scale(3, at=warned.until + offset * _SECOND)

    assert warned.outcome is Outcome.WARNED
    assert (reduced.outcome is Outcome.REFUSED) is (offset < 0)


async def test_contested_change_is_admitted_when_the_oldest_undoing_leaves_the_window() -> None:
    timeline = await start_timeline(replicas=3)
    undoing = [
        step for n in range(3) for step in (Step(n * 40, 5), Step(n * 40 + 5, 3, by_agent=False))
    ]

    events = await timeline.play(undoing)

    assert [e.outcome for e in events][-1] is Outcome.REFUSED
    assert events[-1].until == START + timedelta(minutes=120, seconds=1)
