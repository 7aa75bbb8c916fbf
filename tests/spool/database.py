"""Histories that know of versions and action_ids, and can be away, contended or particular."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime

from gate.domain.record import Recording, Write
from gate.domain.trace import History
from gate.domain.workload import WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.ports.histories import Question

AWAY = "PostgreSQL cannot be reached"
Interruption = Callable[[Recording], Awaitable[None]]


class Database:
    """Satisfies `Histories` as far as a replay needs it.

    `traces` are what was written, by action_id, in order. `locked` workloads never answer a write,
    and nothing does while `is_frozen`; `refused` and `unplaced` action_ids never fit.
    `before_write` runs before each.
    """

    def __init__(self) -> None:
        self.traces: dict[str, Recording] = {}
        self.versions: Counter[WorkloadKey] = Counter()
        self.is_away = False
        self.is_frozen = False
        self.locked: set[WorkloadKey] = set()
        self.refused: set[str] = set()
        self.unplaced: set[str] = set()
        self.loses_replies = False
        self.calls = 0
        self.before_write: Interruption | None = None

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        del now
        await self._answer(deadline)
        return History(question.key, version=self.versions[question.key])

    async def record(self, write: Write, *, deadline: float) -> bool:
        assert isinstance(write, Recording)
        await self._answer(deadline)
        if self.before_write is not None:
            await self.before_write(write)
        action_id = write.trace.action_id
        if write.key in self.locked:
            await _hang(deadline)
        if action_id in self.refused:
            raise UnusableRecordError("a value does not fit its column")
        if action_id in self.unplaced:
            raise MissingPartitionError("no partition takes 2026-10")
        is_written = self._write(write)
        if self.loses_replies:
            raise StorageUnavailableError("the connection to PostgreSQL was lost")
        return is_written

    def ids(self, key: WorkloadKey) -> list[str]:
        """Return the action_ids of a workload, in the order of their versions."""
        return [action_id for action_id, one in self.traces.items() if one.key == key]

    async def _answer(self, deadline: float) -> None:
        self.calls += 1
        if self.is_frozen:
            await _hang(deadline)
        if self.is_away:
            raise StorageUnavailableError(AWAY)

    def _write(self, write: Recording) -> bool:
        action_id = write.trace.action_id
        if action_id in self.traces:
            self.traces[action_id] = write
            return True
        if write.expected_version is not None:
            if write.expected_version != self.versions[write.key]:
                return False
            self.versions[write.key] += 1
        self.traces[action_id] = write
        return True


async def _hang(deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await asyncio.get_running_loop().create_future()
    except TimeoutError as error:
        raise StorageUnavailableError("PostgreSQL did not answer in time") from error
