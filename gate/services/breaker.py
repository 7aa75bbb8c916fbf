"""A circuit breaker: a database that is away costs few reviews their time, and the rest none."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import structlog

from gate.domain.record import Write
from gate.domain.trace import History
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.ports.histories import Histories, Question
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_OUTAGES = 3
_PAUSE = 1.0  # seconds between two probes
_PROBE_LIMIT = 1.0  # seconds of one review that a probe may cost at most
# A call that was given less, in seconds, says nothing about the database where it fails.
_FAIR_CHANCE = 0.25
_REFUSAL = "PostgreSQL did not answer the last calls; it is asked again within a second"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that was let through: from when to when, and whether others wait for how it ends."""

    started: float
    limit: float
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

    def enter(self, now: float, *, deadline: float) -> Attempt | None:
        """Let a call through, or return None where it is to fail at once."""
        if self._opened_at is None:
            return Attempt(now, deadline, is_probe=False)
        if self._is_probing or now < self._opened_at + self._pause:
            return None
        self._is_probing = True
        return Attempt(now, min(deadline, now + _PROBE_LIMIT), is_probe=True)

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
        attempt = self._enter(deadline)
        try:
            history = await self._histories.read(question, now=now, deadline=attempt.limit)
        except BaseException as error:
            self._note_failure(attempt, error)
            raise
        self._note_answer()
        return history

    async def record(self, write: Write, *, deadline: float) -> bool:
        """Write an item; raises StorageUnavailableError at once while open.

        A history that moved is an answer like any other.
        """
        attempt = self._enter(deadline)
        try:
            is_written = await self._histories.record(write, deadline=attempt.limit)
        except BaseException as error:
            self._note_failure(attempt, error)
            raise
        self._note_answer()
        return is_written

    def _enter(self, deadline: float) -> Attempt:
        attempt = self._breaker.enter(asyncio.get_running_loop().time(), deadline=deadline)
        if attempt is None:
            raise StorageUnavailableError(_REFUSAL)
        return attempt

    def _note_answer(self) -> None:
        self._breaker.note_answer(asyncio.get_running_loop().time())
        self._report("")

    def _note_failure(self, attempt: Attempt, error: BaseException) -> None:
        if isinstance(error, MissingPartitionError | UnusableRecordError):
            self._note_answer()
        elif isinstance(error, StorageUnavailableError):
            self._note_outage(attempt, str(error))
        else:
            self._breaker.note_nothing(attempt)

    def _note_outage(self, attempt: Attempt, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now >= attempt.limit and attempt.limit - attempt.started < _FAIR_CHANCE:
            self._breaker.note_nothing(attempt)
        else:
            self._breaker.note_outage(attempt, now)
        self._report(reason)

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
