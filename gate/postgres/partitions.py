"""The monthly partitions of traces."""

import asyncio
from datetime import UTC, date, datetime, timedelta

from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

_ENSURE = load_statement("ensure_partition")
_PATIENCE = timedelta(seconds=10)
_MONTHS = 12


class PostgresPartitions:
    """Makes partitions; any number of replicas may do so at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ensure(self, *, now: datetime, months_ahead: int) -> list[str]:
        """Make the partitions of this month and those ahead; return the names of the new ones.

        Each month is a transaction of its own, at most 10 s long, so that admissions never wait
        for all of them. Raises StorageUnavailableError where one cannot be made.
        """
        made = []
        for ahead in range(months_ahead + 1):
            (row,) = await fetch(
                self._pool,
                _ENSURE,
                deadline=asyncio.get_running_loop().time() + _PATIENCE.total_seconds(),
                day=_first_day(now, ahead),
            )
            if row["made"] is not None:
                made.append(row["made"])
        return made


def _first_day(now: datetime, months_ahead: int) -> date:
    """Return the first day of a month, in UTC, counted from the month of an instant."""
    today = now.astimezone(UTC).date()
    years, month = divmod(today.month - 1 + months_ahead, _MONTHS)
    return date(today.year + years, month + 1, 1)
