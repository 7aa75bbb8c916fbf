"""Serves a handler over TCP, and stops without losing a request."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import HttpVersion11, web

from gate.webhook import http_log

# The API server keeps idle connections for 90 s: ours must outlive them, else it writes to one that
# we have just closed.
_KEEP_ALIVE = timedelta(seconds=120)
_FINISH_WITHIN = timedelta(seconds=15)
# One answer in so many asks the client to connect anew. The API server's connections stick to one
# replica; the busier one is, the sooner its load spreads over replicas that came later.
_ANSWERS_PER_CONNECTION = 1000

# What is served is one function: a router costs more than all that the few paths here need.
Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server:
    """One listening port with the handler behind it."""

    def __init__(
        self,
        handler: Handler,
        *,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Prepare to listen; port 0 is any free one, `chance` gives numbers from 0 to below 1."""
        if ssl_context is not None:
            ssl_context.minimum_version = max(ssl_context.minimum_version, ssl.TLSVersion.TLSv1_2)
        self._handler = handler
        self._runner: web.ServerRunner | None = None
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._chance = chance
        self._is_draining = False

    @property
    def port(self) -> int:
        """Return the port that is listened on, once the server has started."""
        if self._runner is None:
            raise RuntimeError("the server has not started")
        return int(self._runner.addresses[0][1])

    @property
    def is_draining(self) -> bool:
        """Tell whether the server is about to stop and should get no new clients."""
        return self._is_draining

    async def start(self) -> None:
        """Start to listen; raises OSError where the address cannot be had."""
        server = web.Server(
            self._answer,
            access_log=None,
            logger=http_log.logger,
            keepalive_timeout=_KEEP_ALIVE.total_seconds(),
            # Whoever reaches the port could otherwise make us unpack any number of bytes.
            auto_decompress=False,
        )
        self._runner = runner = web.ServerRunner(
            server, shutdown_timeout=_FINISH_WITHIN.total_seconds()
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._ssl_context).start()
        except OSError:
            await runner.cleanup()
            raise

    async def drain(self, grace: timedelta) -> None:
        """Serve on for all of `grace`, asking every client to go elsewhere, then stop.

        New connections are still accepted meanwhile: clients learn only after a while that this
        server is no longer one of the service's endpoints.
        """
        self._is_draining = True
        await asyncio.sleep(grace.total_seconds())
        await self.stop()

    async def stop(self) -> None:
        """Stop listening, finish the requests that are being answered, close all connections."""
        self._is_draining = True
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and tell the client where it is to connect anew."""
        refusal = await _invite_body(http) if "Expect" in http.headers else None
        response = refusal or await self._handler(http)
        if self._is_draining or self._chance() * _ANSWERS_PER_CONNECTION < 1:
            response.force_close()
        return response


async def _invite_body(http: web.BaseRequest) -> web.Response | None:
    """Have a client that asked first send its body; return what refuses it another wish."""
    if http.version < HttpVersion11:
        return None
    if http.headers["Expect"].lower() != "100-continue":
        return web.Response(
            status=HTTPStatus.EXPECTATION_FAILED, text="only 100-continue can be expected here\n"
        )
    await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # The answer itself has not begun: what fails from here on can still be told.
    http.writer.output_size = 0
    return None
