"""A webhook that allows everything and remembers what the API server sent."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from testbed.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

LARGEST_REVIEW: Final = 7 * 1024 * 1024
# The certificate is younger than any test and outlives it; no clock is needed to say so.
VALID_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
VALID_UNTIL: Final = datetime(2120, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Received:
    """One HTTP request of the API server, with the review parsed."""

    path: str
    headers: Mapping[str, str]
    review: dict[str, Any]


class Recorder:
    """What was received so far, oldest first, and where the webhook listens."""

    def __init__(self, *, url: str, certificate: bytes) -> None:
        self.url = url
        self.certificate = certificate
        self.received: list[Received] = []
        self._arrival = asyncio.Condition()

    async def find(
        self, wanted: Callable[[dict[str, Any]], bool], *, limit: timedelta
    ) -> dict[str, Any]:
        """Return the first review whose request is wanted, waiting for it up to `limit`."""
        async with asyncio.timeout(limit.total_seconds()), self._arrival:
            while True:
                for each in self.received:
                    if wanted(each.review["request"]):
                        return each.review
                await self._arrival.wait()

    async def answer(self, request: web.Request) -> web.Response:
        """Remember a review and allow it."""
        review = json.loads(await request.read())
        async with self._arrival:
            self.received.append(Received(request.path_qs, dict(request.headers), review))
            self._arrival.notify_all()
        verdict = {"uid": review["request"]["uid"], "allowed": True}
        return web.json_response(
            {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": verdict}
        )


@asynccontextmanager
async def recording_webhook(directory: Path) -> AsyncIterator[Recorder]:
    """Serve a recording webhook over TLS on loopback until the block is left."""
    certificate, key = directory / "webhook.crt", directory / "webhook.key"
    _write_self_signed(certificate, key=key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with reserved_port() as port:
        recorder = Recorder(
            url=f"https://127.0.0.1:{port}/validate", certificate=certificate.read_bytes()
        )
        app = web.Application(client_max_size=LARGEST_REVIEW)
        app.router.add_post("/validate", recorder.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context, reuse_port=True)
            await site.start()
            yield recorder
        finally:
            await runner.cleanup()


def _write_self_signed(path: Path, *, key: Path) -> None:
    """Write a key, and a certificate for 127.0.0.1 that is its own authority."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recording webhook")])
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key.touch(mode=0o600)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
