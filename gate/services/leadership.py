"""Leadership: what only one replica has to do is done by the one that holds a lease."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from gate.errors import GateError, StorageUnavailableError
from gate.ports.leases import Leases
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

Duties = Callable[[], Awaitable[None]]

_RENEWALS = 3  # tries in the time of one lease
_STANDS_BACK = 4  # leases long, after a bug: another replica may fare better


class Leadership:
    """Runs duties while a lease is held, and stops them when somebody else holds it.

    While the database is away nobody can take the lease, so they go on: they may run twice for a
    moment in any case, and a watch that stops loses sight of what happens. A bug in the duties is
    reported and ends nothing but this turn: admissions go on in the same process.
    """

    def __init__(
        self, leases: Leases, *, name: str, holder: str, length: timedelta, metrics: Metrics
    ) -> None:
        """Keep the lease `name`; `holder` is this process and no other, at no other time."""
        self._leases = leases
        self._name = name
        self._holder = holder
        self._length = length
        lease = name.partition("/")[0]
        self._gauge = metrics.leadership.labels(lease)
        self._failures = metrics.duty_failures.labels(lease)

    async def run(self, duties: Duties) -> None:
        """Wait for the lease, run the duties while it is held, and so on until cancelled."""
        self._gauge.set(0)
        try:
            while True:
                try:
                    await self._take_turn(duties)
                except Exception as error:  # a bug here must not end admissions
                    self._report(error)
                    if _is_cancelled():
                        raise asyncio.CancelledError from error
                    await self._stand_back()
                await self._pause()
        finally:
            self._gauge.set(0)
            await self._release()

    async def _take_turn(self, duties: Duties) -> None:
        if await self._claim():
            log.info("leadership.gained", lease=self._name)
            await self._lead(duties)
            log.info("leadership.lost", lease=self._name)

    async def _lead(self, duties: Duties) -> None:
        """Run the duties until the lease is lost."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._perform(duties))
            await self._keep()
            work.cancel()

    async def _perform(self, duties: Duties) -> None:
        """Do the duties, again after a while where they cannot be done; a bug is raised."""
        while True:
            try:
                await duties()
            except GateError as error:
                log.warning("leadership.duties_failed", lease=self._name, error=str(error))
            await asyncio.sleep(self._length.total_seconds())

    async def _keep(self) -> None:
        """Renew the lease until somebody else holds it."""
        while True:
            await self._pause()
            if await self._claim() is False:
                return

    async def _claim(self) -> bool | None:
        """Tell whether the lease is held; None where the database does not say."""
        started = asyncio.get_running_loop().time()
        try:
            is_held = await self._leases.claim(self._name, holder=self._holder, length=self._length)
        except StorageUnavailableError as error:
            log.warning("leadership.unknown", lease=self._name, error=str(error))
            self._gauge.set(0)
            return None
        late = asyncio.get_running_loop().time() - started >= self._length.total_seconds()
        self._gauge.set(is_held and not late)
        return is_held

    def _report(self, error: Exception) -> None:
        """Say which bugs there are and where; what they say themselves may hold secrets."""
        self._failures.inc()
        for each in _parts(error):
            log.error(
                "leadership.duty_failed",
                lease=self._name,
                type=type(each).__name__,
                places=_places(each),
            )

    async def _stand_back(self) -> None:
        """Leave the lease to others for a while."""
        self._gauge.set(0)
        await self._release()
        await asyncio.sleep(self._length.total_seconds() * _STANDS_BACK)

    async def _pause(self) -> None:
        await asyncio.sleep(self._length.total_seconds() / _RENEWALS)

    async def _release(self) -> None:
        with suppress(StorageUnavailableError):  # it then ends by itself
            await self._leases.release(self._name, holder=self._holder)


def _is_cancelled() -> bool:
    """Tell whether the owner wants this to end: a task group hides that behind an error in it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _parts(error: BaseException) -> list[BaseException]:
    """Return the errors that task groups raised together, one by one."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [part for each in error.exceptions for part in _parts(each)]


def _places(error: BaseException) -> list[str]:
    """Return the modules and lines that an error came through, where it arose last."""
    frames = traceback.walk_tb(error.__traceback__)
    return [f"{frame.f_globals.get('__name__')}:{line}" for frame, line in frames]
