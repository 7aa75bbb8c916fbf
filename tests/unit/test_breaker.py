"""The circuit breaker: who pays for a database that is away, and how its return is noticed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from gate.domain.actor import Actor, Certainty
from gate.domain.record import Write
from gate.domain.trace import History
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.ports.histories import Question
from gate.services.breaker import Breaker, GuardedHistories
from gate.telemetry import Metrics
from tests.postgres.records import WEB, make_recording
from tests.virtual_time import run_in_virtual_time

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
AGENT = Actor("scaler", "user *", Certainty.PROVEN)
QUESTION = Question(WEB, AGENT.name)
PATIENCE = 3.0


class Database:
    """Answers as it is told: at once, with an error, or never."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_frozen = False
        self.moved = False
        self.calls = 0

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        del now
        await self._answer(deadline)
        return History(question.key)

    async def record(self, write: Write, *, deadline: float) -> bool:
        del write
        await self._answer(deadline)
        return not self.moved

    async def _answer(self, deadline: float) -> None:
        self.calls += 1
        if self.is_frozen:
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError as error:
                raise StorageUnavailableError("PostgreSQL did not answer in time") from error
        if self.error is not None:
            raise self.error


class Guarded:
    """A guarded database, and how long calls to it take."""

    def __init__(self) -> None:
        self.database, self.metrics = Database(), Metrics()
        self.histories = GuardedHistories(self.database, Breaker(), metrics=self.metrics)

    async def read(self, *, patience: float = PATIENCE) -> float:
        """Return how long a read took until it failed; -1 where it succeeded."""
        return await self._time(
            lambda deadline: self.histories.read(QUESTION, now=NOW, deadline=deadline), patience
        )

    async def record(self, *, patience: float = PATIENCE) -> float:
        return await self._time(
            lambda deadline: self.histories.record(make_recording(0), deadline=deadline), patience
        )

    @property
    def is_open(self) -> bool:
        return b"gate_breaker_open 1.0" in self.metrics.expose()

    async def _time(self, call: Callable[[float], Awaitable[object]], patience: float) -> float:
        begun = asyncio.get_running_loop().time()
        try:
            await call(begun + patience)
        except (StorageUnavailableError, MissingPartitionError):
            return asyncio.get_running_loop().time() - begun
        return -1


def run(scenario: Callable[[Guarded], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Guarded())

    run_in_virtual_time(main())


def test_a_frozen_database_costs_the_first_reviews_their_deadline_and_the_others_nothing() -> None:
    async def scenario(guarded: Guarded) -> None:
        assert await guarded.read() == -1
        guarded.database.is_frozen = True

        times = [await guarded.read() for _ in range(20)]

        assert times == [PATIENCE] * 3 + [0] * 17
        assert guarded.is_open

    run(scenario)


def test_a_probe_costs_one_review_a_second_at_most_and_the_others_nothing() -> None:
    async def scenario(guarded: Guarded) -> None:
        guarded.database.is_frozen = True
        await asyncio.gather(*(guarded.read() for _ in range(3)))
        await asyncio.sleep(1)

        times = await asyncio.gather(*(guarded.read() for _ in range(10)))

        assert sorted(times) == [0] * 9 + [1]
        assert guarded.is_open

    run(scenario)


def test_a_database_that_is_back_is_noticed_by_the_next_probe() -> None:
    async def scenario(guarded: Guarded) -> None:
        guarded.database.error = StorageUnavailableError("connection refused")
        for _ in range(3):
            await guarded.read()
        guarded.database.error = None

        assert await guarded.read() == 0  # too early to ask
        await asyncio.sleep(1)
        assert await guarded.read() == -1
        assert await guarded.record() == -1
        assert not guarded.is_open

    run(scenario)


def test_a_history_that_moved_is_no_outage() -> None:
    async def scenario(guarded: Guarded) -> None:
        guarded.database.moved = True

        for _ in range(10):
            assert await guarded.record() == -1

        assert not guarded.is_open

    run(scenario)


@pytest.mark.parametrize("error", [MissingPartitionError("2026-12"), UnusableRecordError("bad")])
def test_an_error_about_one_record_is_no_outage(error: Exception) -> None:
    async def scenario(guarded: Guarded) -> None:
        guarded.database.error = error

        for _ in range(10):
            await guarded.record()

        assert guarded.database.calls == 10
        assert not guarded.is_open

    run(scenario)


def test_a_lock_on_one_workload_is_no_outage_while_others_are_answered() -> None:
    async def scenario(guarded: Guarded) -> None:
        async def answer_others() -> None:
            await asyncio.sleep(1)
            guarded.database.is_frozen = False
            await guarded.read()

        guarded.database.is_frozen = True
        await asyncio.gather(*(guarded.record() for _ in range(10)), answer_others())

        assert not guarded.is_open

    run(scenario)


def test_a_call_without_a_fair_chance_says_nothing() -> None:
    async def scenario(guarded: Guarded) -> None:
        guarded.database.is_frozen = True

        for _ in range(10):
            await guarded.read(patience=0.1)

        assert not guarded.is_open

    run(scenario)


def test_a_probe_that_is_cancelled_leaves_the_next_call_to_probe() -> None:
    async def scenario(guarded: Guarded) -> None:
        guarded.database.is_frozen = True
        await asyncio.gather(*(guarded.read() for _ in range(3)))
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await guarded.read()
        guarded.database.is_frozen = False

        assert await guarded.read() == -1

    run(scenario)


def test_late_failures_of_calls_from_before_do_not_delay_the_next_probe() -> None:
    breaker = Breaker()
    attempts = [breaker.enter(0, deadline=3) for _ in range(5)]
    for attempt in attempts[:3]:
        assert attempt is not None
        breaker.note_outage(attempt, 1)
    late = attempts[4]
    assert late is not None
    breaker.note_outage(late, 1.9)

    probe = breaker.enter(2, deadline=5)

    assert probe is not None
    assert probe.is_probe
    assert probe.limit == 3
