"""Keep-alive connections, and stopping without losing a request."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from aiohttp import ClientSession, web

from gate.webhook.server import Server
from tests.reviews import StoredWorkload
from tests.webhook.gateway import TOKEN, Gateway, running_gateway
from tests.webhook.stores import StalledHistories
from tests.webhook.tls import HOST, TestAuthority


@dataclass
class Connection:
    """One keep-alive connection, as the API server holds several."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self) -> tuple[dict[str, str], bool]:
        """Send a review; return the headers in lower case, and whether it was admitted."""
        self.send()
        return await self.read()

    def send(self) -> None:
        body = json.dumps(StoredWorkload().scale(3)).encode()
        self.writer.write(
            f"POST /validate/{TOKEN}?timeout=10s HTTP/1.1\r\nHost: gate\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def read(self) -> tuple[dict[str, str], bool]:
        """Read one answer off the connection."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        assert status == "HTTP/1.1 200 OK"
        headers = {name.lower(): value for name, value in (line.split(": ") for line in lines)}
        body = json.loads(await self.reader.readexactly(int(headers["content-length"])))
        return headers, body["response"]["allowed"]

    async def is_closed(self) -> bool:
        """Wait until the server has closed the connection."""
        return await self.reader.read() == b""


@asynccontextmanager
async def connected(gateway: Gateway, authority: TestAuthority) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(HOST, gateway.server.port, ssl=authority.trust())
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_connection_is_kept_alive(gateway: Gateway, authority: TestAuthority) -> None:
    async with connected(gateway, authority) as connection:
        answers = [await connection.ask() for _ in range(20)]

    assert all(allowed for _, allowed in answers)
    assert not any("connection" in headers for headers, _ in answers)


async def test_one_answer_in_a_thousand_asks_the_client_to_connect_anew(
    authority: TestAuthority,
) -> None:
    async with (
        running_gateway(authority, chance=0.0009) as gateway,
        connected(gateway, authority) as connection,
    ):
        retired, _ = await connection.ask()
        assert await connection.is_closed()
    async with (
        running_gateway(authority, chance=0.001) as gateway,
        connected(gateway, authority) as connection,
    ):
        kept, _ = await connection.ask()

    assert retired["connection"] == "close"
    assert "connection" not in kept


async def test_draining_server_serves_old_and_new_connections_and_closes_each(
    gateway: Gateway, authority: TestAuthority
) -> None:
    async with connected(gateway, authority) as old, asyncio.TaskGroup() as group:
        before, _ = await old.ask()
        draining = group.create_task(gateway.server.drain(timedelta(seconds=1)))
        await asyncio.sleep(0)
        during, is_admitted = await old.ask()
        assert await old.is_closed()
        async with connected(gateway, authority) as new:
            late, is_late_admitted = await new.ask()
            assert await new.is_closed()
        assert gateway.server.is_draining
        assert not draining.done()
        port = gateway.server.port

    assert "connection" not in before
    assert is_admitted
    assert is_late_admitted
    assert during["connection"] == late["connection"] == "close"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)


async def test_request_in_flight_is_answered_after_the_server_stopped_listening(
    authority: TestAuthority,
) -> None:
    histories = StalledHistories()
    async with (
        running_gateway(authority, histories=histories) as gateway,
        connected(gateway, authority) as connection,
        asyncio.TaskGroup() as group,
    ):
        connection.send()
        await histories.is_asked.wait()
        stopping = group.create_task(gateway.server.drain(timedelta(0)))
        while gateway.server._runner.addresses:  # noqa: ASYNC110 - nothing tells when it is done
            await asyncio.sleep(0)
        assert not stopping.done()
        histories.answers.set()
        headers, is_admitted = await connection.read()

    assert is_admitted
    assert headers["connection"] == "close"
    assert len(histories.recordings) == 1


async def test_idle_connection_is_closed_when_the_server_stops(
    gateway: Gateway, authority: TestAuthority
) -> None:
    async with connected(gateway, authority) as connection:
        await connection.ask()

        await gateway.server.stop()

        assert await connection.is_closed()


async def test_stopping_twice_is_the_same_as_once(gateway: Gateway) -> None:
    port = gateway.server.port

    await gateway.server.stop()
    await gateway.server.stop()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)


async def test_address_in_use_is_an_error_and_leaves_nothing_behind(gateway: Gateway) -> None:
    second = Server(web.Application(), host=HOST, port=gateway.server.port)

    with pytest.raises(OSError, match="address already in use"):
        await second.start()


async def test_plain_server_needs_no_certificate() -> None:
    server = Server(web.Application(), host=HOST, port=0)
    await server.start()
    try:
        url = f"http://{HOST}:{server.port}/"
        async with ClientSession() as session, session.get(url) as response:
            assert response.status == 404
    finally:
        await server.stop()


def test_nothing_older_than_tls_1_2_is_spoken(authority: TestAuthority) -> None:
    context = authority.serve()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED

    Server(web.Application(), host=HOST, port=0, ssl_context=context)

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_stricter_tls_is_left_as_it_is(authority: TestAuthority) -> None:
    context = authority.serve()
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    Server(web.Application(), host=HOST, port=0, ssl_context=context)

    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
