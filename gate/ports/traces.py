"""Traces for people and reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gate.domain.workload import WorkloadKey


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
