"""What a replay comes to: per workload, actor and pattern, in bounded memory."""

from dataclasses import dataclass, field
from datetime import datetime

from gate.replay.row import Disposition, Row

_LINES_AT_MOST = 20_000


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Whose changes of what; `pattern` is empty for those that nothing objects to."""

    workload: str
    actor: str
    pattern: str


@dataclass(slots=True)
class Line:
    """What became of the changes of one subject; `longest_wait` is in seconds."""

    subject: Subject
    changes: int = 0
    refused: int = 0
    would_be_refused: int = 0
    warned: int = 0
    episodes: int = 0
    first_refused: datetime | None = None
    longest_wait: int = 0
    highest_penalty: float | None = None
    strategy: str | None = None

    def take(self, row: Row) -> None:
        """Count a change."""
        self.changes += 1
        self.refused += row.disposition is Disposition.REFUSES
        self.would_be_refused += row.disposition is Disposition.WOULD_REFUSE
        self.warned += row.disposition is Disposition.WARNS
        self.episodes += row.first_of_episode
        self.longest_wait = max(self.longest_wait, row.retry_after_seconds or 0)
        self.strategy = row.strategy or self.strategy
        if row.penalty is not None:
            self.highest_penalty = max(self.highest_penalty or 0.0, row.penalty.value)
        if row.disposition is Disposition.REFUSES and self.first_refused is None:
            self.first_refused = row.time


@dataclass(slots=True)
class Summary:
    """Counts of all changes, and lines for as many subjects as there is room for."""

    total: Line = field(default_factory=lambda: Line(Subject("", "", "")))
    first: datetime | None = None
    last: datetime | None = None
    unlisted: int = 0
    _lines: dict[Subject, Line] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        """Count a change."""
        self.total.take(row)
        self.first = min(self.first or row.time, row.time)
        self.last = max(self.last or row.time, row.time)
        subject = Subject(row.workload, row.actor, row.pattern or "")
        line = self._lines.get(subject)
        if line is None and len(self._lines) < _LINES_AT_MOST:
            line = self._lines[subject] = Line(subject)
        if line is None:
            self.unlisted += 1
        else:
            line.take(row)

    @property
    def lines(self) -> list[Line]:
        """Return the lines, those with most refusals first."""
        return sorted(
            self._lines.values(),
            key=lambda line: (
                -line.refused,
                -line.would_be_refused,
                -line.warned,
                -line.changes,
                line.subject,
            ),
        )
