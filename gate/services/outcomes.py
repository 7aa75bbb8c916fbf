"""Tells what became of admitted changes: by what a watch shows, never by its silence."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from gate.domain.following import follow, follow_late
from gate.domain.outcome import GRACE, UNDONE_WITHIN, Awaited, AwaitedChanges, Progress, is_overdue
from gate.domain.trace import ExecutionStatus
from gate.domain.workload import WorkloadKey
from gate.errors import ClusterError
from gate.ports.outcomes import Outcomes
from gate.ports.workloads import WorkloadReader
from gate.services.journal import KEPT_FOR, Journal
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

LOOK_BACK = timedelta(hours=24)
_AT_MOST = 10_000
# Traces are written before their change can be seen; the rest is for clocks that differ, and for
# what the last look may have missed while it was being committed.
_OVERLAP = timedelta(minutes=2)
_THOROUGH_EVERY = timedelta(minutes=1)  # traces from a spool come late, with their own time
_IDLE_EVERY = timedelta(seconds=5)
_SKEW = timedelta(seconds=5)
_READS_AT_ONCE = 8
_AGAIN_AT_FIRST = timedelta(seconds=15)
_AGAIN_AT_LAST = timedelta(hours=1)
_USUAL_DEADLINE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Held:
    """A change that is followed, what is on record of it, and when its object is read again.

    `known_since` is by the clock that may be set, `timer` by the one that never is, in seconds;
    `number` is of the newest journal entry that it has been followed through.
    """

    change: Awaited
    known_since: datetime
    timer: float
    number: int | None = None
    recorded: tuple[ExecutionStatus, bool] = (ExecutionStatus.PENDING, False)
    read_again_at: datetime | None = None
    pause: timedelta = _AGAIN_AT_FIRST

    @property
    def is_news(self) -> bool:
        """Tell whether more is known than is on record."""
        return _summary(self.change) != self.recorded


class OutcomeKeeper:
    """Follows the admitted changes of one cluster; for one process, from one start of a watch.

    What a watch sees goes to `journal`. Several may do so at once: each outcome is written once.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        workloads: WorkloadReader,
        *,
        journal: Journal,
        cluster: str,
        clock: Callable[[], datetime],
        timer: Callable[[], float],
        metrics: Metrics,
        grace: timedelta = GRACE,
    ) -> None:
        """Follow the changes of `cluster`; `timer` gives seconds of a clock that nobody sets.

        `grace` is how long the API server may go on retrying one request.
        """
        self._outcomes = outcomes
        self._workloads = workloads
        self._journal = journal
        self._cluster = cluster
        self._clock = clock
        self._timer = timer
        self._metrics = metrics
        self._grace = grace
        self._held: dict[str, _Held] = {}
        self._number = 0
        self._looked_at: datetime | None = None
        self._thorough_at: datetime | None = None

    async def run_once(self) -> int:
        """Look for changes, follow them through what was seen, and write what is known.

        Returns how many outcomes were written. Raises StorageUnavailableError; nothing is lost by
        that, for the journal keeps what was seen.
        """
        now, number = self._clock(), self._journal.number
        if self._is_idle(now, number):
            return 0
        # In this order: the trace of a change is on record before the change can be seen.
        await self._look(now)
        self._follow(number)
        await self._read_overdue(now)
        self._number = number
        written = await self._write()
        pending = sum(h.change.is_pending or h.change.is_executing for h in self._held.values())
        self._metrics.outcomes_awaited.set(pending)
        return written

    def _is_idle(self, now: datetime, number: int) -> bool:
        """Tell whether nothing was seen and nothing is to be written, so that a look can wait."""
        if number != self._number or self._looked_at is None:
            return False
        is_written = not any(held.is_news for held in self._held.values())
        return is_written and timedelta(0) <= now - self._looked_at < _IDLE_EVERY

    async def _look(self, now: datetime) -> None:
        """Take up new changes, and again those whose request was asked about once more."""
        due = self._thorough_at is None or not (
            timedelta(0) <= now - self._thorough_at < _THOROUGH_EVERY
        )
        since = now - LOOK_BACK if due else (self._looked_at or now) - _OVERLAP
        found = await self._outcomes.list_awaited(
            self._cluster,
            since=since,
            completed_since=max(since, now - UNDONE_WITHIN),
            at_most=_AT_MOST,
        )
        self._looked_at = now
        if found.is_cut:
            self._metrics.outcomes_truncated.inc()
            log.warning("outcome.list_cut", since=since.isoformat(), at_most=_AT_MOST)
        if due:
            self._thorough_at = now
            self._journal.prune(before=now - KEPT_FOR)
            self._forget_unlisted(found, since)
        for change in found.changes:
            self._take_up(change, now)

    def _forget_unlisted(self, found: AwaitedChanges, since: datetime) -> None:
        """Forget what is over or too old; what a list that was cut lacks may be neither."""
        listed = {change.action_id for change in found.changes}
        self._held = {
            id_: held
            for id_, held in self._held.items()
            if id_ in listed or (found.is_cut and held.change.at >= since)
        }

    def _take_up(self, change: Awaited, now: datetime) -> None:
        held = self._held.get(change.action_id)
        if held is None:
            held = _Held(_restore(change, now), now, self._timer(), recorded=_summary(change))
        elif _summary(change) != held.recorded:
            # Somebody else wrote, too: that holds, unless what is known here comes after it.
            known = held.change if _comes_after(held.change, change) else _restore(change, now)
            held = replace(held, change=known, recorded=_summary(change))
        elif held.change.is_pending and held.change.resource_version != change.resource_version:
            held = replace(held, change=change, number=None)
        self._held[change.action_id] = held

    def _follow(self, number: int) -> None:
        """Follow the changes of each workload of which there is news, through what was seen."""
        changed = self._journal.list_changed(after=self._number)
        fresh = {held.change.key for held in self._held.values() if held.number is None}
        for key, group in _by_workload(self._held.values()):
            if key in changed or key in fresh:
                self._follow_workload(key, group, number)

    def _follow_workload(self, key: WorkloadKey, group: list[_Held], number: int) -> None:
        changes = tuple(held.change for held in group)
        after = min(held.number or 0 for held in group)
        for entry in self._journal.read(key, after=after, up_to=number):
            changes = follow(changes, entry.seen, previous=entry.previous)
        for held, change in zip(group, changes, strict=True):
            self._held[change.action_id] = replace(held, change=change, number=number)

    async def _read_overdue(self, now: datetime) -> None:
        """Read the objects of changes that nothing more may be seen of, some at once."""
        overdue = [held for held in self._held.values() if self._is_to_be_read(held, now)]
        async with asyncio.TaskGroup() as tasks:
            for held in overdue[:_READS_AT_ONCE]:
                tasks.create_task(self._read(held, now))

    def _is_to_be_read(self, held: _Held, now: datetime) -> bool:
        if held.read_again_at is not None and now < held.read_again_at:
            return False
        waited = timedelta(seconds=self._timer() - held.timer)
        return is_overdue(held.change, waited=waited, now=now, grace=self._grace)

    async def _read(self, held: _Held, now: datetime) -> None:
        change = held.change
        try:
            seen = await self._workloads.read(change.key)
        except ClusterError as error:
            log.warning("outcome.unread", workload=str(change.key), error=str(error))
        else:
            is_continuous = self._journal.is_continuous(
                change.key, since=change.at - _SKEW, until=held.known_since + self._grace
            )
            change = follow_late(change, seen, now=now, is_continuous=is_continuous)
        self._held[change.action_id] = replace(
            held,
            change=change,
            read_again_at=now + held.pause,
            pause=min(2 * held.pause, _AGAIN_AT_LAST),
        )

    async def _write(self) -> int:
        """Write what is known now; what somebody else holds at the moment comes next time."""
        news = [held for held in self._held.values() if held.is_news]
        written = await self._outcomes.mark([held.change for held in news])
        for held in news:
            change = held.change
            if change.action_id not in written:
                continue
            self._metrics.outcomes.labels(change.outcome.status).inc()
            log.info(
                "outcome.told",
                action_id=change.action_id,
                status=change.outcome.status,
                error=change.outcome.error,
            )
            self._held[change.action_id] = replace(held, recorded=_summary(change))
        self._held = {i: held for i, held in self._held.items() if not _is_over(held)}
        return len(written)


def _summary(change: Awaited) -> tuple[ExecutionStatus, bool]:
    return change.outcome.status, change.outcome.undoing is not None


def _restore(change: Awaited, now: datetime) -> Awaited:
    """Return a change as it is on record; how long its rollout stands still is counted anew."""
    progress = Progress(0, 0, now, _USUAL_DEADLINE) if change.is_executing else None
    return replace(change, progress=progress)


def _comes_after(known: Awaited, recorded: Awaited) -> bool:
    """Tell whether what is known of a change may be written over what is on record."""
    if recorded.is_pending:
        return True
    if recorded.is_executing:
        return not known.is_pending
    return known.outcome.undoing is not None


def _is_over(held: _Held) -> bool:
    return held.change.is_settled and not held.is_news


def _by_workload(held: Iterable[_Held]) -> list[tuple[WorkloadKey, list[_Held]]]:
    """Return what is held for each workload, in order of version."""
    ordered = sorted(held, key=lambda each: (each.change.key, each.change.version, each.change.at))
    return [(key, list(group)) for key, group in groupby(ordered, lambda each: each.change.key)]
