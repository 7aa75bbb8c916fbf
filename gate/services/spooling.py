"""Traces that the database could not take: to the local disk, and from there once it can.

Whatever is replayed twice is written once: the database recognises an action_id that it has.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn
from weakref import WeakValueDictionary

import structlog

from gate.domain.record import Recording
from gate.domain.trace import Verdict
from gate.domain.workload import WorkloadKey
from gate.errors import (
    BusyHistoryError,
    MissingPartitionError,
    StorageUnavailableError,
    UnusableRecordError,
)
from gate.ports.histories import Histories, Question
from gate.ports.spool import Spool, SpooledEntry, SpoolProblem, SpoolReason
from gate.services.readiness import Readiness
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_NOTE = "spool"
_NOTE_OF_LOSSES = "spool losses"
# What is over once nothing waits any more: there is room again, and the disk answers.
_OVER_WHEN_EMPTY = (SpoolReason.FULL, SpoolReason.LATE, SpoolReason.UNREADABLE)
_PASSING = (SpoolReason.ABSENT, SpoolReason.UNWRITABLE, *_OVER_WHEN_EMPTY)
_PATIENCE = 5.0  # seconds for what waits of one workload, or a part of it, in the background
_PAUSE = 0.2  # seconds between attempts at the end
_LET_GO_WITHIN = 0.5  # seconds for the disk alone, at the end
_WORKERS = 8
_TOGETHER = 8  # traces that are handed over before others may have a turn
# What those who ask for a flush need for an answer, in seconds, where it takes too long.
_RESERVE = 0.3
# As many workloads that fail in a row, and the database is taken to be away for all of them.
_OUTAGES = 3


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Turn:
    """Who may hand over traces of a workload, one at a time: their order is theirs.

    `written_at` is when the database last answered a write of one.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    written_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Flush:
    """Handing over what waits of one workload: since when, and until when, in the loop's time."""

    key: WorkloadKey
    turn: _Turn
    began: float
    deadline: float

    @property
    def latest(self) -> float:
        """Return when to give up where the database answers."""
        return self.deadline - min(_RESERVE, (self.deadline - self.began) / 4)

    @property
    def is_answered(self) -> bool:
        """Tell whether the database has taken, or turned down, anything of it meanwhile."""
        return self.turn.written_at >= self.began

    def require_time(self, now: float) -> None:
        """Raise BusyHistoryError where time is up though the database answers."""
        if now > self.latest and self.is_answered:
            self.give_up()

    def give_up(self) -> NoReturn:
        """Raise what it was that took too long: others, or the database."""
        if self.is_answered:
            raise BusyHistoryError(
                f"the traces of {self.key} that wait in the spool are still being recorded"
            )
        raise StorageUnavailableError(
            f"the traces of {self.key} that wait in the spool could not be recorded in time"
        )


