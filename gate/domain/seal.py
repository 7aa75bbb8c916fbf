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
        return _PREFIX + hmac.digest(self.key, encode(value), "sha256").hex()[:32]
