"""What is promised of gate's speed, and whether a run kept it."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.circumstances import Far, Memory, Start
from bench.load import Fared
from bench.reviews import Kind
from bench.rounds import Cell, Rounds

ONE, MANY = Cell(Kind.DEPLOYMENT, 1), Cell(Kind.DEPLOYMENT, 32)
PACED = Cell(Kind.DEPLOYMENT, 32, 500)


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: a measured value, and the most (or, where `is_floor`, least) it may be."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str
    is_floor: bool = False

    @property
    def is_met(self) -> bool:
        """Tell whether it was kept."""
        return self.value >= self.limit if self.is_floor else self.value <= self.limit

    @property
    def is_absolute(self) -> bool:
        """Tell whether it says what must not happen at all, however busy the machine is."""
        return self.limit == 0 and not self.is_floor


@dataclass(frozen=True, slots=True)
class Books:
    """What was answered and what is on record: of each row its attempts count."""

    answered: int
    counted: int
    recorded: int
    failures: int
    deadlocks: int


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a run measured."""

    rounds: Rounds
    hot: Fared
    far: tuple[Far, ...]
    memory: Memory
    start: Start
    idle: int
    books: Books


def judge(found: Findings) -> list[Target]:
    """Return every target with what was measured for it."""
    return [
        *_judge_rounds(found.rounds),
        _judge_hot(found.hot, found.books),
        *_judge_memory(found.memory),
        *_judge_start(found.start),
        Target("statements of an idle admission pool", found.idle, 0, "", "over 10 s"),
        *(target for far in found.far for target in _judge_far(far)),
        Target(
            "admissions without a row, or rows without one",
            abs(found.books.answered - found.books.recorded),
            0,
            "",
            f"{found.books.answered} answered, {found.books.counted} counted by gate,"
            f" {found.books.recorded} recorded",
        ),
    ]


def _judge_rounds(rounds: Rounds) -> Iterator[Target]:
    yield Target(
        "throughput at 32 connections",
        rounds.ratio(MANY, lambda fared: fared.per_second),
        0.20,
        "x the ceiling",
        f"{rounds.gate(MANY, lambda fared: fared.per_second):.0f} of"
        f" {rounds.ceiling(MANY, lambda fared: fared.per_second):.0f} per s",
        is_floor=True,
    )
    statements = sorted(rounds.statements)[len(rounds.statements) // 2]
    floor = rounds.ceiling(ONE, lambda fared: fared.p50)
    gate = rounds.gate(ONE, lambda fared: fared.p50)
    yield Target(
        "p50 at 1 connection",
        (gate - floor) / statements,
        2.5,
        "x the statements, above the ceiling",
        f"{gate:.2f} ms; ceiling {floor:.2f} ms, statements {statements:.2f} ms",
    )
    for name, cell, most in (
        ("p99 at 32 connections", MANY, 4.0),
        ("p99 at 500 per s", PACED, 3.0),
    ):
        yield Target(
            name,
            rounds.ratio(cell, lambda fared: fared.p99),
            most,
            "x the ceiling",
            f"{rounds.gate(cell, lambda fared: fared.p99):.1f} of"
            f" {rounds.ceiling(cell, lambda fared: fared.p99):.1f} ms",
        )
    paced = [pair.gate for pair in rounds.pairs[PACED]]
    yield Target(
        "requests lost at 500 per s",
        sum(fared.lost + fared.wrong for fared in paced),
        0,
        "",
        f"of {sum(fared.measured for fared in paced)}; {sum(fared.late for fared in paced)} sent"
        " late for want of a free connection",
    )


def _judge_hot(hot: Fared, books: Books) -> Target:
    return Target(
        "wrong answers, failures and deadlocks on one hot workload",
        hot.wrong + hot.lost + books.failures + books.deadlocks,
        0,
        "",
        f"{hot.per_second:.0f} per s, longest {hot.longest:.0f} ms;"
        f" {hot.admitted} admitted, {hot.refused} refused",
    )


def _judge_memory(memory: Memory) -> Iterator[Target]:
    answered = max(memory.resident)
    yield Target(
        f"memory after {answered} admissions", memory.resident[answered], 128, "MB", "resident"
    )
    yield Target(
        "growth over their second half", memory.growth * 100, 3, "%", "3 % is what counts as flat"
    )


def _judge_start(start: Start) -> Iterator[Target]:
    yield Target(
        "ready once the database is reachable",
        max(start.process, start.database),
        2.0,
        "s",
        f"{start.process:.2f} s from the start of the process,"
        f" {start.database:.2f} s where the database came later",
    )
    yield Target("importing the admission path", start.imports, 0.6, "s", "of a processor")
    yield Target(
        "modules imported that no admission needs",
        len(start.slow),
        0,
        "",
        ", ".join(start.slow) or "none of SciPy, MCP, Kubernetes, SQLAlchemy and Alembic",
    )


def _judge_far(far: Far) -> Iterator[Target]:
    yield Target(
        f"p50 at 1 connection, database {far.distance:g} ms away",
        far.one.p50,
        2 * far.round_trip + 5,
        "ms",
        f"a round trip takes {far.round_trip:.1f} ms",
    )
    yield Target(
        f"32 connections against 1, database {far.distance:g} ms away",
        far.many.per_second / far.one.per_second,
        10,
        "x",
        f"{far.many.per_second:.0f} and {far.one.per_second:.0f} per s",
        is_floor=True,
    )
