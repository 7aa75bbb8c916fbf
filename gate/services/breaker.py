"""A circuit breaker: a database that is away costs few reviews their time, and the rest none."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog

from gate.domain.record import Write
from gate.domain.trace import History
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.ports import Histories, Question
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_OUTAGES = 3
_PAUSE = 1.0  # seconds between two probes
_PROBE_LIMIT = 1.0  # seconds of one review that a probe may cost at most
# A call that was given less, in seconds, says nothing about the database where it fails.
_FAIR_CHANCE = 0.25
_REFUSAL = "PostgreSQL did not answer the last calls; it is asked again within a second"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that was let through: since when, and whether it decides if others may follow."""

    started: float
    is_probe: bool


class Breaker:
    """Opens after a few outages in a row; then one call at a time finds out if they are over.

    An outage is a call that failed while no other was answered: where others are, one lock or one
    full disk is not the whole database. Times are seconds of any steady clock.
    """

    def __init__(self, *, outages: int = _OUTAGES, pause: float = _PAUSE) -> None:
        self._limit = outages
        self._pause = pause
        self._outages = 0
        self._answered_at = float("-inf")
        self._opened_at: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """Tell whether calls fail at once."""
        return self._opened_at is not None

    def enter(self, now: float) -> Attempt | None:
        """Let a call through, or return None where it is to fail at once."""
        if self._opened_at is None:
            return Attempt(now, is_probe=False)
        if self._is_probing or now < self._opened_at + self._pause:
            return None
        self._is_probing = True
        return Attempt(now, is_probe=True)

    def note_answer(self, now: float) -> None:
        """Note that the database answered."""
        self._outages, self._answered_at = 0, now
        self._opened_at, self._is_probing = None, False

    def note_outage(self, attempt: Attempt, now: float) -> None:
        """Note that a call failed."""
        if attempt.is_probe:
            self._opened_at, self._is_probing = now, False
        elif self._opened_at is None and self._answered_at <= attempt.started:
            self._outages += 1
            if self._outages >= self._limit:
                self._opened_at = now

    def note_nothing(self, attempt: Attempt) -> None:
        """Note that a call ended in a way that says nothing; another may probe at once."""
        if attempt.is_probe:
            self._is_probing = False


class GuardedHistories:
    """Histories behind a circuit breaker; satisfies the port `Histories`."""

    def __init__(self, histories: Histories, breaker: Breaker, *, metrics: Metrics) -> None:
        self._histories = histories
        self._breaker = breaker
        self._metrics = metrics
        self._is_open = False

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        """Return a workload's history; raises StorageUnavailableError at once while open."""
        return await self._guard(
            lambda limit: self._histories.read(question, now=now, deadline=limit), deadline
        )

    async def record(self, write: Write, *, deadline: float) -> bool:
        """Write an item; raises StorageUnavailableError at once while open.

        A history that moved is an answer like any other.
        """
        return await self._guard(
            lambda limit: self._histories.record(write, deadline=limit), deadline
        )

    async def _guard(self, call: Callable[[float], Awaitable[_T]], deadline: float) -> _T:
        clock = asyncio.get_running_loop().time
        attempt = self._breaker.enter(clock())
        if attempt is None:
            raise StorageUnavailableError(_REFUSAL)
        limit = min(deadline, attempt.started + _PROBE_LIMIT) if attempt.is_probe else deadline
        try:
            answer = await call(limit)
        except (MissingPartitionError, UnusableRecordError):
            self._breaker.note_answer(clock())
            self._report("")
            raise
        except StorageUnavailableError as error:
            if clock() >= limit and limit - attempt.started < _FAIR_CHANCE:
                self._breaker.note_nothing(attempt)
            else:
                self._breaker.note_outage(attempt, clock())
            self._report(str(error))
            raise
        except BaseException:
            self._breaker.note_nothing(attempt)
            raise
        self._breaker.note_answer(clock())
        self._report("")
        return answer

    def _report(self, reason: str) -> None:
        """Tell of a change once, however many calls saw it."""
        is_open = self._breaker.is_open
        if is_open is self._is_open:
            return
        self._is_open = is_open
        self._metrics.breaker_open.set(is_open)
        if is_open:
            log.error("breaker.opened", reason=reason)
        else:
            log.info("breaker.closed")
