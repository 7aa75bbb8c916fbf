"""The files of a spool. Everything here blocks, so one thread of its own does all of it.

Recordings are appended to segments; what is no longer needed is marked there, and a segment without
anything needed is deleted. A mark that is lost makes a recording come up again, which its replay
recognises: marks need no fsync.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gate.spool.codec import Label, decode_label
from gate.spool.frames import HEADER_BYTES, PAYLOAD_AT_MOST, Frame, pack, scan, unpack

_ENTRY, _DONE = b"E", b"D"
_SEGMENTS = "*.spool"
_ASIDE = (".corrupt", ".refused")


class SpoolHeldError(OSError):
    """Another process holds the directory."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a recording lies: the number of its segment, and the offset of its frame."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A recording found at the start, and where it lies."""

    label: Label
    position: Position


@dataclass(frozen=True, slots=True)
class SetAside:
    """Bytes that could not be read, and the file they were put into."""

    file: str
    size: int


@dataclass(slots=True)
class Found:
    """What a directory held at the start.

    `highest` is the highest number in it: one that is marked as done must not be used again.
    """

    stored: list[Stored] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    aside: list[SetAside] = field(default_factory=list)
    highest: int = 0


class SpoolDirectory:
    """A directory held by one process; all of it may raise OSError."""

    def __init__(self, path: Path, *, segment_bytes: int) -> None:
        self._path = path
        self._segment_bytes = segment_bytes
        self._lock: int | None = None
        self._file: int | None = None
        self._segment = 0
        self._sizes: dict[int, int] = {}
        self._needed: Counter[int] = Counter()
        self._aside_bytes = 0

    @property
    def size(self) -> int:
        """Return the bytes of all segments, and of what was set aside."""
        return sum(self._sizes.values()) + self._aside_bytes

    def open(self) -> Found:
        """Take hold of the directory, making it where it is missing, and read what it holds.

        A damaged end of a segment is set aside. Raises SpoolHeldError where another process holds
        the directory.
        """
        if not self._path.is_dir():
            self._path.mkdir(mode=0o700, exist_ok=True)
            _sync(self._path.parent)
        self._lock = _hold(self._path / "lock")
        try:
            return self._read_all()
        except OSError:
            self.close()
            raise

    def append(self, payloads: Sequence[bytes]) -> list[Position]:
        """Write recordings and fsync them; after an error none of them counts as written."""
        self._require_hold()
        if self._file is None or self._sizes[self._segment] >= self._segment_bytes:
            self._begin_segment()
        begin = self._sizes[self._segment]
        frames = [pack(_ENTRY + payload) for payload in payloads]
        try:
            self._write(b"".join(frames))
            os.fsync(self._open_file())
        except OSError:
            self._abandon(begin)
            raise
        self._needed[self._segment] += len(frames)
        positions = []
        for frame in frames:
            positions.append(Position(self._segment, begin))
            begin += len(frame)
        return positions

    def read(self, position: Position) -> bytes:
        """Return a recording's payload; raises ValueError where it is damaged."""
        frame = unpack(self._read_frame(position), offset=0)
        if frame is None:
            raise ValueError(f"{self._name(position.segment)} is damaged at byte {position.offset}")
        return frame.payload[1:]

    def mark_done(self, done: Mapping[int, Position]) -> None:
        """Note that recordings, by number, are needed no longer; delete what lies idle by that."""
        if self._lock is None:
            return
        for position in done.values():
            self._needed[position.segment] -= 1
        self._write_marks(done)
        for segment in [segment for segment in self._sizes if self._needed[segment] <= 0]:
            with suppress(OSError):  # what stays comes up again, and its replay changes nothing
                self._delete_segment(segment)

    def set_recording_aside(self, position: Position) -> SetAside:
        """Copy a recording, damaged or not, into a file of its own, for people."""
        content = self._read_frame(position)[HEADER_BYTES + len(_ENTRY) :]
        return self.set_aside(f"{position.segment:010}-{position.offset}.refused", content)

    def set_aside(self, name: str, content: bytes) -> SetAside:
        """Write bytes into a file of their own, for people."""
        self._require_hold()
        path = self._path / name
        path.write_bytes(content)
        _sync(path)
        _sync(self._path)
        self._aside_bytes += len(content)
        return SetAside(str(path), len(content))

    def close(self) -> None:
        """Let go of the directory."""
        self._close_file()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read_all(self) -> Found:
        found = Found()
        self._aside_bytes = sum(
            file.stat().st_size for file in self._path.iterdir() if file.suffix in _ASIDE
        )
        for path in sorted(self._path.glob(_SEGMENTS)):
            self._read_segment(int(path.stem), found)
        numbers = {stored.label.number for stored in found.stored}
        found.highest = max(numbers | found.done, default=0)
        found.stored = [one for one in found.stored if one.label.number not in found.done]
        self._needed = Counter(stored.position.segment for stored in found.stored)
        for segment in [segment for segment in self._sizes if not self._needed[segment]]:
            self._delete_segment(segment)
        return found

    def _read_segment(self, segment: int, found: Found) -> None:
        path = self._name(segment)
        content, end = path.read_bytes(), 0
        for frame in scan(content):
            try:
                _take(frame, segment, found)
            except ValueError:
                break  # whole, and yet nothing that this release writes
            end = frame.end
        if end < len(content):
            name = f"{path.stem}-{end}.corrupt"
            found.aside.append(self.set_aside(name, content[end:]))
            os.truncate(path, end)
            _sync(path)
        self._sizes[segment] = end
        self._segment = max(self._segment, segment)

    def _begin_segment(self) -> None:
        self._close_file()
        self._segment += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._name(self._segment), flags, 0o600)
        self._sizes[self._segment] = 0
        _sync(self._path)

    def _delete_segment(self, segment: int) -> None:
        if segment == self._segment:
            self._close_file()
        self._name(segment).unlink(missing_ok=True)
        self._sizes.pop(segment, None)
        self._needed.pop(segment, None)

    def _read_frame(self, position: Position) -> bytes:
        """Return the bytes that a frame says it has, or as many of them as there are."""
        with self._name(position.segment).open("rb") as segment:
            segment.seek(position.offset)
            header = segment.read(HEADER_BYTES)
            return header + segment.read(min(int.from_bytes(header[:4]), PAYLOAD_AT_MOST))

    def _write_marks(self, numbers: Iterable[int]) -> None:
        """Note what is done, where there is a segment to note it in."""
        if self._file is None:
            return
        begin = self._sizes[self._segment]
        try:
            self._write(pack(_DONE + b",".join(b"%d" % number for number in numbers)))
        except OSError:
            self._abandon(begin)

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            written = os.write(self._open_file(), left)
            self._sizes[self._segment] += written
            left = left[written:]

    def _abandon(self, end: int) -> None:
        """Cut off what was not written as a whole, and leave the segment to be read only.

        After a failed fsync nobody knows what of a file is on the disk: nothing more is added.
        """
        try:
            os.ftruncate(self._open_file(), end)
            self._sizes[self._segment] = end
        except OSError:
            pass  # the next start sets the rest aside, or replays what became whole after all
        self._close_file()

    def _require_hold(self) -> None:
        """Raise OSError where the directory is not held: it may be another process's by now."""
        if self._lock is None:
            raise OSError("the directory is not held")

    def _open_file(self) -> int:
        if self._file is None:
            raise OSError("the segment is closed")
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _name(self, segment: int) -> Path:
        return self._path / f"{segment:010}.spool"


def _take(frame: Frame, segment: int, found: Found) -> None:
    kind, content = frame.payload[:1], frame.payload[1:]
    if kind == _DONE:
        found.done |= {int(number) for number in content.split(b",")}
    else:
        found.stored.append(Stored(decode_label(content), Position(segment, frame.offset)))


def _hold(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise SpoolHeldError(error.errno, "another process holds it") from error
    return lock


def _sync(path: Path) -> None:
    """Make a file's content, or a directory's entries, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
