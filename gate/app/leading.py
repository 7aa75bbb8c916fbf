"""What one replica does for all: sums and endings for the database, outcomes for the cluster."""

import asyncio
import gc
import importlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache

import structlog

from gate.domain.seal import Seal
from gate.errors import ClusterError
from gate.postgres.leases import PostgresLeases
from gate.postgres.outcomes import PostgresOutcomes
from gate.postgres.pool import Pool
from gate.postgres.tallies import PostgresTallies
from gate.services.clock import utc_now
from gate.services.every import every
from gate.services.journal import Journal
from gate.services.leadership import Leadership
from gate.services.outcomes import OutcomeKeeper
from gate.services.tallies import TallyKeeper
from gate.settings.knobs import ServeSettings
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_TALLIES_PERIOD = timedelta(seconds=10)
_OUTCOMES_PERIOD = timedelta(seconds=0.5)  # most looks find nothing new and ask nobody
_UNREACHED_PAUSE = timedelta(seconds=30)


@cache
def _import_client() -> None:
    """Import what watches the cluster, which takes seconds, while reviews are answered."""
    importlib.import_module("gate.kube.watch")
    gc.freeze()  # nothing of it ever goes: collections need not look through it


def name_this_process() -> str:
    """Return a name that no other process has, at no other time."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(8)}"


class Leading:
    """The duties of leaders, each done by whichever replica holds its lease."""

    def __init__(
        self, settings: ServeSettings, pool: Pool, *, cluster: str, seal: Seal, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._cluster = cluster
        self._seal = seal
        self._metrics = metrics
        self._holder = name_this_process()
        self._leads_database = False

    def leads_database(self) -> bool:
        """Tell whether this replica looks after the database at the moment."""
        return self._leads_database

    async def run(self) -> None:
        """Take part in leading until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lead("database", self._look_after_database))
            if self._settings.outcomes:
                tasks.create_task(self._lead(f"watch/{self._cluster}", self._watch))

    async def _lead(self, name: str, duties: Callable[[], Awaitable[None]]) -> None:
        leadership = Leadership(
            PostgresLeases(self._pool),
            name=name,
            holder=self._holder,
            length=self._settings.lease,
            metrics=self._metrics,
        )
        await leadership.run(duties)

    async def _look_after_database(self) -> None:
        tallies = TallyKeeper(PostgresTallies(self._pool))
        self._leads_database = True
        try:
            await every(_TALLIES_PERIOD, tallies.run_once, name="tallies", metrics=self._metrics)
        finally:
            self._leads_database = False

    async def _watch(self) -> None:
        """Watch the cluster; one that cannot be reached leaves admissions as they are."""
        while True:
            try:
                await self._watch_once()
            except ClusterError as error:
                log.warning("outcomes.unwatched", error=str(error))
            await asyncio.sleep(_UNREACHED_PAUSE.total_seconds())

    async def _watch_once(self) -> None:
        await asyncio.to_thread(_import_client)
        from gate.kube.client import connect  # noqa: PLC0415 - slow to import, for leaders only
        from gate.kube.watch import WorkloadWatch  # noqa: PLC0415 - slow to import

        async with connect(self._settings.kubeconfig) as cluster:
            journal = Journal(metrics=self._metrics)
            watch = WorkloadWatch(
                cluster, name=self._cluster, seal=self._seal, clock=utc_now, metrics=self._metrics
            )
            keeper = OutcomeKeeper(
                PostgresOutcomes(self._pool),
                watch,
                journal=journal,
                cluster=self._cluster,
                clock=utc_now,
                timer=asyncio.get_running_loop().time,
                metrics=self._metrics,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch.run(journal))
                tasks.create_task(
                    every(_OUTCOMES_PERIOD, keeper.run_once, name="outcomes", metrics=self._metrics)
                )
