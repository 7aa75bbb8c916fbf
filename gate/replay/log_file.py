"""One log as lines: a plain file, a gzipped one, or standard input."""

import gzip
import io
import sys
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO, cast

from gate.domain.words import escape
from gate.errors import GateError

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"
_LINE_AT_MOST = 32 * 1024 * 1024  # bytes; an entry carries at most two objects of 3 MiB, escaped
_AHEAD = 1024 * 1024  # bytes


class LogFileError(GateError):
    """A log cannot be opened; the message names it and says why."""


class LogFile:
    """One log, and how much of it was read.

    `size` is in bytes, None where nobody knows; `problem` says why its end could not be read.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size: int | None = None
        self.problem: str | None = None
        self._raw: io.RawIOBase | None = None
        if name != STANDARD_INPUT:
            with self._open() as raw:
                self.size = raw.seek(0, io.SEEK_END) if raw.seekable() else None

    @property
    def position(self) -> int:
        """Return how many bytes of the file were read so far."""
        return self._raw.tell() if self._raw is not None and self.size is not None else 0

    def read_lines(self) -> Generator[bytes | None]:
        """Return the lines; None stands for one that is too long to be an entry.

        Raises LogFileError where the log cannot be opened; what fails later ends it early.
        """
        if self.name == STANDARD_INPUT:
            yield from self._read(cast("io.BufferedReader[Any]", sys.stdin.buffer))
            return
        with self._open() as raw, io.BufferedReader(raw, _AHEAD) as stream:
            self._raw = raw
            try:
                yield from self._read(stream)
            finally:
                self._raw = None

    def peek_lines(self, number: int) -> list[bytes]:
        """Return the first lines without having read them; none of what can be read only once."""
        if self.size is None:
            return []
        lines = LogFile(self.name).read_lines()
        first = [line for line, _ in zip(lines, range(number), strict=False)]
        lines.close()
        return [line for line in first if line is not None]

    def _open(self) -> io.FileIO:
        try:
            return Path(self.name).open("rb", buffering=0)
        except OSError as error:
            name = escape(self.name, limit=200)
            raise LogFileError(f"{name} cannot be read: {error.strerror}") from error

    def _read(self, stream: "io.BufferedReader[Any]") -> Generator[bytes | None]:
        try:
            if stream.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
                yield from _split(stream)
                return
            with gzip.GzipFile(fileobj=stream) as packed:
                yield from _split(cast("BinaryIO", packed))
        except (OSError, EOFError, zlib.error) as error:
            self.problem = str(error) or type(error).__name__


def _split(stream: BinaryIO) -> Generator[bytes | None]:
    while line := stream.readline(_LINE_AT_MOST):
        if len(line) < _LINE_AT_MOST or line.endswith(b"\n"):
            yield line
            continue
        while (rest := stream.readline(_LINE_AT_MOST)) and not rest.endswith(b"\n"):
            pass
        yield None
