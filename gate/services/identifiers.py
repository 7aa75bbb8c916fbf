"""Ids of traces: UUIDv7, so that an id tells its time (RFC 9562, section 5.7)."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
RANDOM_BYTES = 10


def make_action_id(now: datetime, randomness: bytes) -> str:
    """Return a UUIDv7 of the instant, to the millisecond; `randomness` is 10 bytes."""
    milliseconds = (now - _EPOCH) // _MILLISECOND
    random = int.from_bytes(randomness[:RANDOM_BYTES])
    value = (milliseconds & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_of(action_id: str) -> datetime:
    """Return the instant inside a UUIDv7."""
    return _EPOCH + int(action_id[:8] + action_id[9:13], 16) * _MILLISECOND
