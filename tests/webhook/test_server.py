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

from gate.webhook.server import Handler, Server
from tests.reviews import StoredWorkload
from tests.webhook.gateway import TOKEN, Gateway, running_gateway, serve_nothing
from tests.webhook.stores import StalledHistories
from tests.webhook.tls import HOST, TestAuthority

REVIEW = json.dumps(StoredWorkload().scale(3)).encode()


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
        self.send_head()
        self.send_body()

    def send_head(self, *more: str) -> None:
        lines = [
            f"POST /validate/{TOKEN}?timeout=10s HTTP/1.1",
            "Host: gate",
            "Content-Type: application/json",
            f"Content-Length: {len(REVIEW)}",
            *more,
        ]
        self.writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    def send_body(self) -> None:
        self.writer.write(REVIEW)

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


async def fail(_: web.BaseRequest) -> web.Response:
    raise RuntimeError("s3cret")


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve in plain HTTP at the URL that the block is given."""
    server = Server(handler, host=HOST, port=0)
    await server.start()
    try:
        yield f"http://{HOST}:{server.port}/"
    finally:
        await server.stop()


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
        runner = gateway.server._runner
        assert runner is not None
        while runner.addresses:  # noqa: ASYNC110 - nothing tells when it is done
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
    second = Server(serve_nothing, host=HOST, port=gateway.server.port)

    with pytest.raises(OSError, match="address already in use"):
        await second.start()


async def test_plain_server_needs_no_certificate() -> None:
    async with (
        serving(serve_nothing) as url,
        ClientSession() as session,
        session.get(url) as response,
    ):
        assert response.status == 404


async def test_bug_of_a_handler_is_an_error_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(fail) as url, ClientSession() as session, session.get(url) as response:
        text = await response.text()

    assert response.status == 500
    assert response.headers["Connection"] == "close"
    assert "RuntimeError in the HTTP server" in caplog.text
    assert "s3cret" not in text + caplog.text


async def test_client_that_asks_before_it_sends_is_told_to_go_on(
    gateway: Gateway, authority: TestAuthority
) -> None:
    async with connected(gateway, authority) as connection:
        connection.send_head("Expect: 100-continue")
        invitation = await connection.reader.readuntil(b"\r\n\r\n")
        connection.send_body()
        headers, is_admitted = await connection.read()

    assert invitation == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert is_admitted
    assert "connection" not in headers


async def test_client_that_expects_anything_else_is_refused(
    gateway: Gateway, authority: TestAuthority
) -> None:
    async with connected(gateway, authority) as connection:
        connection.send_head("Expect: s3cret")
        head = await connection.reader.readuntil(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 417 Expectation Failed\r\n")
    assert b"s3cret" not in head


async def test_client_that_is_refused_is_sent_elsewhere_like_any_other(
    authority: TestAuthority,
) -> None:
    async with (
        running_gateway(authority, chance=0.0009) as gateway,
        connected(gateway, authority) as connection,
    ):
        connection.send_head("Expect: s3cret")
        head = await connection.reader.readuntil(b"\r\n\r\n")

    assert b"\r\nConnection: close\r\n" in head


async def test_body_that_arrives_bit_by_bit_is_put_together(
    gateway: Gateway, authority: TestAuthority
) -> None:
    async with connected(gateway, authority) as connection:
        connection.send_head()
        for place in range(0, len(REVIEW), 1000):
            connection.writer.write(REVIEW[place : place + 1000])
            await connection.writer.drain()
            await asyncio.sleep(0)
        _, is_admitted = await connection.read()

    assert is_admitted


def test_nothing_older_than_tls_1_2_is_spoken(authority: TestAuthority) -> None:
    context = authority.serve()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED

    Server(serve_nothing, host=HOST, port=0, ssl_context=context)

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_stricter_tls_is_left_as_it_is(authority: TestAuthority) -> None:
    context = authority.serve()
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    Server(serve_nothing, host=HOST, port=0, ssl_context=context)

    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
