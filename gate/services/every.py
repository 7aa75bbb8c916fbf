"""Drives loops: a thing to do once, done again and again, with jitter and back-off."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from gate.errors import GateError
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_JITTER = 0.1
_SLOWEST = 8


async def every(
    period: timedelta, run_once: Callable[[], Awaitable[object]], *, name: str, metrics: Metrics
) -> None:
    """Run forever, first after one period; a failure doubles the pause, up to eight periods."""
    pause = 1
    while True:
        jitter = 1 + random.uniform(-_JITTER, _JITTER)  # noqa: S311 - spreads load, guards nothing
        await asyncio.sleep(period.total_seconds() * pause * jitter)
        try:
            await run_once()
        except GateError as error:
            pause = min(pause * 2, _SLOWEST)
            log.warning("loop.failed", loop=name, error=str(error), next_pause_periods=pause)
        else:
            pause = 1
            metrics.mark_loop(name)
