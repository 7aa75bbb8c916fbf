"""Traces that the database could not take: to the local disk, and from there once it can.

Whatever is replayed twice is written once: the database recognises an action_id that it has.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from gate.domain.record import Recording
from gate.domain.trace import Verdict
from gate.domain.workload import WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.ports import Histories, Question, Spool, SpooledEntry, SpoolProblem, SpoolReason
from gate.services.readiness import Readiness
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_NOTE = "spool"
_NOTE_OF_LOSSES = "spool losses"
_PASSING = (SpoolReason.ABSENT, SpoolReason.FULL, SpoolReason.UNWRITABLE, SpoolReason.LATE)
_PATIENCE = 5.0  # seconds for what waits of one workload, or a part of it, in the background
_PAUSE = 0.2  # seconds between attempts at the end
_WORKERS = 8
# As many workloads that fail in a row, and the database is taken to be away for all of them.
_OUTAGES = 3


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
        self._turns: WeakValueDictionary[WorkloadKey, asyncio.Lock] = WeakValueDictionary()
        self._failed: frozenset[WorkloadKey] = frozenset()
        self._told: set[SpoolProblem] = set()

    async def open(self) -> None:
        """Take hold of the spool, if that is still to be done, and tell what is wrong with it."""
        problems = await self._spool.open()
        for problem in problems:
            self._tell_once(problem)
        passed = {problem for problem in self._told if problem.reason in _PASSING}
        if passed and not passed.intersection(problems):
            self._told -= passed
            self._readiness.drop_note(_NOTE)
        self._measure()

    async def append(self, recording: Recording, *, deadline: float) -> SpoolProblem | None:
        """Keep a trace on the disk before the deadline, a time of the loop's clock.

        None once it survives a loss of power; a problem is counted, logged and told by /readyz.
        """
        stamped = replace(recording, spooled_at=recording.spooled_at or self._clock())
        problem = await self._spool.append(stamped, deadline=deadline)
        if problem is None:
            self._readiness.drop_note(_NOTE)
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

        Raises StorageUnavailableError where the database does not take it in time. What it refuses
        for ever is set aside, and what has no partition stays.
        """
        if not self._spool.holds(key):
            return
        try:
            async with asyncio.timeout_at(deadline), self._turn(key):
                await self._replay(key, deadline)
        except TimeoutError as error:
            raise StorageUnavailableError(
                f"the traces of {key} that wait in the spool could not be recorded in time"
            ) from error
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

    async def close(self, *, deadline: float) -> None:
        """Hand over what the database takes until the deadline, and let go of the disk."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._empty()
        except TimeoutError:
            left = self._spool.measure().entries
            log.warning("spool.left", entries=left, effect="the next start hands it over")
        finally:
            await self._spool.close()

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
        is_answering = False

        async def work() -> None:
            nonlocal is_answering
            for key in left:
                deadline = asyncio.get_running_loop().time() + _PATIENCE
                try:
                    await self.flush(key, deadline=deadline)
                except StorageUnavailableError as error:
                    failed[key] = error
                    if len(failed) >= _OUTAGES and not is_answering:
                        return
                else:
                    is_answering = True

        async with asyncio.TaskGroup() as workers:
            for _ in range(_WORKERS):
                workers.create_task(work())
        self._failed = frozenset(failed)
        if failed:
            raise next(iter(failed.values()))

    async def _replay(self, key: WorkloadKey, deadline: float) -> None:
        last = 0
        while entries := await self._spool.read(key, after=last):
            recorded: list[int] = []
            try:
                for entry in entries:
                    last = entry.number
                    if await self._hand_over(entry, deadline):
                        recorded.append(entry.number)
            finally:
                await self._spool.remove(key, recorded)
            if recorded:
                log.info("spool.replayed", workload=str(key), traces=len(recorded))

    async def _hand_over(self, entry: SpooledEntry, deadline: float) -> bool:
        """Record an entry on the newest version; False where it was not, and never blocks others.

        Raises StorageUnavailableError where the database does not answer.
        """
        recording = entry.recording
        if recording is None:
            self._report(await self._spool.set_aside(entry))
            return False
        try:
            while not await self._record(recording, deadline):
                if asyncio.get_running_loop().time() > deadline:
                    raise StorageUnavailableError(
                        f"others kept changing the history of {entry.key}"
                    )
        except MissingPartitionError as error:
            self._tell_once(SpoolProblem(SpoolReason.REFUSED, str(error)))
            return False
        except UnusableRecordError as error:
            action_id = recording.trace.action_id
            self._report(await self._spool.set_aside(entry), action_id=action_id, error=str(error))
            return False
        return True

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
    async def _turn(self, key: WorkloadKey) -> AsyncIterator[None]:
        """Let one at a time replay a workload: the order of its traces is theirs."""
        lock = self._turns.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def _tell_once(self, problem: SpoolProblem, **details: str) -> None:
        """Report what would otherwise be reported again and again."""
        if problem not in self._told:
            self._told.add(problem)
            self._report(problem, **details)

    def _report(self, problem: SpoolProblem, **details: str) -> None:
        self._metrics.spool_failures.labels(problem.reason).inc()
        note = _NOTE if problem.reason in _PASSING else _NOTE_OF_LOSSES
        self._readiness.note(note, problem.message)
        if problem.reason is SpoolReason.ABSENT:
            return  # chosen so; the line of each admission says that nothing is recorded
        log.error("spool.failed", reason=problem.reason, problem=problem.message, **details)

    def _measure(self) -> None:
        size = self._spool.measure()
        waited = timedelta(0) if size.oldest is None else self._clock() - size.oldest
        self._metrics.spool_entries.set(size.entries)
        self._metrics.spool_bytes.set(size.bytes)
        self._metrics.spool_oldest.set(max(waited.total_seconds(), 0))
