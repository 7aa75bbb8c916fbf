"""What json and jsonb columns hold; what PostgreSQL refuses is replaced on the way in."""

import json
from collections.abc import Mapping

import orjson

from gate.domain.words import clean

# To look for one byte first takes a tenth of the time, and most documents have no escape at all.
_ESCAPE = b"\\"
_ESCAPED_NUL = b"\\u0000"


def encode(value: object) -> str:
    """Return a value as JSON that PostgreSQL stores; U+0000 and lone surrogates become U+FFFD."""
    try:
        encoded = orjson.dumps(value, default=_as_plain)
    except TypeError:
        # A lone surrogate, or an integer beyond 64 bits, which only PostgreSQL takes.
        return json.dumps(_cleaned(value), default=_as_plain)
    if _ESCAPE in encoded and _ESCAPED_NUL in encoded:
        return json.dumps(_cleaned(value), default=_as_plain)
    return encoded.decode()


def decode(text: str) -> object:
    """Return the value of a json or jsonb column."""
    value: object = orjson.loads(text)
    return value


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name)): _cleaned(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value


def _as_plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON column")
