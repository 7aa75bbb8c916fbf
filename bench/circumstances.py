"""What is measured apart from rounds: one hot workload, distance, memory, start and idleness."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg

from bench.load import Fared, Run
from bench.reviews import Kind
from bench.stage import (
    Generator,
    Server,
    Stage,
    await_ready,
    running_gate,
    running_proxy,
)
from testbed.ports import reserved_port

DISTANCES: Final = (timedelta(milliseconds=5), timedelta(milliseconds=40))
SLOW_IMPORTS: Final = ("alembic", "kubernetes_asyncio", "mcp", "numpy", "scipy", "sqlalchemy")
_PROBES: Final = 20
_IMPORTS: Final = 5
_SEVERAL: Final = 32
_BATCH: Final = 10_000
# How long it takes, in seconds, until all connections to a distant database are made.
_CONNECTING: Final = 1.5
_IMPORT: Final = (
    "import time; before = time.process_time()\n"
    "import gate.cli.process, gate.cli.serve\n"
    "print(time.process_time() - before)"
)


@dataclass(frozen=True, slots=True)
class Far:
    """A database some milliseconds away: what a round trip takes, one connection and many."""

    distance: float
    round_trip: float
    one: Fared
    many: Fared


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident MB by the number of admissions that a replica had answered."""

    resident: Mapping[int, float]

    @property
    def growth(self) -> float:
        """Return how much the last half of the admissions added, as a share."""
        half = max(self.resident) / 2
        middle = min(self.resident, key=lambda answered: abs(answered - half))
        return self.resident[max(self.resident)] / self.resident[middle] - 1


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds until ready: of a process, and of a replica whose database came late.

    `imports` is the least processor time in seconds that importing the admission path took, `slow`
    what it should not have imported.
    """

    process: float
    database: float
    imports: float
    slow: tuple[str, ...]


async def measure_hot(stage: Stage, generator: Generator, gate: Server, *, seconds: float) -> Fared:
    """Ask about one workload on many connections."""
    return await generator.measure(
        Run(stage.aim(gate.port), pool="hot", workloads=1, connections=_SEVERAL, seconds=seconds)
    )


async def measure_far(
    stage: Stage, generator: Generator, socket: Path, distance: timedelta, *, seconds: float
) -> Far:
    """Run another gate on the same database behind a proxy."""
    milliseconds = distance / timedelta(milliseconds=1)
    name = f"far-{milliseconds:g}ms"
    async with running_proxy(stage, socket, round_trip=distance) as proxy:
        dsn = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
        async with running_gate(stage, dsn, name=name) as gate:
            await await_ready(gate)
            found = [
                await generator.measure(
                    Run(
                        stage.aim(gate.port),
                        pool=f"{name}-{connections}",
                        connections=connections,
                        seconds=seconds,
                        warm_up=_CONNECTING,
                    )
                )
                for connections in (1, _SEVERAL)
            ]
            return Far(milliseconds, await _probe(dsn), *found)


async def _probe(dsn: str) -> float:
    """Return the p50 of a trivial statement in milliseconds."""
    connection = await asyncpg.connect(dsn)
    taken = []
    for _ in range(_PROBES):
        before = time.perf_counter()
        await connection.execute("SELECT 1")
        taken.append(time.perf_counter() - before)
    await connection.close()
    return sorted(taken)[len(taken) // 2] * 1e3


async def measure_memory(
    stage: Stage,
    generator: Generator,
    gate: Server,
    *,
    answered: int,
    until: int,
    say: Callable[[str], object],
) -> tuple[Memory, list[Fared]]:
    """Ask on until so many admissions are answered, and look at the memory meanwhile."""
    resident = {answered: gate.resident()}
    runs = []
    while answered < until:
        fared = await generator.measure(
            Run(
                stage.aim(gate.port),
                pool=f"memory-{answered}",
                kind=Kind.DEPLOYMENT,
                connections=_SEVERAL,
                workloads=_BATCH // 5,
                seconds=600,
                at_most=min(_BATCH, until - answered),
            )
        )
        runs.append(fared)
        answered += fared.admitted + fared.refused
        resident[answered] = gate.resident()
        say(f"memory: {resident[answered]:.0f} MB after {answered} admissions")
    return Memory(resident), runs


async def measure_start(stage: Stage, dsn: str, socket: Path) -> Start:
    """Start gate beside a database that is there, and one beside a database that comes later."""
    before = time.perf_counter()
    async with running_gate(stage, dsn, name="started") as gate:
        await await_ready(gate)
        process = time.perf_counter() - before
    with reserved_port() as port:
        late = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        watched = {"PYTHONPROFILEIMPORTTIME": "1"}
        async with running_gate(stage, late, name="waiting", environment=watched) as gate:
            await asyncio.sleep(2)  # it is between two attempts, as a replica at night is
            async with running_proxy(stage, socket, round_trip=timedelta(0), port=port):
                before = time.perf_counter()
                await await_ready(gate)
                database = time.perf_counter() - before
            slow = _find_imports(gate.log)
    imports = [await _time_import() for _ in range(_IMPORTS)]
    return Start(process, database, min(imports), slow)


def _find_imports(log: Path) -> tuple[str, ...]:
    """Return what a gate imported that it need not wait for, as Python itself told."""
    lines = log.read_text(encoding="utf-8").splitlines()
    imported = {
        line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")
    }
    if not imported:
        raise RuntimeError(f"Python told nothing about imports in {log}")
    return tuple(module for module in SLOW_IMPORTS if module in imported)


async def _time_import() -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _IMPORT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return float(output)


async def count_idle_statements(dsn: str, *, over: timedelta) -> int:
    """Return how many connections of the admission pools did anything in a time without reviews."""
    connection = await asyncpg.connect(dsn)
    try:
        before = await _list_activity(connection)
        await asyncio.sleep(over.total_seconds())
        after = await _list_activity(connection)
    finally:
        await connection.close()
    if not before:
        raise RuntimeError("there is no connection of an admission pool to look at")
    return len(after ^ before)


async def _list_activity(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> set[tuple[object, ...]]:
    rows = await connection.fetch(
        "SELECT pid, backend_start, query_start, state_change FROM pg_stat_activity"
        " WHERE application_name = 'gate admission'"
    )
    return {tuple(row) for row in rows}
