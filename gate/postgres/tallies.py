"""Sums of detections, and what comes to its end by itself: detections and escalations."""

import asyncio
from datetime import timedelta

from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import Statement, load_statement

_SUM = load_statement("sum_detections")
_RESOLVE = load_statement("resolve_detections")
_EXPIRE = load_statement("expire_escalations")
_PATIENCE = timedelta(seconds=10)
_AT_MOST = 1000
# A replica whose clock is a little behind must not find a promise broken before its time.
_SLACK = timedelta(minutes=1)
# As far back as outcomes are looked for: what holds an approval longer will never use it.
_RESERVED_FOR = timedelta(hours=24)


class PostgresTallies:
    """Each step does at most 1000 rows and may be run by several replicas at once.

    Raises StorageUnavailableError when PostgreSQL does not answer within 10 s.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sum_detections(self) -> int:
        """Add new detections to the sums of their patterns, each exactly once."""
        return await self._do(_SUM, at_most=_AT_MOST)

    async def resolve_detections(self) -> int:
        """Resolve detections that have bound nobody for a minute."""
        return await self._do(_RESOLVE, at_most=_AT_MOST, slack=_SLACK)

    async def expire_escalations(self) -> int:
        """Expire what nobody answered or used in time, and move the versions of its workloads."""
        return await self._do(_EXPIRE, at_most=_AT_MOST, patience=_RESERVED_FOR)

    async def _do(self, statement: Statement, **values: object) -> int:
        deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        (row,) = await fetch(self._pool, statement, deadline=deadline, **values)
        return int(row["done"])
