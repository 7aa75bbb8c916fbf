"""Patterns, detections and cooldowns for people, as rows with the names of their columns."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import Statement, load_statement

AT_MOST = 1000

_PATTERNS = load_statement("list_pattern_rows")
_SETTINGS = load_statement("list_policy_settings")
_DETECTIONS = load_statement("list_detections")
_DETECTION = load_statement("find_detection")
_COOLDOWNS = load_statement("list_cooldowns")
_PATIENCE = timedelta(seconds=30)

Row = Mapping[str, object]


class PostgresReports:
    """Reads what people ask for.

    Everything raises StorageUnavailableError when PostgreSQL does not answer within 30 s.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_patterns(self) -> list[Row]:
        """Return every pattern, those that are looked for first."""
        return await self._fetch(_PATTERNS)

    async def find_policy_settings(self) -> Row | None:
        """Return the modes; None where no policy file was ever applied."""
        rows = await self._fetch(_SETTINGS)
        return rows[0] if rows else None

    async def list_detections(
        self, *, cluster: str, namespace: str, since: datetime, now: datetime, only_open: bool
    ) -> list[Row]:
        """Return the newest detections since an instant, at most AT_MOST, or only what binds now.

        An empty cluster or namespace means any.
        """
        return await self._fetch(
            _DETECTIONS,
            cluster=cluster,
            namespace=namespace,
            since=since,
            now=now,
            only_open=only_open,
            at_most=AT_MOST,
        )

    async def find_detection(self, detection_id: int) -> Row | None:
        """Return one detection; None where there is no such one."""
        rows = await self._fetch(_DETECTION, id=detection_id)
        return rows[0] if rows else None

    async def list_cooldowns(self, *, cluster: str, namespace: str, now: datetime) -> list[Row]:
        """Return the enforced detections that bind now, at most AT_MOST, those that end first.

        An empty cluster or namespace means any.
        """
        return await self._fetch(
            _COOLDOWNS, cluster=cluster, namespace=namespace, now=now, at_most=AT_MOST
        )

    async def _fetch(self, statement: Statement, **values: object) -> list[Row]:
        deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        return [_as_row(r) for r in await fetch(self._pool, statement, deadline=deadline, **values)]


def _as_row(record: asyncpg.Record) -> Row:
    return {name: _as_plain(value) for name, value in record.items()}


def _as_plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_as_plain(item) for item in value]
    return str(value) if isinstance(value, UUID) else value
