"""Histories that fail in the ways a database can, and one way in which code can."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from gate.domain.record import Write
from gate.domain.trace import History
from gate.domain.workload import WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError
from tests.fakes.histories import MemoryHistories

SECRET_OF_A_BUG = "s3cret-inside-an-exception"  # noqa: S105 - planted, to be looked for


class StalledHistories(MemoryHistories):
    """A database that neither answers nor closes the connection, until `answers` is set.

    `is_asked` is set as soon as something waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def read(
        self, keys: Sequence[WorkloadKey], *, now: datetime, deadline: float
    ) -> list[History]:
        self.is_asked.set()
        try:
            async with asyncio.timeout_at(deadline):
                await self.answers.wait()
        except TimeoutError as error:
            raise StorageUnavailableError("PostgreSQL did not answer in time") from error
        return await super().read(keys, now=now, deadline=deadline)


class DeafHistories(MemoryHistories):
    """An adapter that forgets its deadline."""

    async def read(
        self, keys: Sequence[WorkloadKey], *, now: datetime, deadline: float
    ) -> list[History]:
        del keys, now, deadline
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never set


class ReadOnlyHistories(MemoryHistories):
    """A database that is read but fails to write, with an error of the test's choice."""

    def __init__(self, error: StorageUnavailableError | MissingPartitionError) -> None:
        super().__init__()
        self.error = error

    async def record(self, writes: Sequence[Write], *, deadline: float) -> list[bool]:
        del writes, deadline
        raise self.error


class BuggyHistories(MemoryHistories):
    """An adapter with a bug, whose exception quotes what it was given."""

    async def read(
        self, keys: Sequence[WorkloadKey], *, now: datetime, deadline: float
    ) -> list[History]:
        del keys, now, deadline
        raise RuntimeError(f"cannot encode {SECRET_OF_A_BUG!r}")


class ContendedHistories(MemoryHistories):
    """A history that somebody else always moves first."""

    async def record(self, writes: Sequence[Write], *, deadline: float) -> list[bool]:
        if all(write.expected_version is not None for write in writes):
            await asyncio.sleep(0)
            return [False] * len(writes)
        return await super().record(writes, deadline=deadline)
