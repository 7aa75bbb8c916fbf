"""Natural batching: what arrives while the database is busy goes with the next statement."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

from gate.errors import GateError, StorageUnavailableError
from gate.postgres.failures import is_about_rows, raise_unavailable

AT_MOST = 64
IN_FLIGHT = 2
# So many go together at any time; of more, a batch takes half of those that are left, so that
# some are dealt with here while PostgreSQL has others. Larger ones would leave both idle in turn.
_FEW = 16

# The outcome of those whose deadline came first.
_LATE: Final = TimeoutError()

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
Run = Callable[[Sequence[_Item], float], Awaitable[Sequence[_Answer | Exception]]]


@dataclass(slots=True, eq=False)
class _Waiter(Generic[_Item, _Answer]):
    """One item, and who waits for its answer; a failure is an answer too."""

    item: _Item
    deadline: float
    turn: Hashable | None
    outcome: "asyncio.Future[_Answer | Exception]"
    goes_alone: bool = False

    def settle(self, outcome: _Answer | Exception) -> None:
        """Give the answer, unless nobody waits for it any more."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


_Batch: TypeAlias = Sequence[_Waiter[_Item, _Answer]]


class Batches(Generic[_Item, _Answer]):
    """Runs items in batches of at most 64, two at once; with one caller nothing waits.

    With `turn_of`, items of one turn never run at the same time, and locks may be waited for: a
    batch then has half of the time that is left, so that its items can still go one by one. An
    answer may be an exception, which is raised to whoever waits for it.
    """

    def __init__(
        self,
        run: Run[_Item, _Answer],
        *,
        turn_of: Callable[[_Item], Hashable] | None = None,
    ) -> None:
        self._run = run
        self._turn_of = turn_of
        self._queue: list[_Waiter[_Item, _Answer]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._taken: set[Hashable] = set()
        self._is_launching = False
        # One alarm for all who wait, at the earliest deadline or before it: a timer for each would
        # cost more than all else that is done for it here.
        self._waiting: set[_Waiter[_Item, _Answer]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    async def submit(self, item: _Item, *, deadline: float) -> _Answer:
        """Return the answer to an item by the deadline, a time of the loop's clock.

        Raises StorageUnavailableError where there is none by then. Whoever gives up earlier is
        dropped from the queue; a batch that has begun goes on for the others.
        """
        turn = None if self._turn_of is None else self._turn_of(item)
        answer = asyncio.get_running_loop().create_future()
        waiter: _Waiter[_Item, _Answer] = _Waiter(item, deadline, turn, answer)
        self._queue.append(waiter)
        self._launch_soon()
        if deadline < self._alarm_at:
            self._set_alarm(deadline)
        self._waiting.add(waiter)
        try:
            outcome = await waiter.outcome
        finally:
            self._waiting.discard(waiter)
        if outcome is _LATE:
            raise_unavailable(TimeoutError())
        if isinstance(outcome, GateError):
            # One failure may go to many; each raises an exception of its own.
            raise type(outcome)(*outcome.args) from outcome.__cause__
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.get_running_loop().call_at(at, self._dismiss_late)

    def _dismiss_late(self) -> None:
        """Let those go whose deadline has come, and look again when the next one does."""
        # A timer may be early by the loop's resolution.
        now = max(self._alarm_at, asyncio.get_running_loop().time())
        self._alarm, self._alarm_at = None, math.inf
        for waiter in self._waiting:
            if waiter.deadline <= now:
                waiter.settle(_LATE)
        later = [waiter.deadline for waiter in self._waiting if waiter.deadline > now]
        if later:
            self._set_alarm(min(later))

    def _launch_soon(self) -> None:
        """Launch when all that can run now has had the chance to add its items."""
        if not self._is_launching and len(self._running) < IN_FLIGHT:
            self._is_launching = True
            asyncio.get_running_loop().call_soon(self._launch)

    def _launch(self) -> None:
        self._is_launching = False
        while len(self._running) < IN_FLIGHT and (batch := self._take()):
            task = asyncio.create_task(  # noqa: TID251 - outlives whoever began it, not its deadline
                self._settle(batch)
            )
            self._running.add(task)
            task.add_done_callback(partial(self._finish, batch))

    def _take(self) -> list[_Waiter[_Item, _Answer]]:
        """Take the first items whose turn it is out of the queue, and drop those given up."""
        batch: list[_Waiter[_Item, _Answer]] = []
        left: list[_Waiter[_Item, _Answer]] = []
        room = min(max(_FEW, math.ceil(len(self._queue) / IN_FLIGHT)), AT_MOST)
        for waiter in self._queue:
            if waiter.outcome.done():
                continue
            has_room = len(batch) < room and (not batch or _may_join(batch, waiter))
            if has_room and waiter.turn not in self._taken:
                batch.append(waiter)
                if waiter.turn is not None:
                    self._taken.add(waiter.turn)
            else:
                left.append(waiter)
        self._queue = left
        return batch

    def _finish(self, batch: _Batch[_Item, _Answer], task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._taken.difference_update(waiter.turn for waiter in batch)
        if self._queue and not task.cancelled():
            self._launch_soon()

    async def _settle(self, batch: _Batch[_Item, _Answer]) -> None:
        """Run a batch and answer all who wait for it.

        Where one item may be at fault, all go again, each alone and before others.
        """
        try:
            outcomes = await self._run([waiter.item for waiter in batch], self._end_of(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait
            if len(batch) > 1 and self._may_be_of_one(error):
                for waiter in batch:
                    waiter.goes_alone = True
                self._queue[:0] = batch
                return
            outcomes = [error] * len(batch)
        for waiter, outcome in zip(batch, outcomes, strict=True):
            waiter.settle(outcome)

    def _end_of(self, batch: _Batch[_Item, _Answer]) -> float:
        """Return when a batch must be over: when the last one who waits for it gives up."""
        latest = max(waiter.deadline for waiter in batch)
        if self._turn_of is None or len(batch) == 1:
            return latest
        return (asyncio.get_running_loop().time() + latest) / 2

    def _may_be_of_one(self, error: Exception) -> bool:
        """Tell whether a failure may be due to one item: to its values, or a lock on its row."""
        if not isinstance(error, StorageUnavailableError):
            return True
        is_timeout = isinstance(error.__cause__, TimeoutError)
        return is_about_rows(error.__cause__) or (is_timeout and self._turn_of is not None)


def _may_join(batch: _Batch[_Item, _Answer], waiter: _Waiter[_Item, _Answer]) -> bool:
    return not waiter.goes_alone and not batch[0].goes_alone
