"""What waits on the disk for a database that is away."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gate.domain.record import Recording
from gate.domain.workload import WorkloadKey


class SpoolReason(StrEnum):
    """Why the spool did not do what it is for."""

    ABSENT = "absent"
    FULL = "full"
    UNWRITABLE = "unwritable"
    LATE = "late"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SpoolProblem:
    """What is wrong with the spool, where, and what to do."""

    reason: SpoolReason
    message: str


@dataclass(frozen=True, slots=True)
class SpooledEntry:
    """A recording that waits on the disk; numbers grow in the order of the answers.

    `recording` is None where this release cannot read it, or, with a `problem`, where the disk does
    not give it now.
    """

    number: int
    key: WorkloadKey
    recording: Recording | None
    problem: SpoolProblem | None = None


@dataclass(frozen=True, slots=True)
class SpoolSize:
    """How much waits on the disk, or is on its way there; `oldest` is None where nothing waits."""

    entries: int
    bytes: int
    oldest: datetime | None


class Spool(Protocol):
    """Recordings that the database could not take, kept on the disk until it can.

    One process holds it. Nothing here raises for a disk that fails: problems are values.
    """

    async def open(self) -> tuple[SpoolProblem, ...]:
        """Take hold of it where that is not done yet, and tell what could not be read."""
        ...

    async def append(self, recording: Recording, *, deadline: float) -> SpoolProblem | None:
        """Keep a recording; it survives a loss of power once None is returned."""
        ...

    def holds(self, key: WorkloadKey) -> bool:
        """Tell whether something of a workload waits."""
        ...

    def list_keys(self) -> tuple[WorkloadKey, ...]:
        """Return the workloads of which something waits, those that waited first before others."""
        ...

    def measure(self) -> SpoolSize:
        """Tell how much waits."""
        ...

    async def read(
        self, key: WorkloadKey, *, after: int = 0, at_most: int = 64
    ) -> list[SpooledEntry]:
        """Return what waits of a workload with numbers beyond `after`, in order."""
        ...

    async def read_latest(self, key: WorkloadKey, *, at_most: int = 64) -> list[SpooledEntry]:
        """Return the newest of what waits of a workload, in order."""
        ...

    async def remove(self, key: WorkloadKey, numbers: Collection[int]) -> None:
        """Forget entries that are recorded."""
        ...

    async def set_aside(self, entry: SpooledEntry) -> SpoolProblem:
        """Put an entry that can never be recorded into a file for people, and forget it.

        Where that cannot be done the entry stays, and the reason is not REFUSED.
        """
        ...

    async def expire(self, *, before: datetime) -> SpoolProblem | None:
        """Forget entries that were spooled before an instant; tell where there were any."""
        ...

    async def close(self, *, deadline: float) -> None:
        """Let go of it by the deadline; what waits is still there at the next start."""
        ...
