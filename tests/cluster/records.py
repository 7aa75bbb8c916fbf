"""What PostgreSQL holds about the workloads of a test."""

from dataclasses import dataclass
from typing import Any

import asyncpg

_TRACES = """
SELECT t.*
FROM resource_action_traces t
JOIN action_histories h ON h.id = t.action_history_id
JOIN resource_references r ON r.id = h.resource_id
WHERE r.namespace = $1 AND ($2 = '' OR r.name = $2)
ORDER BY t.version, t.action_timestamp
"""
_DETECTIONS = """
SELECT d.*
FROM oscillation_detections d
JOIN resource_references r ON r.id = d.resource_id
WHERE r.namespace = $1
ORDER BY d.id
"""


@dataclass(frozen=True)
class Records:
    """A reader of one database."""

    dsn: str

    async def traces(self, namespace: str, name: str = "") -> list[asyncpg.Record]:
        """Return the traces of a namespace or workload, in order of version."""
        return await self._fetch(_TRACES, namespace, name)

    async def detections(self, namespace: str) -> list[asyncpg.Record]:
        """Return the detections of a namespace, oldest first."""
        return await self._fetch(_DETECTIONS, namespace)

    async def texts(self) -> str:
        """Return every row of every table as text."""
        names = await self._fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') "
            "AND relnamespace = 'public'::regnamespace"
        )
        rows = [
            str(row["row"])
            for name in names
            for row in await self._fetch(
                f'SELECT t::text AS row FROM "{name["relname"]}" t'  # noqa: S608 - catalogue names
            )
        ]
        return "\n".join(rows)

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()
