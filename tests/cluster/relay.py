"""A relay before the API server, which can fall silent or refuse as a network or restart does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on until it is told otherwise."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False

    def stall(self) -> None:
        """Let nothing through, and keep every connection."""
        self._flows.clear()

    def cut(self) -> None:
        """Break every connection, and accept none."""
        self._refuses = True
        for writer in self._writers:
            writer.transport.abort()

    def resume(self) -> None:
        """Let everything through again; what a stall held back is lost with its connection."""
        if not self._flows.is_set():
            for writer in self._writers:
                writer.transport.abort()
        self._refuses = False
        self._flows.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if self._refuses:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        both = {writer, far_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, far_writer))
                tasks.create_task(self._pass(far_reader, writer))
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def relayed(kubeconfig: Path, directory: Path) -> AsyncIterator[tuple[Relay, Path]]:
    """Return a relay to the API server of a kubeconfig, and a kubeconfig that goes through it."""
    config = json.loads(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    relay = Relay(urlsplit(cluster["server"]).port or 443)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    cluster["server"] = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    path = directory / "relayed.kubeconfig"
    path.write_text(json.dumps(config))
    try:
        yield relay, path
    finally:
        relay.cut()
        server.close()
