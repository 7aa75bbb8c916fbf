"""A certification authority and a leaf for 127.0.0.1, made for one test run."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from gate.pki.files import write_file, write_pair
from gate.pki.issuance import issue_authority, issue_leaf

HOST = "127.0.0.1"
_VALID_FROM = datetime(2020, 1, 1, tzinfo=UTC)
_VALID_FOR = timedelta(days=365 * 80)


@dataclass(frozen=True, slots=True)
class TestAuthority:
    """What a server and a client that verifies it need."""

    __test__ = False

    leaf: Path
    key: Path
    ca: Path

    def serve(self) -> ssl.SSLContext:
        """Return a new context that serves the leaf."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.leaf, self.key)
        return context

    def trust(self) -> ssl.SSLContext:
        """Return a new context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.ca))


def make_authority(directory: Path) -> TestAuthority:
    """Write a CA certificate, and a leaf with its key, into the directory."""
    authority = issue_authority("gate test CA", now=_VALID_FROM, validity=_VALID_FOR)
    leaf = issue_leaf(authority, [HOST], now=_VALID_FROM, validity=_VALID_FOR)
    made = TestAuthority(directory / "leaf.pem", directory / "leaf.key", directory / "ca.pem")
    write_pair(leaf, certificate=made.leaf, key=made.key)
    write_file(made.ca, authority.certificate.public_bytes(Encoding.PEM), permissions=0o644)
    return made
