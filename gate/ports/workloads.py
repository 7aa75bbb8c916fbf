"""The workloads of a cluster, as they are read and watched."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gate.domain.observation import Observation
from gate.domain.workload import Kind, WorkloadKey


class WorkloadReader(Protocol):
    """The workloads of a cluster, one at a time."""

    async def read(self, key: WorkloadKey) -> Observation | None:
        """Return the present state of a workload, None where there is none; ClusterError if not."""
        ...


class Observer(Protocol):
    """Who is told what a watch of the cluster sees."""

    def see(self, seen: Observation) -> None:
        """Take in one state of a workload."""
        ...

    def see_all(self, kind: Kind, listed: Sequence[Observation], *, at: datetime) -> None:
        """Take in all workloads of a kind, after a gap; what is not among them is gone."""
        ...

    def confirm(self, kind: Kind, *, at: datetime) -> None:
        """Note that up to an instant nothing of a kind was missed."""
        ...
