"""Turns: one holder of a key at a time, first come first served, whoever gives up meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.services.turns import Turns
from tests.virtual_time import run_in_virtual_time

LATE = 1000.0


def play(main: Callable[[], Coroutine[object, object, None]]) -> None:
    run_in_virtual_time(main())


@dataclass
class Visits:
    """What holders of turns see: who came in, in which order, and that each was alone."""

    turns: Turns[str] = field(default_factory=Turns)
    asked: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    inside: set[str] = field(default_factory=set)

    async def visit(
        self, name: str, *, key: str = "web", latest: float = LATE, stay: float = 1.0
    ) -> None:
        self.asked.append(name)
        if not await self.turns.take(key, latest=latest):
            self.late.append(name)
            return
        try:
            assert key not in self.inside
            self.inside.add(key)
            self.seen.append(name)
            await asyncio.sleep(stay)
        finally:
            self.inside.discard(key)
            self.turns.pass_on(key)


def test_free_turn_is_taken_at_once_also_when_it_is_too_late() -> None:
    async def main() -> None:
        turns = Turns[str]()
        taking = turns.take("web", latest=-1)

        with pytest.raises(StopIteration) as taken:
            taking.send(None)  # it never waits

        assert taken.value.value is True

    play(main)


def test_turns_come_in_order_and_other_keys_do_not_wait() -> None:
    visits = Visits()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(visits.visit(name))
            group.create_task(visits.visit("other", key="db"))
        assert asyncio.get_running_loop().time() == 3

    play(main)

    assert visits.seen == ["a", "other", "b", "c"]
    assert visits.turns._waiting == {}


def test_who_waits_too_long_is_told_so_and_left_out() -> None:
    visits = Visits()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(visits.visit("a", stay=5))
            group.create_task(visits.visit("hurried", latest=2))
            group.create_task(visits.visit("b"))
            group.create_task(visits.visit("past", latest=-1))
        assert asyncio.get_running_loop().time() == 6

    play(main)

    assert visits.seen == ["a", "b"]
    assert visits.late == ["past", "hurried"]


def test_who_is_cancelled_as_the_turn_comes_hands_it_on() -> None:
    visits = Visits()

    async def main() -> None:
        turns = visits.turns
        assert await turns.take("web", latest=LATE)
        second, third = (asyncio.ensure_future(visits.visit(name)) for name in ("second", "third"))
        await asyncio.sleep(0)
        turns.pass_on("web")
        second.cancel()
        await third
        assert second.cancelled()

    play(main)

    assert visits.seen == ["third"]
    assert visits.turns._waiting == {}


def test_turn_that_comes_at_the_last_moment_is_handed_on_as_well() -> None:
    visits = Visits()

    async def main() -> None:
        loop, turns = asyncio.get_running_loop(), visits.turns
        assert await turns.take("web", latest=LATE)
        # Both are due at the same time, and the turn comes first.
        loop.call_at(2, turns.pass_on, "web")
        async with asyncio.TaskGroup() as group:
            group.create_task(visits.visit("last", latest=2))
            await asyncio.sleep(0)
            group.create_task(visits.visit("next"))

    play(main)

    assert visits.late + visits.seen == ["last", "next"]
    assert visits.turns._waiting == {}


_VISITORS = st.tuples(
    st.integers(0, 12),  # comes
    st.sampled_from(("web", "db")),
    st.integers(-1, 15),  # waits until
    st.integers(0, 4),  # stays for
    st.none() | st.integers(0, 15),  # is cancelled
)


@given(st.lists(_VISITORS, max_size=12))
def test_nobody_shares_a_turn_and_none_is_lost(
    visitors: list[tuple[int, str, int, int, int | None]],
) -> None:
    visits = Visits()

    async def come(at: int, name: str, key: str, latest: int, stay: int) -> None:
        await asyncio.sleep(at)
        await visits.visit(name, key=key, latest=latest, stay=stay)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = []
        for number, (at, key, latest, stay, cancelled) in enumerate(visitors):
            task = asyncio.ensure_future(come(at, str(number), key, latest, stay))
            tasks.append(task)
            if cancelled is not None:
                loop.call_at(cancelled, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(
            result is None or isinstance(result, asyncio.CancelledError) for result in results
        )

    play(main)

    for key in ("web", "db"):
        seen = [name for name in visits.seen if visitors[int(name)][1] == key]
        assert seen == [name for name in visits.asked if name in seen]
    assert visits.turns._waiting == {}
    assert visits.inside == set()
