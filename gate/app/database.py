"""What is done with the database apart from admissions, from the moment it can be used."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta

from gate.app.admitting import Admitting
from gate.app.files import FILES_PERIOD
from gate.postgres.schema import find_pending
from gate.services.every import every
from gate.services.partitions import PartitionKeeper
from gate.services.policy_keeper import PolicyKeeper
from gate.services.preparation import prepare_database, require_current
from gate.services.readiness import Readiness
from gate.settings.knobs import ServeSettings
from gate.telemetry import Metrics

# Backed off eight times after failures, this is still once a day.
_PARTITIONS_PERIOD = timedelta(hours=3)
_SPOOL_PERIOD = timedelta(seconds=2)
# However long the database was away, what is in memory is never older than promised.
_SLOWEST = 1

RunOnce = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class DatabaseKeeper:
    """Everything that reads or writes the database now and then, on every replica."""

    settings: ServeSettings
    admitting: Admitting
    partitions: PartitionKeeper
    policy_file: PolicyKeeper | None
    metrics: Metrics

    async def run(
        self, readiness: Readiness, *, lead: Callable[[], Coroutine[object, object, None]]
    ) -> None:
        """Wait for a database that gate can work with, then keep up with it until cancelled.

        `lead` takes part in leading; it starts when the database can be used.
        """
        await prepare_database(tuple(self._list_steps()), readiness)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._repeat("spool", _SPOOL_PERIOD, self.admitting.spool.run_once))
            for name, period, run_once in self._list_first():
                self.metrics.mark_loop(name)
                loops.create_task(self._repeat(name, period, run_once))
            if self.policy_file is not None:
                follow = self.policy_file.run_once
                loops.create_task(self._repeat("policy_file", FILES_PERIOD, follow))
            loops.create_task(lead())

    def _list_steps(self) -> Iterator[RunOnce]:
        yield self._check_schema
        if self.policy_file is not None:
            yield self.policy_file.start
        for _, _, run_once in self._list_first():
            yield run_once

    def _list_first(self) -> Iterator[tuple[str, timedelta, RunOnce]]:
        """Return what must have been done once before a replica is ready."""
        books, period = self.admitting.books, self.settings.patterns_refresh
        yield "partitions", _PARTITIONS_PERIOD, self.partitions.run_once
        yield "policy", period, books.policies.run_once
        yield "detections", period, books.detections.run_once
        yield "effectiveness", period, books.effectiveness.run_once

    async def _repeat(self, name: str, period: timedelta, run_once: RunOnce) -> None:
        slowest = 8 if name == "partitions" else _SLOWEST
        await every(period, run_once, name=name, metrics=self.metrics, slowest=slowest)

    async def _check_schema(self) -> None:
        require_current(await find_pending(self.settings.require_dsn()))
