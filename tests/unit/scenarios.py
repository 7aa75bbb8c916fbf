"""Scenarios of one number, to the minute: those that must trip, and those that must stay silent."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.timeline import Step


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and the minutes of the first refusal and warning it must meet.

    `strict` is the first refusal where increases are refused too; `refused` and `warned` are what
    meets the default.
    """

    name: str
    start: int
    steps: tuple[Step, ...]
    strict: float | None = None
    warned: float | None = None
    refused: float | None = None


def every(minutes: float, *values: int) -> tuple[Step, ...]:
    """Return an agent's moves at a steady pace, from minute 0 on."""
    return tuple(Step(number * minutes, value) for number, value in enumerate(values))


def at(*moves: tuple[float, int]) -> tuple[Step, ...]:
    """Return an agent's moves at the given minutes."""
    return tuple(Step(number, value) for number, value in moves)


def undone(minutes: float, *, after: float, to: int, value: int) -> Iterable[Step]:
    """Yield an agent's steady change with somebody's undoing after each."""
    for number in range(6):
        yield Step(number * minutes, value)
        yield Step(number * minutes + after, to, by_agent=False)


def daily(days: int, *moves: tuple[float, int]) -> tuple[Step, ...]:
    """Return the same moves every day."""
    return tuple(Step(day * 1440 + number, v) for day in range(days) for number, v in moves)


def swing(low: int, high: int, *, pace: float = 10, count: int = 8) -> tuple[Step, ...]:
    """Return moves between two values, up first."""
    return every(pace, *([high, low] * count)[:count])


TRIPPING = (
    Scenario("3-5-3-5", 3, swing(3, 5), strict=20, warned=20, refused=30),
    Scenario("5-3-5-3", 5, every(10, 3, 5, 3, 5, 3), strict=20, warned=None, refused=20),
    Scenario("every 45", 3, swing(3, 5, pace=45, count=9), strict=90, warned=90, refused=135),
    Scenario("every 60", 3, swing(3, 5, pace=60, count=9), strict=120, warned=120, refused=180),
    Scenario("every 90", 3, swing(3, 5, pace=90, count=9), strict=360, warned=360, refused=450),
    Scenario("growing", 4, every(10, 8, 4, 10, 4, 12), strict=20, warned=20, refused=30),
    Scenario("asymmetric", 4, every(10, 10, 7, 4, 10, 4), strict=30, warned=30, refused=40),
    Scenario("2-3", 2, swing(2, 3), strict=20, warned=20, refused=30),
    Scenario("10-11", 10, swing(10, 11), strict=20, warned=20, refused=30),
    Scenario("100-110", 100, swing(100, 110), strict=20, warned=20, refused=30),
    Scenario(
        "sawtooth of 9 %",
        100,
        every(10, 91, 83, 76, 100, 91, 83, 76),
        strict=50,
        refused=50,
    ),
    Scenario("repair", 256, at((0, 512), (20, 256), (30, 512)), strict=30, warned=30),
    Scenario("one dip in a ramp", 3, every(10, 5, 7, 6, 8), strict=30, warned=30),
    Scenario(
        "undone by GitOps",
        3,
        tuple(undone(10, after=5, to=3, value=5)),
        strict=20,
        warned=None,
        refused=20,
    ),
    Scenario(
        "HPA moves in between",
        3,
        (
            *at((0, 5)),
            Step(5, 6, by_agent=False),
            *at((10, 4)),
            Step(15, 5, by_agent=False),
            *at((20, 8)),
            Step(25, 7, by_agent=False),
            *at((30, 4)),
        ),
        strict=20,
        warned=20,
        refused=30,
    ),
)
SILENT = (
    Scenario("every 96", 3, swing(3, 5, pace=96, count=40)),
    Scenario("diurnal", 3, daily(5, (0, 10), (720, 3))),
    Scenario("lunch peak of 55 min", 3, daily(5, (240, 8), (295, 3))),
    Scenario("up, rolled back", 3, every(20, 8, 3)),
    Scenario("up, 90, down, 85, up", 3, at((0, 8), (90, 3), (175, 8))),
    Scenario("evening down undone", 10, at((0, 3), (20, 10))),
    Scenario("ramp up, gentle down", 3, every(10, 5, 8, 12, 16, 20, 18, 16, 14, 12, 10, 8, 6, 5)),
    Scenario("jitter 50..53", 50, every(10, 53, 50, 52, 50, 53, 51, 53, 50)),
    Scenario("100-105", 100, swing(100, 105)),
    Scenario("canary", 1, every(10, 2, 5, 10, 20)),
    Scenario(
        "a human undoes one change",
        3,
        (Step(0, 5), Step(5, 3, by_agent=False), Step(30, 5)),
    ),
)
