"""Histories that fail in the ways a database can, and one way in which code can."""

import asyncio
from datetime import datetime

from gate.domain.record import Write
from gate.domain.trace import History
from gate.errors import MissingPartitionError, StorageUnavailableError
from gate.ports.histories import Question
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

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        self.is_asked.set()
        try:
            async with asyncio.timeout_at(deadline):
                await self.answers.wait()
        except TimeoutError as error:
            raise StorageUnavailableError("PostgreSQL did not answer in time") from error
        return await super().read(question, now=now, deadline=deadline)


class DeafHistories(MemoryHistories):
    """An adapter that forgets its deadline."""

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        del question, now, deadline
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never set


class ReadOnlyHistories(MemoryHistories):
    """A database that is read but fails to write, with an error of the test's choice."""

    def __init__(self, error: StorageUnavailableError | MissingPartitionError) -> None:
        super().__init__()
        self.error = error

    async def record(self, write: Write, *, deadline: float) -> bool:
        del write, deadline
        raise self.error


class BuggyHistories(MemoryHistories):
    """An adapter with a bug, whose exception quotes what it was given."""

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        del question, now, deadline
        raise RuntimeError(f"cannot encode {SECRET_OF_A_BUG!r}")


class ContendedHistories(MemoryHistories):
    """A history that somebody else always moves first."""

    async def record(self, write: Write, *, deadline: float) -> bool:
        if write.expected_version is not None:
            await asyncio.sleep(0)
            return False
        return await super().record(write, deadline=deadline)
