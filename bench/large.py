"""`python -m bench.large`: what a large history costs an admission, against a small one.

Two databases on one server hold ten changes of each workload over the last week: one of a thousand
workloads, one of a million. Reviews ask about a thousand of them, in both.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg
import uvloop

from bench.load import Fared, Run
from bench.report import describe_machine, rounded
from bench.reviews import FIRST_VERSION, LEAST, WORKLOADS_PER_NAMESPACE
from bench.stage import (
    Generator,
    Server,
    Stage,
    await_ready,
    make_stage,
    running_gate,
    running_generator,
)
from gate.postgres.embedded import EmbeddedServer
from gate.postgres.schema import migrate
from gate.services.clock import utc_now
from gate.telemetry import configure_logging

RESULTS: Final = Path(__file__).with_name("large.json")
CHANGES: Final = 10
ASKED: Final = 1000
LIMIT: Final = 1.2
_APART: Final = timedelta(hours=15)  # ten changes of a workload then fill most of a week
_RATE: Final = 100

_PARTITION: Final = "SELECT gate_ensure_partition($1)"
_WORKLOADS: Final = """
INSERT INTO resource_references (cluster, namespace, kind, name, resource_uid, labels, last_seen)
SELECT
    seed.cluster, $1 || '-' || n / $2::bigint, seed.kind, 'web-' || n,
    '00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), seed.labels, now()
FROM resource_references AS seed, generate_series(0, $3::bigint - 1) AS n
WHERE seed.namespace = 'seed-0'
"""
_HISTORIES: Final = """
INSERT INTO action_histories (resource_id, version, total_actions, last_action_at)
SELECT id, $2::bigint, $2::bigint, now()
FROM resource_references
WHERE namespace LIKE $1 || '-%'
ORDER BY id
"""
# Of this connection alone, while it fills: rows that are copies break no reference.
_LOADING: Final = (
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '512MB'",
)
_INDEXES: Final = """
SELECT
    i.indexrelid::regclass::text AS name,
    replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') AS definition
FROM pg_index AS i
WHERE i.indrelid = 'resource_action_traces'::regclass AND NOT i.indisprimary
"""
# Each row is a copy of one that gate itself wrote, at another place and time.
_TRACES: Final = """
INSERT INTO resource_action_traces
SELECT filled.*
FROM (SELECT t FROM resource_action_traces AS t WHERE namespace = 'seed-0' LIMIT 1) AS seed,
    (
        SELECT
            r.namespace, r.name, r.resource_uid, h.id AS history,
            $2::bigint AS number, h.id || ' ' || $2::bigint AS place,
            date_trunc('milliseconds', $3::timestamptz + h.id % 1000000 * interval '20 ms') AS at
        FROM resource_references AS r
        JOIN action_histories AS h ON h.resource_id = r.id
        WHERE r.namespace LIKE $1 || '-%'
        ORDER BY r.id
    ) AS change,
    jsonb_populate_record(
        seed.t,
        jsonb_build_object(
            'id', nextval('resource_action_traces_id_seq'),
            'action_history_id', change.history,
            'version', change.number,
            'action_id',
            lpad(to_hex((extract(epoch FROM change.at) * 1000)::bigint), 12, '0')
            || '7' || substr(md5(change.place), 1, 3) || '8' || substr(md5(change.place), 4, 15),
            'action_timestamp', change.at,
            'namespace', change.namespace,
            'name', change.name,
            'resource_uid', change.resource_uid,
            'request_uid', change.place,
            'change_fingerprint', md5(change.number::text),
            'request_fingerprint', md5(change.place),
            'old_resource_version', ($4::bigint + change.number)::text,
            'old_generation', change.number,
            'execution_status', 'completed',
            'action_parameters', jsonb_set(
                jsonb_set(
                    (seed.t).action_parameters, '{changes,0,before}',
                    to_jsonb($5::bigint + change.number - 1)
                ),
                '{changes,0,after}', to_jsonb($5::bigint + change.number)
            ),
            'resource_state_before', jsonb_set(
                (seed.t).resource_state_before, '{replicas}',
                to_jsonb($5::bigint + change.number - 1)
            ),
            'resource_state_after', jsonb_set(
                (seed.t).resource_state_after, '{replicas}', to_jsonb($5::bigint + change.number)
            )
        )
    ) AS filled
"""


@dataclass(frozen=True, slots=True)
class Sized:
    """One database, and the gate that works on it."""

    workloads: int
    dsn: str
    gate: Server

    @property
    def traces(self) -> int:
        """Return how many traces it was filled with."""
        return self.workloads * CHANGES

    @property
    def pool(self) -> str:
        """Return the name of its workloads' pool."""
        return f"aged{self.workloads}"


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"bench: {text}\n")


