"""What services need from the outside; adapters satisfy these, the composition root wires them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gate.domain.pattern import Pattern
from gate.domain.record import Write
from gate.domain.trace import History
from gate.domain.workload import WorkloadKey


class Histories(Protocol):
    """The histories of workloads, read and written on the admission path.

    `deadline` is a time of the event loop's clock, in seconds. Both raise StorageUnavailableError
    no later than that, also when the database neither answers nor closes the connection.
    """

    async def read(
        self, keys: Sequence[WorkloadKey], *, now: datetime, deadline: float
    ) -> list[History]:
        """Return each workload's history, in the order of the keys; an unknown one is empty.

        Traces reach 7 days back, at most the newest 64 of each sort: admitted or refused, of
        capacity or of anything else. Detections are those that are unresolved and bind beyond
        `now`.
        """
        ...

    async def record(self, writes: Sequence[Write], *, deadline: float) -> list[bool]:
        """Write each item whose history is still at the expected version, and tell which were.

        Raises MissingPartitionError where no partition takes a trace.
        """
        ...


class Patterns(Protocol):
    """The patterns that are looked for."""

    async def list_active(self) -> "PatternListing":
        """Return the active patterns, and what is wrong with those that cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class UnusablePattern:
    """An active pattern whose row makes no sense; `problem` names the row and what is wrong."""

    id: int
    problem: str


@dataclass(frozen=True, slots=True)
class PatternListing:
    """The usable active patterns in the order of their ids, and the unusable ones."""

    patterns: tuple[Pattern, ...]
    problems: tuple[UnusablePattern, ...] = ()


class Partitions(Protocol):
    """The monthly partitions of traces."""

    async def ensure(self, *, now: datetime, months_ahead: int) -> list[str]:
        """Make the partitions of this month and those ahead; return the names of the new ones."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One trace as people read it: the columns by name, in the order of the query."""

    columns: dict[str, object]


class TraceReader(Protocol):
    """The traces of a workload for people and reports."""

    async def list_traces(self, key: WorkloadKey, *, since: datetime) -> list[HistoryRow]:
        """Return a workload's traces since an instant, oldest first.

        An empty `cluster` in the key means any cluster.
        """
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """What people want to know of the certificate that is being served."""

    names: tuple[str, ...]
    serial: str
    expires_at: datetime


class ServedPair(Protocol):
    """A certificate and key in files, and the TLS context that serves them."""

    def reload(self, *, now: datetime) -> Leaf | None:
        """Serve what the files hold; None where that is being served already.

        Raises CertificateError, and goes on serving the earlier pair, where they hold no
        certificate that is valid now with the key that fits it.
        """
        ...
