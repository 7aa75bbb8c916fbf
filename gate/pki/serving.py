"""The TLS context of a server, whose certificate is replaced without a restart."""

import hashlib
import os
import ssl
from datetime import datetime
from pathlib import Path

from cryptography import x509

from gate.errors import CertificateError
from gate.pki.files import parse_chain, parse_key, read_bytes, require_fit
from gate.pki.issuance import names_of
from gate.ports.certificates import Leaf


class ServingPair:
    """A certificate and key in files, and the live context that serves them."""

    def __init__(self, *, certificate: Path, key: Path) -> None:
        self.context = _make_context()
        self._certificate = certificate
        self._key = key
        self._served = b""

    def reload(self, *, now: datetime) -> Leaf | None:
        """Serve what the files hold; None where that is being served already.

        Raises CertificateError, and goes on serving the earlier pair, where they hold no
        certificate that is valid now with the key that fits it.
        """
        chain, key = read_bytes(self._certificate), read_bytes(self._key)
        digest = hashlib.sha256(b"%d %s %s" % (len(chain), chain, key)).digest()
        if digest == self._served:
            return None
        leaf = parse_chain(chain, name=str(self._certificate))[0]
        private = parse_key(key, name=str(self._key))
        require_fit(leaf, private, name=str(self._certificate), key_name=str(self._key))
        self._require_valid(leaf, now)
        # A failed load would leave the live context broken, so another one goes first.
        for context in (_make_context(), self.context):
            self._load(context, chain + b"\n" + key)
        self._served = digest
        return Leaf(names_of(leaf), f"{leaf.serial_number:x}", leaf.not_valid_after_utc)

    def _require_valid(self, leaf: x509.Certificate, now: datetime) -> None:
        if now >= leaf.not_valid_after_utc:
            ended = leaf.not_valid_after_utc.isoformat()
            raise CertificateError(f"the certificate in {self._certificate} ended at {ended}")
        if now < leaf.not_valid_before_utc:
            begins = leaf.not_valid_before_utc.isoformat()
            raise CertificateError(
                f"the certificate in {self._certificate} begins only at {begins}"
            )

    def _load(self, context: ssl.SSLContext, content: bytes) -> None:
        """Load a pair that is in memory: what was checked is what is served.

        The interface takes files only; one without a name needs no directory to be writable.
        """
        descriptor = os.memfd_create("tls")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except ssl.SSLError as error:
            raise CertificateError(
                f"TLS cannot serve {self._certificate} with {self._key}: {error.reason}"
            ) from error
        finally:
            os.close(descriptor)


def _make_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
