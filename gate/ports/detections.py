"""The detections that bind, for the time when the database is away."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gate.domain.trace import OpenDetection
from gate.domain.workload import WorkloadKey


@dataclass(frozen=True, slots=True)
class KnownDetection:
    """A detection that binds, and the workload it was made on."""

    key: WorkloadKey
    detection: OpenDetection


class Detections(Protocol):
    """The detections of a cluster, for the time when the database is away."""

    async def list_open_detections(self, cluster: str, *, now: datetime) -> list[KnownDetection]:
        """Return the enforced detections that bind beyond `now`, those that end last first.

        At most 10 000. Raises StorageUnavailableError where PostgreSQL does not answer within 5 s.
        """
        ...
