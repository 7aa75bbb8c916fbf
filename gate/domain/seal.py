"""Keyed digests in place of values that may be secrets.

Equal values compare equal, and none can be read back.
"""

import hmac
import json
from dataclasses import dataclass, field

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
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return _PREFIX + hmac.digest(self.key, text.encode(), "sha256").hex()[:32]