class SpoolKeeper:
    """Keeps traces in the spool, and hands them to the database workload by workload, in order."""

    def __init__(
        self,
        spool: Spool,
        histories: Histories,
        *,
        max_age: timedelta,
        clock: Callable[[], datetime],
        metrics: Metrics,
        readiness: Readiness,
    ) -> None:
        self._spool = spool
        self._histories = histories
        self._max_age = max_age
        self._clock = clock
        self._metrics = metrics
        self._readiness = readiness
        self._turns: WeakValueDictionary[WorkloadKey, _Turn] = WeakValueDictionary()
        self._failed: frozenset[WorkloadKey] = frozenset()
        self._told: set[SpoolProblem] = set()
        self._shut: frozenset[SpoolProblem] = frozenset()
        self._noted: SpoolReason | None = None

    async def open(self) -> None:
        """Take hold of the spool, if that is still to be done, and tell what is wrong with it."""
        problems = await self._spool.open()
        for problem in problems:
            self._tell_once(problem)
        shut = frozenset(each for each in problems if each.reason is SpoolReason.UNWRITABLE)
        if self._shut and not shut:
            self._told -= self._shut
            self._drop_note()
        self._shut = shut
        self._measure()

    async def append(self, recording: Recording, *, deadline: float) -> SpoolProblem | None:
        """Keep a trace on the disk before the deadline, a time of the loop's clock.

        None once it survives a loss of power; a problem is counted, logged and told by /readyz.
        """
        stamped = replace(recording, spooled_at=recording.spooled_at or self._clock())
        problem = await self._spool.append(stamped, deadline=deadline)
        if problem is None:
            self._drop_note()
        else:
            self._report(problem, action_id=recording.trace.action_id)
        self._measure()
        return problem

    async def list_waiting(self, key: WorkloadKey, *, deadline: float) -> tuple[Recording, ...]:
        """Return the newest traces of a workload that wait, 64 at most; none if the disk hangs."""
        try:
            async with asyncio.timeout_at(deadline):
                entries = await self._spool.read_latest(key)
        except TimeoutError:
            return ()
        return tuple(one.recording for one in entries if one.recording is not None)

    async def flush(self, key: WorkloadKey, *, deadline: float) -> None:
        """Hand over all that waits of a workload, before it is decided again.

        Raises StorageUnavailableError where the database does not take it in time, and somewhat
        earlier BusyHistoryError where it answers, but others keep changing the history or hand over
        the same. What it refuses for ever is set aside, and what has no partition stays.
        """
        if not self._spool.holds(key):
            return
        turn = self._turns.setdefault(key, _Turn())
        flush = _Flush(key, turn, asyncio.get_running_loop().time(), deadline)
        try:
            await self._replay(flush)
        finally:
            self._measure()

    async def run_once(self) -> None:
        """Hand over all that waits; raises StorageUnavailableError where the database is away.

        One workload that cannot be written does not keep the others waiting: it comes last the next
        time.
        """
        await self.open()
        expired = await self._spool.expire(before=self._clock() - self._max_age)
        if expired is not None:
            self._report(expired)
        try:
            await self._replay_all(sorted(self._spool.list_keys(), key=self._failed.__contains__))
        finally:
            self._measure()
        self._note_empty()

    async def close(self, *, deadline: float) -> None:
        """Hand over what the database takes until the deadline, and let go of the disk.

        The disk has half a second more for that.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._empty()
        except TimeoutError:
            left = self._spool.measure().entries
            log.warning("spool.left", entries=left, effect="the next start hands it over")
        finally:
            await self._spool.close(deadline=asyncio.get_running_loop().time() + _LET_GO_WITHIN)

    async def _empty(self) -> None:
        """Try until the database has taken what it can; it may be on its way back."""
        while self._spool.list_keys():
            try:
                await self.run_once()
            except StorageUnavailableError:
                await asyncio.sleep(_PAUSE)
            else:
                break  # what is left has no place in the database yet

    async def _replay_all(self, keys: Iterable[WorkloadKey]) -> None:
        left = iter(keys)
        failed: dict[WorkloadKey, StorageUnavailableError] = {}
        busy: set[WorkloadKey] = set()
        is_answering = False

        async def work() -> None:
            nonlocal is_answering
            for key in left:
                deadline = asyncio.get_running_loop().time() + _PATIENCE
                try:
                    await self.flush(key, deadline=deadline)
                except BusyHistoryError:
                    busy.add(key)
                    is_answering = True
                except StorageUnavailableError as error:
                    failed[key] = error
                    if len(failed) >= _OUTAGES and not is_answering:
                        return
                else:
                    is_answering = True

        async with asyncio.TaskGroup() as workers:
            for _ in range(_WORKERS):
                workers.create_task(work())
        self._failed = frozenset(failed) | busy
        if failed:
            raise next(iter(failed.values()))

    async def _replay(self, flush: _Flush) -> None:
        """Hand over a few after a few; in between, others who wait for it have their turn."""
        last: int | None = 0
        while last is not None:
            async with self._taking_turn(flush):
                last = await self._replay_some(flush, after=last)

    async def _replay_some(self, flush: _Flush, *, after: int) -> int | None:
        """Hand over the next few, and return the number of the last; None where none was left."""
        entries = await self._read(flush, after=after)
        recorded: list[int] = []
        last: int | None = None
        try:
            for entry in entries:
                last = entry.number
                if await self._hand_over(entry, flush):
                    recorded.append(last)
        finally:
            with suppress(TimeoutError):  # they are forgotten at once; the disk may take its time
                async with asyncio.timeout(_LET_GO_WITHIN):
                    await self._spool.remove(flush.key, recorded)
        if recorded:
            log.info("spool.replayed", workload=str(flush.key), traces=len(recorded))
        return last

    async def _read(self, flush: _Flush, *, after: int) -> list[SpooledEntry]:
        try:
            async with asyncio.timeout_at(flush.deadline):
                return await self._spool.read(flush.key, after=after, at_most=_TOGETHER)
        except TimeoutError as error:
            raise StorageUnavailableError(
                f"the disk did not give the traces of {flush.key} that wait in the spool in time;"
                f" check its health"
            ) from error

    async def _hand_over(self, entry: SpooledEntry, flush: _Flush) -> bool:
        """Record an entry on the newest version; False where it was not, and never blocks others.

        Raises StorageUnavailableError where the database does not answer, and BusyHistoryError
        where it does and time is up all the same.
        """
        clock = asyncio.get_running_loop().time
        recording = entry.recording
        if entry.problem is not None:
            self._tell_once(entry.problem)
            return False
        if recording is None:
            await self._set_aside(entry, flush)
            return False
        is_recorded = False
        try:
            while not is_recorded:
                flush.require_time(clock())
                is_recorded = await self._record(recording, flush.deadline)
                flush.turn.written_at = clock()
        except MissingPartitionError as error:
            flush.turn.written_at = clock()
            self._tell_once(SpoolProblem(SpoolReason.REFUSED, str(error)))
            return False
        except UnusableRecordError as error:
            flush.turn.written_at = clock()
            action_id = recording.trace.action_id
            await self._set_aside(entry, flush, action_id=action_id, error=str(error))
            return False
        return True

    async def _set_aside(self, entry: SpooledEntry, flush: _Flush, **details: str) -> None:
        """Put an entry out of the way; where the disk does not take it, it comes up again."""
        try:
            async with asyncio.timeout_at(flush.deadline):
                problem = await self._spool.set_aside(entry)
        except TimeoutError:
            return
        if problem.reason is SpoolReason.REFUSED:
            self._report(problem, **details)
        else:
            self._tell_once(problem, **details)

    async def _record(self, recording: Recording, deadline: float) -> bool:
        """Write a trace as of now; False where its history moved meanwhile."""
        if recording.expected_version is None and recording.trace.verdict is Verdict.DENY:
            # Denied for contention: it was never decided on a version.
            return await self._histories.record(recording, deadline=deadline)
        question = Question(recording.key, recording.trace.actor, recording.context.correlation_id)
        try:
            history = await self._histories.read(question, now=self._clock(), deadline=deadline)
        except UnusableRecordError as error:
            # What is there already cannot be read; the trace that waits is not to blame.
            raise StorageUnavailableError(str(error)) from error
        version = history.version
        current = replace(
            recording,
            expected_version=version,
            trace=replace(recording.trace, version=version + 1),
        )
        return await self._histories.record(current, deadline=deadline)

    @asynccontextmanager
    async def _taking_turn(self, flush: _Flush) -> AsyncIterator[None]:
        """Wait for those who hand over the same; of them it depends what a late turn means."""
        try:
            async with asyncio.timeout_at(flush.latest):
                await flush.turn.lock.acquire()
        except TimeoutError:
            flush.give_up()
        try:
            yield
        finally:
            flush.turn.lock.release()

    def _tell_once(self, problem: SpoolProblem, **details: str) -> None:
        """Report what would otherwise be reported again and again."""
        if problem not in self._told:
            self._told.add(problem)
            self._report(problem, **details)

    def _note_empty(self) -> None:
        """Forget what is over once nothing waits any more."""
        if self._spool.measure().entries:
            return
        self._told = {each for each in self._told if each.reason not in _OVER_WHEN_EMPTY}
        if self._noted in _OVER_WHEN_EMPTY:
            self._drop_note()

    def _drop_note(self) -> None:
        self._noted = None
        self._readiness.drop_note(_NOTE)

    def _report(self, problem: SpoolProblem, **details: str) -> None:
        self._metrics.spool_failures.labels(problem.reason).inc()
        is_passing = problem.reason in _PASSING
        if is_passing:
            self._noted = problem.reason
        self._readiness.note(_NOTE if is_passing else _NOTE_OF_LOSSES, problem.message)
        if problem.reason is SpoolReason.ABSENT:
            return  # chosen so; the line of each admission says that nothing is recorded
        log.error("spool.failed", reason=problem.reason, problem=problem.message, **details)

    def _measure(self) -> None:
        size = self._spool.measure()
        waited = timedelta(0) if size.oldest is None else self._clock() - size.oldest
        self._metrics.spool_entries.set(size.entries)
        self._metrics.spool_bytes.set(size.bytes)
        self._metrics.spool_oldest.set(max(waited.total_seconds(), 0))
