"""The certificate that is served, and where it comes from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Leaf:
    """What people want to know of the certificate that is being served."""

    names: tuple[str, ...]
    serial: str
    expires_at: datetime


class ServedPair(Protocol):
    """A certificate and key in files, and the TLS context that serves them."""

    def reload(self, *, now: datetime) -> Leaf | None:
        """Serve what the files hold; None where that is being served already.

        Raises CertificateError, and goes on serving the earlier pair, where they hold no
        certificate that is valid now with the key that fits it.
        """
        ...
