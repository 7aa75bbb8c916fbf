"""`gate serve`: one replica in a cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import structlog

from gate.app import Running, run
from gate.settings import ServeSettings, load_settings
from gate.telemetry import configure_logging

log = structlog.get_logger(__name__)


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

    await run(settings, announce=announce)
