"""Several logs as one: every write to a workload, in the order of time."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

from gate.replay.call import Call, UnreadableError, parse_instant
from gate.replay.entry import find_instant, read_line
from gate.replay.log_file import LogFile

# API servers write an entry when a call ends, so neighbours may be out of order. This many writes
# to workloads are held back and sorted; what comes later than that is taken when it comes.
HELD_BACK = 1024
_LOOKED_AT_FOR_A_TIME = 50  # lines
_LINES_PER_PROGRESS = 2048
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)

_Dated = tuple[datetime, int, Call]


class Reader:
    """Reads logs once, in memory that does not grow with them.

    Logs that begin later are opened later, so that a day's rotated files are read one after
    another and those of several API servers side by side.
    """

    def __init__(self, files: Sequence[LogFile], *, progress: Callable[[int], None]) -> None:
        self.files = files
        self.lines = 0
        self.broken: Counter[str] = Counter()
        self.late = 0
        self._progress = progress
        self._done = 0  # bytes of logs that are read to their end
        self._open: list[LogFile] = []
        self._numbers = count()

    def read(self) -> Iterator[Call]:
        """Return the calls, oldest first but for late ones; raises LogFileError."""
        waiting: list[_Dated] = []
        latest = _LONG_AGO
        for dated in self._merge():
            heapq.heappush(waiting, dated)
            if len(waiting) > HELD_BACK:
                at, _, call = heapq.heappop(waiting)
                self.late += at < latest
                latest = max(latest, at)
                yield call
        while waiting:
            at, _, call = heapq.heappop(waiting)
            self.late += at < latest
            latest = max(latest, at)
            yield call

    def _merge(self) -> Iterator[_Dated]:
        unopened = sorted(
            ((_find_start(file), number) for number, file in enumerate(self.files)), reverse=True
        )
        heads: list[tuple[_Dated, Iterator[_Dated]]] = []
        while unopened or heads:
            if unopened and (not heads or unopened[-1][0] <= heads[0][0][0]):
                _, number = unopened.pop()
                stream = self._read_file(self.files[number])
            else:
                dated, stream = heapq.heappop(heads)
                yield dated
            following = next(stream, None)
            if following is not None:
                heapq.heappush(heads, (following, stream))

    def _read_file(self, file: LogFile) -> Iterator[_Dated]:
        self._open.append(file)
        for line in file.read_lines():
            self.lines += 1
            if self.lines % _LINES_PER_PROGRESS == 0:
                self._progress(self._done + sum(each.position for each in self._open))
            for call in self._read_line(line):
                yield call.at, next(self._numbers), call
        self._open.remove(file)
        self._done += file.size or 0
        self._progress(self._done + sum(each.position for each in self._open))

    def _read_line(self, line: bytes | None) -> list[Call]:
        if line is None:
            self.broken["it is too long"] += 1
        elif stripped := line.strip():
            try:
                return list(read_line(stripped))
            except UnreadableError as error:
                self.broken[str(error)] += 1
        else:
            self.lines -= 1  # an empty line is none
        return []


def _find_start(file: LogFile) -> datetime:
    """Return when a log begins; long ago where its first lines do not tell."""
    for line in file.peek_lines(_LOOKED_AT_FOR_A_TIME):
        with suppress(UnreadableError):
            if (found := find_instant(line)) is not None:
                return parse_instant(found)
    return _LONG_AGO
