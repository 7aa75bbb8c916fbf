"""`python -m bench`: measures floors and gate, and says which targets are met."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg
import uvloop

from bench.circumstances import (
    DISTANCES,
    count_idle_statements,
    measure_far,
    measure_hot,
    measure_memory,
    measure_start,
)
from bench.load import Fared
from bench.report import describe_machine, show_rounds, show_targets, write_results
from bench.rounds import Sides, measure_rounds
from bench.stage import (
    CLUSTER,
    Server,
    Stage,
    await_ready,
    make_stage,
    read_metrics,
    running_ceiling,
    running_gate,
    running_generator,
)
from bench.targets import Books, Findings, judge
from gate.postgres.embedded import EmbeddedServer
from gate.postgres.schema import migrate
from gate.telemetry import configure_logging
from testbed.metrics import count

RESULTS: Final = Path(__file__).with_name("results.json")
# A replica that has just become ready becomes the leader soon after.
_SETTLING: Final = timedelta(seconds=5)
_IDLE: Final = timedelta(seconds=10)
_HOT_SECONDS: Final = 4.0
_FLOOR_CLUSTER: Final = "floor"


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"bench: {text}\n")


async def run_bench(folder: Path, options: argparse.Namespace) -> bool:
    """Measure everything, write and print it; return whether every target was met.

    Of a quick look, only what must not happen at all counts.
    """
    stage = make_stage(folder)
    async with EmbeddedServer(folder / "postgres") as postgres:
        await migrate(postgres.dsn)
        about = {"machine": describe_machine(), "postgres": await _describe(postgres.dsn)}
        say(f"{about}")
        found = await _measure(stage, postgres.dsn, options)
    targets = judge(found)
    write_results(RESULTS, found, targets, about=about)
    sys.stdout.write(f"{about}\n\n{show_rounds(found.rounds)}\n\n{show_targets(targets)}\n")
    return all(target.is_met for target in targets if target.is_absolute or not options.quick)


async def _measure(stage: Stage, dsn: str, options: argparse.Namespace) -> Findings:
    socket = _find_socket(dsn)
    async with (
        running_generator() as generator,
        running_gate(stage, dsn, name="gate") as gate,
    ):
        await await_ready(gate)
        await asyncio.sleep(_SETTLING.total_seconds())
        async with running_ceiling(stage) as ceiling:
            sides = Sides(
                stage, generator, ceiling, gate, stage.load_settings(dsn, cluster=_FLOOR_CLUSTER)
            )
            rounds = await measure_rounds(
                sides, rounds=options.rounds, seconds=options.seconds, say=say
            )
        say("one hot workload")
        hot = await measure_hot(stage, generator, gate, seconds=_HOT_SECONDS)
        asked = [pair.gate for pairs in rounds.pairs.values() for pair in pairs] + [hot]
        memory, runs = await measure_memory(
            stage,
            generator,
            gate,
            answered=_count_answers(asked),
            until=options.admissions,
            say=say,
        )
        say("idle")
        idle = await count_idle_statements(dsn, over=_IDLE)
        books = await _balance(dsn, gate, answered=_count_answers([*asked, *runs]))
        say("a database far away")
        far = tuple(
            [
                await measure_far(stage, generator, socket, distance, seconds=options.seconds)
                for distance in DISTANCES
            ]
        )
    say("starting")
    start = await measure_start(stage, dsn, socket)
    return Findings(rounds, hot, far, memory, start, idle, books)


def _count_answers(runs: list[Fared]) -> int:
    return sum(fared.admitted + fared.refused for fared in runs)


async def _balance(dsn: str, gate: Server, *, answered: int) -> Books:
    """Compare what was answered with what gate counted and PostgreSQL holds."""
    metrics = await read_metrics(gate)
    connection = await asyncpg.connect(dsn)
    try:
        recorded = await connection.fetchval(
            "SELECT coalesce(sum(attempts), 0) FROM resource_action_traces WHERE cluster = $1",
            CLUSTER,
        )
        await connection.execute("SELECT pg_stat_force_next_flush()")
        deadlocks = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    return Books(
        answered=answered,
        counted=int(count(metrics, "gate_admission_reviews_total")),
        recorded=int(recorded),
        failures=int(count(metrics, "gate_admission_failures_total")),
        deadlocks=int(deadlocks),
    )


async def _describe(dsn: str) -> Mapping[str, str]:
    """Return what a commit is worth; raises RuntimeError where it is not what it should be."""
    connection = await asyncpg.connect(dsn)
    try:
        described = {
            name: str(await connection.fetchval(f"SHOW {name}"))
            for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes")
        }
    finally:
        await connection.close()
    if described["fsync"] != "on" or described["synchronous_commit"] != "on":
        raise RuntimeError(f"commits are not durable here: {described}")
    return described


def _find_socket(dsn: str) -> Path:
    """Return the Unix socket of the embedded server."""
    folder = dsn.partition("host=")[2].partition("&")[0]
    return next(path for path in Path(folder).glob(".s.PGSQL.*") if path.is_socket())


def main() -> None:
    """Run the benchmark with the options given."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure; default 3")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each time; default 2")
    parser.add_argument(
        "--admissions", type=int, default=100_000, help="until the memory is judged"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one short round; exit 1 only for what must not happen, not for what is slow",
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.admissions = 1, 1.0, 10_000
    configure_logging("ERROR")
    with tempfile.TemporaryDirectory(prefix="gate-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        is_met = uvloop.run(run_bench(folder, options))
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
