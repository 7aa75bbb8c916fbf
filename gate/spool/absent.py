"""Where no spool is configured: what the database cannot take is lost, and said so."""

from collections.abc import Collection
from datetime import datetime

from gate.domain.record import Recording
from gate.domain.workload import WorkloadKey
from gate.ports.spool import SpooledEntry, SpoolProblem, SpoolReason, SpoolSize

_ABSENT = SpoolProblem(
    SpoolReason.ABSENT,
    "no spool is configured, so traces of an outage are lost; set GATE_SPOOL_DIR to a directory of"
    " this replica's own",
)


class AbsentSpool:
    """Satisfies the port `Spool` and keeps nothing."""

    async def open(self) -> tuple[SpoolProblem, ...]:
        """Do nothing."""
        return ()

    async def append(self, recording: Recording, *, deadline: float) -> SpoolProblem | None:
        """Tell that nothing is kept."""
        del recording, deadline
        return _ABSENT

    def holds(self, key: WorkloadKey) -> bool:
        """Tell that nothing waits."""
        del key
        return False

    def list_keys(self) -> tuple[WorkloadKey, ...]:
        """Return nothing."""
        return ()

    def measure(self) -> SpoolSize:
        """Tell that nothing waits."""
        return SpoolSize(0, 0, None)

    async def read(
        self, key: WorkloadKey, *, after: int = 0, at_most: int = 64
    ) -> list[SpooledEntry]:
        """Return nothing."""
        del key, after, at_most
        return []

    async def read_latest(self, key: WorkloadKey, *, at_most: int = 64) -> list[SpooledEntry]:
        """Return nothing."""
        del key, at_most
        return []

    async def remove(self, key: WorkloadKey, numbers: Collection[int]) -> None:
        """Do nothing."""

    async def set_aside(self, entry: SpooledEntry) -> SpoolProblem:
        """Tell that nothing is kept."""
        del entry
        return _ABSENT

    async def expire(self, *, before: datetime) -> SpoolProblem | None:
        """Do nothing."""

    async def close(self, *, deadline: float) -> None:
        """Do nothing."""
        del deadline
