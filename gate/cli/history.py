"""`gate history`: what agents did to one workload, from PostgreSQL."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import orjson

from gate.cli.arguments import Output, parse_reference, parse_span
from gate.domain.words import describe_span, escape
from gate.domain.workload import WorkloadKey
from gate.ports.traces import HistoryRow
from gate.postgres.pool import close_pool, open_pool
from gate.postgres.traces import PostgresTraces
from gate.services.clock import utc_now
from gate.settings.knobs import Settings
from gate.settings.loading import load_settings

_CLOSE_WITHIN = 5  # seconds


async def run_history(reference: str, *, since: str, output: Output) -> None:
    """Print the traces of a workload, oldest first; raises GateError."""
    span = parse_span(since)
    settings = load_settings(Settings)
    key = parse_reference(reference, cluster=settings.cluster or "")
    rows = await _read(settings, key, span)
    if output is Output.JSON:
        sys.stdout.buffer.write(orjson.dumps([row.columns for row in rows], default=_plain))
        sys.stdout.write("\n")
    elif rows:
        from gate.cli.history_table import print_table  # noqa: PLC0415 - Rich is for tables only

        print_table(key, rows)
    else:
        print(f"No history of {escape(str(key))} within the last {describe_age(span)}.")


async def _read(settings: Settings, key: WorkloadKey, span: timedelta) -> Sequence[HistoryRow]:
    pool = await open_pool(
        settings.require_dsn(),
        size=1,
        statement_cache_size=settings.statement_cache_size,
        application_name="gate history",
    )
    try:
        return await PostgresTraces(pool).list_traces(key, since=utc_now() - span)
    finally:
        await close_pool(pool, grace=_CLOSE_WITHIN)


def describe_age(span: timedelta) -> str:
    """Return a time in words, in days where it is a number of them."""
    days, rest = divmod(span, timedelta(days=1))
    if rest:
        return describe_span(span)
    return "day" if days == 1 else f"{days} days"


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)
