"""Leases in a table: compare-and-set on the database's clock, so that any pooler will do."""

import asyncio
from datetime import timedelta

from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

_CLAIM = load_statement("claim_lease")
_RELEASE = load_statement("release_lease")
_PATIENCE = timedelta(seconds=3)


class PostgresLeases:
    """Takes and gives back leases; raises StorageUnavailableError after 3 s without an answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, name: str, *, holder: str, length: timedelta) -> bool:
        """Take a lease, or keep it, for so long from now; False where another holds it."""
        rows = await fetch(
            self._pool, _CLAIM, deadline=_deadline(), name=name, holder=holder, length=length
        )
        return bool(rows)

    async def release(self, name: str, *, holder: str) -> None:
        """Give a lease back, if it is held."""
        await fetch(self._pool, _RELEASE, deadline=_deadline(), name=name, holder=holder)


def _deadline() -> float:
    return asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
