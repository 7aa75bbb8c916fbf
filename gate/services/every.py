"""Drives loops: a thing to do once, done again and again, with jitter and back-off."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from gate.errors import GateError
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_JITTER = 0.2


async def every(
    period: timedelta,
    run_once: Callable[[], Awaitable[object]],
    *,
    name: str,
    metrics: Metrics,
    slowest: int = 8,
) -> None:
    """Run forever, first after one period at most, less a jitter of a fifth.

    A failure doubles the pause, up to `slowest` periods.
    """
    pause = 1
    while True:
        jitter = 1 - random.uniform(0, _JITTER)  # noqa: S311 - spreads load, guards nothing
        await asyncio.sleep(period.total_seconds() * pause * jitter)
        try:
            await run_once()
        except GateError as error:
            pause = min(pause * 2, slowest)
            log.warning("loop.failed", loop=name, error=str(error), next_pause_periods=pause)
        else:
            pause = 1
            metrics.mark_loop(name)
