"""Frames of a file that is only ever appended to: length, checksum, payload."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

_HEADER = struct.Struct(">II")
HEADER_BYTES = _HEADER.size
# A recording is far smaller; a length beyond this is damage, not a length.
PAYLOAD_AT_MOST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame and where it begins."""

    offset: int
    payload: bytes

    @property
    def end(self) -> int:
        """Return where the next frame begins."""
        return self.offset + HEADER_BYTES + len(self.payload)


def pack(payload: bytes) -> bytes:
    """Return a payload as one frame."""
    return _HEADER.pack(len(payload), crc32(payload)) + payload


def unpack(content: bytes, *, offset: int) -> Frame | None:
    """Return the frame that begins at an offset; None where none is whole there."""
    begin = offset + HEADER_BYTES
    if begin > len(content):
        return None
    length, checksum = _HEADER.unpack_from(content, offset)
    if not 0 < length <= PAYLOAD_AT_MOST or begin + length > len(content):
        return None
    payload = content[begin : begin + length]
    return Frame(offset, payload) if crc32(payload) == checksum else None


def scan(content: bytes) -> Iterator[Frame]:
    """Yield the whole frames from the beginning, up to the first that is not."""
    offset = 0
    while (frame := unpack(content, offset=offset)) is not None:
        yield frame
        offset = frame.end
