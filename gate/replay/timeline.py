"""Changes kept for drawing: the newest of every workload, of as many workloads as there is room."""

from collections import deque
from dataclasses import dataclass, field

from gate.replay.row import Disposition, Row

_WORKLOADS_AT_MOST = 1000
_ROWS_AT_MOST = 300


def _rows() -> deque[Row]:
    return deque(maxlen=_ROWS_AT_MOST)


@dataclass(slots=True)
class Timeline:
    """The newest changes of a workload, how many there were, and how many were objected to."""

    workload: str
    rows: deque[Row] = field(default_factory=_rows)
    changes: int = 0
    refusals: int = 0
    weight: int = 0

    def take(self, row: Row) -> None:
        """Add a change."""
        self.rows.append(row)
        self.changes += 1
        self.refusals += row.disposition >= Disposition.WOULD_REFUSE
        self.weight += int(row.disposition)


class Timelines:
    """Keeps timelines; those of workloads with nothing refused make room for others."""

    def __init__(self) -> None:
        self.left_out = 0
        self._kept: dict[str, Timeline] = {}

    def take(self, row: Row) -> None:
        """Add a change to its workload's timeline."""
        timeline = self._kept.get(row.workload)
        if timeline is None:
            self._make_room()
            timeline = self._kept[row.workload] = Timeline(row.workload)
        timeline.take(row)

    def list_weightiest(self, number: int) -> list[Timeline]:
        """Return the timelines with most against them, weightiest first."""
        ranked = sorted(
            self._kept.values(), key=lambda line: (-line.weight, -line.changes, line.workload)
        )
        return ranked[:number]

    def __len__(self) -> int:
        return len(self._kept)

    def _make_room(self) -> None:
        if len(self._kept) >= _WORKLOADS_AT_MOST:
            lightest = min(self._kept.values(), key=lambda line: (line.weight, line.changes))
            del self._kept[lightest.workload]
            self.left_out += 1
