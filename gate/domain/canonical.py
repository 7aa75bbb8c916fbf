"""JSON values as bytes that can be compared and digested."""

import hashlib
import json

import orjson

_DIGEST_LENGTH = 32


def encode(value: object) -> bytes:
    """Return a JSON value as bytes that are the same for the same value, keys in any order.

    What JSON has no form for counts as its text.
    """
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # A lone surrogate, or an integer beyond 64 bits.
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def digest(value: object) -> str:
    """Return a digest of a JSON value that stays the same within a release."""
    return hashlib.sha256(encode(value)).hexdigest()[:_DIGEST_LENGTH]
