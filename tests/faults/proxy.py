"""A connection to PostgreSQL that breaks in the middle of a statement, or before its reply."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
# Only what writes a trace carries its columns.
_MARK = b"change_fingerprint"
_CHUNK = 65_536
_REPLY_LIMIT = 10


class Break(StrEnum):
    """Where the connection of the next trace breaks."""

    IN_THE_STATEMENT = "in the statement"
    BEFORE_THE_REPLY = "before the reply"


class Proxy:
    """Forwards to a server's Unix socket, but for the one write that it is told to break."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._parts = parts
        self._port = 0
        self.breaks: Break | None = None
        self.broken = 0
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def dsn(self) -> str:
        """Return how to connect through the proxy."""
        return f"postgresql://postgres@{HOST}:{self._port}{self._parts.path}?sslmode=disable"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        """Listen until the block is left."""
        server = await asyncio.start_server(self._serve, HOST, 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for handler in list(self._handlers):
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        writers = [answer]
        try:
            server, ask = await asyncio.open_unix_connection(self._socket)
            writers.append(ask)
            async with asyncio.TaskGroup() as both:
                replies = both.create_task(_forward(server, answer))
                both.create_task(self._watch(client, ask, server, replies))
        except* OSError:
            pass  # one side has gone, or was made to
        finally:
            for writer in writers:
                writer.transport.abort()
            self._handlers.discard(handler)

    async def _watch(
        self,
        client: asyncio.StreamReader,
        ask: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        replies: "asyncio.Task[None]",
    ) -> None:
        while content := await client.read(_CHUNK):
            if self.breaks is None or _MARK not in content or b"unnest" in content:
                ask.write(content)
                await ask.drain()
                continue
            how, self.breaks = self.breaks, None
            self.broken += 1
            if how is Break.IN_THE_STATEMENT:
                ask.write(content[: len(content) // 2])
                await ask.drain()
            else:
                replies.cancel()
                ask.write(content)
                await ask.drain()
                async with asyncio.timeout(_REPLY_LIMIT):
                    await server.read(_CHUNK)  # it has committed by then
            raise ConnectionResetError
        raise ConnectionResetError


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while content := await source.read(_CHUNK):
        target.write(content)
        await target.drain()
    raise ConnectionResetError