async def run_large(folder: Path, options: argparse.Namespace) -> bool:
    """Fill both databases, measure them in turn, and write what was found."""
    stage = make_stage(folder)
    async with (
        EmbeddedServer(folder / "postgres") as postgres,
        running_generator() as generator,
        AsyncExitStack() as stack,
    ):
        sized = [
            await stack.enter_async_context(_filling(stage, generator, postgres.dsn, workloads))
            for workloads in (ASKED, options.traces // CHANGES)
        ]
        measured = await _measure(stage, generator, sized, options)
        sizes = {str(each.traces): await _measure_size(each.dsn) for each in sized}
    small, large = sized
    ratios = {
        name: median(
            getattr(of_large, name) / getattr(of_small, name)
            for of_small, of_large in zip(measured[small], measured[large], strict=True)
        )
        for name in ("p50", "p99")
    }
    results = {
        "machine": describe_machine(),
        "traces": [small.traces, large.traces],
        "bytes": sizes,
        "reviews_per_second": _RATE,
        "ratios": ratios,
        "limit": LIMIT,
        "is_met": ratios["p99"] <= LIMIT,
        "runs": {str(each.traces): [asdict(fared) for fared in measured[each]] for each in sized},
    }
    RESULTS.write_text(json.dumps(rounded(results), indent=2) + "\n", encoding="utf-8")
    verdict = "met   " if results["is_met"] else "MISSED"
    sys.stdout.write(
        f"{verdict}  p99 with {large.traces} traces: {ratios['p99']:.2f} ≤ {LIMIT}"
        f" x that with {small.traces} (p50: {ratios['p50']:.2f} x)\n"
    )
    return bool(results["is_met"])


async def _measure(
    stage: Stage, generator: Generator, sized: Sequence[Sized], options: argparse.Namespace
) -> dict[Sized, list[Fared]]:
    measured: dict[Sized, list[Fared]] = {each: [] for each in sized}
    for number in range(options.rounds):
        for each in sized if number % 2 == 0 else reversed(sized):
            fared = await generator.measure(
                Run(
                    stage.aim(each.gate.port),
                    pool=each.pool,
                    workloads=ASKED,
                    age=CHANGES,
                    stride=each.workloads // ASKED,
                    connections=32,
                    rate=_RATE,
                    seconds=options.seconds,
                )
            )
            say(
                f"round {number + 1}: {each.traces} traces:"
                f" p50 {fared.p50:.2f} ms, p99 {fared.p99:.2f} ms"
            )
            measured[each].append(fared)
    return measured


@asynccontextmanager
async def _filling(
    stage: Stage, generator: Generator, server: str, workloads: int
) -> AsyncIterator[Sized]:
    """Make a database, have gate write one trace to copy, fill it, and run gate on it."""
    name = f"aged{workloads}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    dsn = server.replace("@/postgres?", f"@/{name}?")
    await migrate(dsn)
    async with running_gate(stage, dsn, name=f"{name}-seed") as gate:
        await await_ready(gate)
        seed = Run(stage.aim(gate.port), pool="seed", at_most=1, warm_up=0)
        await generator.measure(seed)
    await _fill(dsn, name, workloads)
    async with running_gate(stage, dsn, name=name) as gate:
        await await_ready(gate)
        yield Sized(workloads, dsn, gate)


async def _fill(dsn: str, pool: str, workloads: int) -> None:
    connection = await asyncpg.connect(dsn)
    before = time.perf_counter()
    try:
        for setting in _LOADING:
            await connection.execute(setting)
        now = utc_now()
        await connection.execute(_PARTITION, (now - CHANGES * _APART).date())
        await connection.execute(_WORKLOADS, pool, WORKLOADS_PER_NAMESPACE, workloads)
        await connection.execute(_HISTORIES, pool, CHANGES)
        indexes = await connection.fetch(_INDEXES)
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
        for number in range(1, CHANGES + 1):
            at = now - (CHANGES + 1 - number) * _APART
            await connection.execute(_TRACES, pool, number, at, FIRST_VERSION, LEAST)
            took = time.perf_counter() - before
            say(f"{pool}: {workloads * number} traces after {took:.0f} s")
        for index in indexes:  # made once for all rows, they cost a fraction
            await connection.execute(index["definition"])
        say(f"{pool}: indexes after {time.perf_counter() - before:.0f} s")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _measure_size(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT pg_database_size(current_database())"))
    finally:
        await connection.close()


def main() -> None:
    """Run the comparison with the options given."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--traces", type=int, default=10_000_000, help="in the large database")
    parser.add_argument("--rounds", type=int, default=6, help="how often to measure; default 6")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each; default 15")
    options = parser.parse_args()
    configure_logging("ERROR")
    with tempfile.TemporaryDirectory(prefix="gate-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        is_met = uvloop.run(run_large(folder, options))
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
