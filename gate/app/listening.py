"""The two servers: reviews over TLS, and probes in plain HTTP."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from gate.errors import SettingsError
from gate.services.readiness import Readiness
from gate.settings.knobs import ServeSettings
from gate.webhook.server import Handler, Server

log = structlog.get_logger(__name__)


@asynccontextmanager
async def listening(
    handler: Handler, settings: ServeSettings, purpose: str
) -> AsyncIterator[Server]:
    """Serve probes until the block is left."""
    server = Server(handler, host=settings.probe_host, port=settings.probe_port)
    await _start(server, purpose, host=settings.probe_host, port=settings.probe_port)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def draining(
    handler: Handler, settings: ServeSettings, context: ssl.SSLContext, readiness: Readiness
) -> AsyncIterator[Server]:
    """Listen; when told to stop, be not ready and serve on until clients have gone elsewhere."""
    host, port = settings.listen_host, settings.listen_port
    server = Server(handler, host=host, port=port, ssl_context=context)
    await _start(server, "listen", host=host, port=port)
    try:
        yield server
    except asyncio.CancelledError:
        readiness.report("draining", "this replica is stopping")
        log.info("server.draining", seconds=settings.drain_seconds)
        await server.drain(settings.drain)
        raise
    finally:
        await server.stop()


async def _start(server: Server, purpose: str, *, host: str, port: int) -> None:
    try:
        await server.start()
    except OSError as error:
        raise SettingsError(
            f"{purpose}_port: {port} on {purpose}_host {host} cannot be listened on:"
            f" {os.strerror(error.errno) if error.errno else error}"
        ) from error
