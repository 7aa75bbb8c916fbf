"""A keeper with all that it works on, and what tests ask of it."""

from datetime import timedelta

from gate.domain.record import Recording
from gate.domain.workload import WorkloadKey
from gate.ports.spool import Spool
from gate.services.readiness import Readiness
from gate.services.spooling import SpoolKeeper
from gate.telemetry import Metrics
from tests.postgres.records import NOW, WEB
from tests.spool.database import Database
from tests.spool.disks import soon


class Kept:
    """A keeper with all that it works on."""

    def __init__(self, spool: Spool, database: Database) -> None:
        self.spool, self.database = spool, database
        self.metrics, self.readiness, self.now = Metrics(), Readiness(), NOW
        self.keeper = SpoolKeeper(
            spool,
            database,
            max_age=timedelta(hours=1),
            clock=lambda: self.now,
            metrics=self.metrics,
            readiness=self.readiness,
        )

    async def append(self, *recordings: Recording) -> None:
        for recording in recordings:
            assert await self.keeper.append(recording, deadline=soon()) is None

    def exposes(self, line: str) -> bool:
        return f"{line}\n".encode() in self.metrics.expose()


def named(name: str) -> WorkloadKey:
    return WorkloadKey(WEB.cluster, WEB.namespace, WEB.kind, name)


def ids(*recordings: Recording) -> list[str]:
    return [recording.trace.action_id for recording in recordings]
