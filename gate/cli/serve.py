"""`gate serve`: one replica in a cluster."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import structlog

from gate.app import Running, run
from gate.settings.knobs import ServeSettings
from gate.settings.loading import load_settings
from gate.telemetry import configure_logging

log = structlog.get_logger(__name__)

# How many objects may come to be, beyond those that went, before cycles among them are looked for.
_YOUNG_OBJECTS = 100_000


async def run_serve() -> None:
    """Serve until cancelled; raises GateError where gate cannot start."""
    settings = load_settings(ServeSettings)
    configure_logging(settings.log_level.upper())

    @asynccontextmanager
    async def announce(running: Running) -> AsyncIterator[None]:
        log.info(
            "server.listening",
            host=settings.listen_host,
            port=running.webhook_port,
            probe_port=running.probe_port,
            mode=settings.mode,
            agents=asdict(running.agents),
        )
        yield

    _settle_memory()
    await run(settings, announce=announce)


def _settle_memory() -> None:
    """Look for cycles seldom, and not among what was imported, which stays for good.

    A review makes hundreds of objects and leaves no cycle. To look for one takes a tenth of its
    time, most of it for what falls out of the processor's cache.
    """
    gc.collect()
    gc.freeze()
    _, *older = gc.get_threshold()
    gc.set_threshold(_YOUNG_OBJECTS, *older)
