"""Traces for people and reports."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from gate.domain.workload import WorkloadKey
from gate.ports.traces import HistoryRow
from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

_LIST = load_statement("list_traces")
_PATIENCE = timedelta(seconds=30)


class PostgresTraces:
    """Lists the traces of a workload."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_traces(self, key: WorkloadKey, *, since: datetime) -> list[HistoryRow]:
        """Return a workload's traces since an instant, oldest first.

        Raises StorageUnavailableError when PostgreSQL does not answer within 30 s.
        """
        rows = await fetch(
            self._pool,
            _LIST,
            deadline=asyncio.get_running_loop().time() + _PATIENCE.total_seconds(),
            cluster=key.cluster,
            namespace=key.namespace,
            kind=key.kind,
            name=key.name,
            since=since,
        )
        return [HistoryRow({name: _as_plain(value) for name, value in row.items()}) for row in rows]


def _as_plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    return float(value) if isinstance(value, Decimal) else value
