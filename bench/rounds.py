"""What is measured while nothing is wrong: rounds of floors and gate side by side.

The machine is never quiet. So both sides of a comparison are measured right after one another, in
changing order, several times over; what counts is the median of what the rounds say.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from bench.floors import time_statements
from bench.load import Fared, Run
from bench.reviews import Kind, Pool
from bench.stage import Generator, Server, Stage
from gate.settings.knobs import ServeSettings

CEILING: Final = "ceiling"
GATE: Final = "gate"
CONNECTIONS: Final = (1, 8, 32)
RATES: Final = (100, 500)
_WORKLOADS: Final = 1000
_SWINGING_EVERY: Final = 20
_STATEMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing that is measured: on a closed loop, or at a rate in reviews per second."""

    kind: Kind
    connections: int
    rate: int | None = None

    def __str__(self) -> str:
        pace = f"{self.connections} connections" if self.rate is None else f"{self.rate} per s"
        return f"{self.kind}, {pace}"


CELLS: Final = (
    *(Cell(kind, connections) for kind in Kind for connections in CONNECTIONS),
    *(Cell(Kind.DEPLOYMENT, CONNECTIONS[-1], rate) for rate in RATES),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """What one round says of a cell."""

    ceiling: Fared
    gate: Fared


@dataclass(frozen=True, slots=True)
class Rounds:
    """All rounds: of each cell its pairs, and of the statements alone the p50 in milliseconds."""

    pairs: dict[Cell, tuple[Pair, ...]]
    statements: tuple[float, ...]

    def ratio(self, cell: Cell, of: Callable[[Fared], float]) -> float:
        """Return the median of gate against the ceiling."""
        return median(of(pair.gate) / of(pair.ceiling) for pair in self.pairs[cell])

    def gate(self, cell: Cell, of: Callable[[Fared], float]) -> float:
        """Return the median of gate."""
        return median(of(pair.gate) for pair in self.pairs[cell])

    def ceiling(self, cell: Cell, of: Callable[[Fared], float]) -> float:
        """Return the median of the ceiling."""
        return median(of(pair.ceiling) for pair in self.pairs[cell])


@dataclass(frozen=True, slots=True)
class Sides:
    """Who is compared, and what the statements alone are issued by."""

    stage: Stage
    generator: Generator
    ceiling: Server
    gate: Server
    settings: ServeSettings


async def measure_rounds(
    sides: Sides, *, rounds: int, seconds: float, say: Callable[[str], object]
) -> Rounds:
    """Do the rounds, of which each measures everything once."""
    pairs: dict[Cell, list[Pair]] = {cell: [] for cell in CELLS}
    statements = []
    for number in range(rounds):
        pool = Pool(Kind.DEPLOYMENT, name=f"statements-{number}", size=_STATEMENTS // 4)
        taken = await time_statements(sides.settings, pool, admissions=_STATEMENTS)
        statements.append(median(taken) * 1e3)
        async for cell, pair in _measure_cells(sides, number, seconds):
            pairs[cell].append(pair)
            say(f"round {number + 1} of {rounds}: {cell}: {_describe(pair)}")
    return Rounds({cell: tuple(found) for cell, found in pairs.items()}, tuple(statements))


async def _measure_cells(
    sides: Sides, number: int, seconds: float
) -> AsyncIterator[tuple[Cell, Pair]]:
    for cell in CELLS:
        fared = {}
        for side in _order(number):
            server = sides.gate if side == GATE else sides.ceiling
            run = Run(
                sides.stage.aim(server.port),
                pool=f"{side}-{cell.kind}-{cell.connections}-{cell.rate}",
                kind=cell.kind,
                workloads=_WORKLOADS,
                swinging_every=_SWINGING_EVERY,
                connections=cell.connections,
                rate=cell.rate,
                seconds=seconds,
            )
            if cell.rate is not None:
                run = replace(run, seconds=seconds * 2)
            fared[side] = await sides.generator.measure(run)
        yield cell, Pair(fared[CEILING], fared[GATE])


def _order(number: int) -> Sequence[str]:
    return (CEILING, GATE) if number % 2 == 0 else (GATE, CEILING)


def _describe(pair: Pair) -> str:
    return ", ".join(
        f"{side} {fared.per_second:.0f} per s, p50 {fared.p50:.2f} ms, p99 {fared.p99:.2f} ms"
        for side, fared in ((CEILING, pair.ceiling), (GATE, pair.gate))
    )
