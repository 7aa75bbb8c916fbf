"""Keyed digests in place of values that may be secrets.

Equal values compare equal, and none can be read back.
"""

import hmac
from dataclasses import dataclass, field

from gate.domain.canonical import encode

MINIMUM_KEY_BYTES = 32
_PREFIX = "hmac:"


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals values under one key, which every replica shares and the database never sees."""

    key: bytes = field(repr=False)

    def __call__(self, value: object) -> str | None:
        """Return the digest of a JSON value; an absent value stays None."""
        if value is None:
            return None
        return _PREFIX + self.digest(encode(value)).hex()[:32]

    def digest(self, data: bytes) -> bytes:
        """Return the HMAC-SHA-256 of some bytes."""
        return hmac.digest(self.key, data, "sha256")
