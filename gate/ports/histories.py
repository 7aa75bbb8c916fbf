"""The histories of workloads, on the admission path."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gate.domain.record import Write
from gate.domain.trace import History
from gate.domain.workload import WorkloadKey


@dataclass(frozen=True, slots=True)
class Question:
    """Whose history a decision needs, and whose changes around it."""

    key: WorkloadKey
    actor: str
    correlation_id: str | None = None


class Histories(Protocol):
    """The histories of workloads, read and written on the admission path.

    `deadline` is a time of the event loop's clock, in seconds. Both raise StorageUnavailableError
    no later than that, also when the database neither answers nor closes the connection.
    """

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        """Return a workload's history; an unknown one is empty.

        Traces reach 7 days back, at most the newest 64 of each sort: admitted or refused, of
        capacity or of anything else. Detections are those that are unresolved and bind beyond
        `now`, escalations those that are open or approved and do not expire before it. Changes
        around it reach a day back, at most the newest 64 of the actor and as many of others with
        the correlation id; creations and changes of metadata are not among them.
        """
        ...

    async def record(self, write: Write, *, deadline: float) -> bool:
        """Write where the history is still at the expected version, and tell whether it was.

        A spooled trace that is recorded already counts as written, and is corrected to what was
        answered. Raises MissingPartitionError where no partition takes the trace.
        """
        ...
