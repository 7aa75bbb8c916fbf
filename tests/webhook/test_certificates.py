"""The serving certificate is replaced under a live server, and never by one that does not do."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gate.errors import CertificateError
from gate.pki.files import write_file, write_pair
from gate.pki.issuance import Pair, issue_authority, issue_leaf
from gate.pki.serving import ServingPair
from gate.services.certificates import CertificateKeeper
from gate.telemetry import Metrics
from gate.webhook.server import Server
from tests.webhook.gateway import serve_nothing

HOST = "127.0.0.1"
# Handshakes compare with the real clock, so these are valid for a lifetime.
START = datetime(2020, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(days=36_500)


@dataclass(frozen=True)
class Served:
    """A TLS server with its certificate files."""

    directory: Path
    authority: Pair
    keeper: CertificateKeeper
    metrics: Metrics
    port: int

    def issue(self, *, validity: timedelta = LIFETIME) -> Pair:
        return issue_leaf(self.authority, [HOST], now=START, validity=validity)

    def write(self, pair: Pair) -> None:
        write_pair(pair, certificate=self.certificate, key=self.key)

    @property
    def certificate(self) -> Path:
        return self.directory / "tls.crt"

    @property
    def key(self) -> Path:
        return self.directory / "tls.key"

    async def seen(self) -> int:
        """Make a new connection, verify it, and return the serial number of what is served."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        _, writer = await asyncio.open_connection(HOST, self.port, ssl=context)
        try:
            transport: ssl.SSLObject = writer.get_extra_info("ssl_object")
            encoded = transport.getpeercert(binary_form=True)
        finally:
            writer.close()
            await writer.wait_closed()
        assert encoded is not None
        return x509.load_der_x509_certificate(encoded).serial_number

    def expiry(self) -> float:
        (line,) = [
            line
            for line in self.metrics.expose().decode().splitlines()
            if line.startswith("gate_certificate_expiry_timestamp_seconds")
        ]
        return float(line.split()[1])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        yield served


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Served]:
    authority = issue_authority("test CA", now=START, validity=LIFETIME)
    write_pair(authority, certificate=directory / "ca.crt", key=directory / "ca.key")
    pair = ServingPair(certificate=directory / "tls.crt", key=directory / "tls.key")
    metrics = Metrics()
    keeper = CertificateKeeper(pair, clock=lambda: START + timedelta(days=1), metrics=metrics)
    server = Server(serve_nothing, host=HOST, port=0, ssl_context=pair.context)
    await server.start()
    try:
        yield Served(directory, authority, keeper, metrics, server.port)
    finally:
        await server.stop()


async def test_new_leaf_is_served_without_a_restart(served: Served) -> None:
    first, second = served.issue(), served.issue(validity=timedelta(days=30_000))
    served.write(first)
    await served.keeper.run_once()
    assert await served.seen() == first.certificate.serial_number

    served.write(second)
    assert await served.seen() == first.certificate.serial_number
    leaf = await served.keeper.run_once()

    assert leaf is not None
    assert leaf.serial == f"{second.certificate.serial_number:x}"
    assert await served.seen() == second.certificate.serial_number
    assert served.expiry() == (START + timedelta(days=30_000)).timestamp()


async def test_unchanged_files_are_left_alone(served: Served) -> None:
    served.write(served.issue())
    await served.keeper.run_once()

    assert await served.keeper.run_once() is None


async def test_leaf_whose_key_has_not_arrived_yet_waits_for_it(served: Served) -> None:
    first, second = served.issue(), served.issue()
    served.write(first)
    await served.keeper.run_once()
    key = served.key.read_bytes()
    served.write(second)
    new_key = served.key.read_bytes()
    write_file(served.key, key, permissions=0o600)

    with pytest.raises(CertificateError, match="does not fit the certificate"):
        await served.keeper.run_once()
    assert await served.seen() == first.certificate.serial_number
    assert served.expiry() == first.certificate.not_valid_after_utc.timestamp()

    write_file(served.key, new_key, permissions=0o600)
    await served.keeper.run_once()
    assert await served.seen() == second.certificate.serial_number


@pytest.mark.parametrize("broken", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nMIIB\n"])
async def test_broken_leaf_keeps_the_old_one(served: Served, broken: bytes) -> None:
    first = served.issue()
    served.write(first)
    await served.keeper.run_once()
    served.certificate.write_bytes(broken)

    for _ in range(2):
        with pytest.raises(CertificateError, match="does not hold a certificate in PEM"):
            await served.keeper.run_once()

    assert await served.seen() == first.certificate.serial_number


async def test_leaf_that_has_ended_keeps_the_old_one(served: Served) -> None:
    first = served.issue()
    served.write(first)
    await served.keeper.run_once()
    served.write(served.issue(validity=timedelta(hours=1)))

    with pytest.raises(CertificateError, match="ended at 2020-01-01T01:00:00"):
        await served.keeper.run_once()

    assert await served.seen() == first.certificate.serial_number


async def test_missing_file_keeps_the_old_one(served: Served) -> None:
    first = served.issue()
    served.write(first)
    await served.keeper.run_once()
    served.key.unlink()

    with pytest.raises(CertificateError, match=r"tls\.key cannot be read: No such file"):
        await served.keeper.run_once()

    assert await served.seen() == first.certificate.serial_number


async def test_connection_that_is_open_outlives_the_change(served: Served) -> None:
    served.write(served.issue())
    await served.keeper.run_once()
    context = ssl.create_default_context(cafile=str(served.directory / "ca.crt"))
    reader, writer = await asyncio.open_connection(HOST, served.port, ssl=context)

    served.write(served.issue())
    await served.keeper.run_once()
    writer.write(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.readline()

    assert answer.startswith(b"HTTP/1.1 404")
    writer.close()
    await writer.wait_closed()
