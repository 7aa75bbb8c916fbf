"""The partitions that traces are written to."""

from datetime import datetime
from typing import Protocol


class Partitions(Protocol):
    """The monthly partitions of traces."""

    async def ensure(self, *, now: datetime, months_ahead: int) -> list[str]:
        """Make the partitions of this month and those ahead; return the names of the new ones."""
        ...
