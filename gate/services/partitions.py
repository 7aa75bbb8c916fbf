"""Partitions of traces, made months before a trace needs them."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from gate.ports.partitions import Partitions
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)


class PartitionKeeper:
    """Makes this month's partition and those ahead, and tells how far they reach."""

    def __init__(
        self,
        partitions: Partitions,
        *,
        months_ahead: int,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._partitions = partitions
        self._months_ahead = months_ahead
        self._clock = clock
        self._metrics = metrics

    async def run_once(self) -> list[str]:
        """Make the missing partitions and return their names."""
        now = self._clock()
        made = await self._partitions.ensure(now=now, months_ahead=self._months_ahead)
        horizon = find_horizon(now, months_ahead=self._months_ahead)
        # Asked at every scrape, so that it goes on falling while partitions cannot be made.
        self._metrics.partition_horizon.set_function(
            lambda: (horizon - self._clock()).total_seconds() / 86_400
        )
        if made:
            log.info("partitions.made", names=made, until=horizon.isoformat())
        return made


def find_horizon(now: datetime, *, months_ahead: int) -> datetime:
    """Return the first instant that no partition covers: a month's first, in UTC."""
    today = now.astimezone(UTC)
    years, month = divmod(today.month + months_ahead, 12)
    return datetime(today.year + years, month + 1, 1, tzinfo=UTC)
