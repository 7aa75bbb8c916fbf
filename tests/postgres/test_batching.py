"""Natural batching, with a database that is only a clock."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import asyncpg
import pytest

from gate.errors import StorageUnavailableError
from gate.postgres.batching import Batches
from tests.virtual_time import run_in_virtual_time

LATE = 1000.0


def broken(cause: Exception) -> StorageUnavailableError:
    error = StorageUnavailableError("PostgreSQL refused the statement")
    error.__cause__ = cause
    return error


@dataclass
class Database:
    """Takes a second for each statement; fails, or waits for a lock, where an item says so."""

    failures: dict[str, Exception] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()
    statements: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    running: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    most_of_a_turn: int = 0

    async def run(self, items: Sequence[str], deadline: float) -> list[str | Exception]:
        loop = asyncio.get_running_loop()
        self.statements.append((loop.time(), tuple(items)))
        self.deadlines.append(deadline)
        turns = Counter(turn_of(item) for item in items)
        self.running += Counter({"statements": 1}) + turns
        self.most_at_once = max(self.most_at_once, self.running["statements"])
        self.most_of_a_turn = max(self.most_of_a_turn, *(self.running[turn] for turn in turns))
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(LATE if self.locked & {*items} else 1)
        except TimeoutError as error:
            raise broken(error) from error
        finally:
            self.running -= Counter({"statements": 1}) + turns
        for item in items:
            if item in self.failures:
                raise self.failures[item]
        return [item.upper() for item in items]

    @property
    def sizes(self) -> list[int]:
        return [len(items) for _, items in self.statements]


def turn_of(item: str) -> str:
    return item.partition("/")[0]


def batches_of(database: Database, *, turns: bool = False) -> Batches[str, str]:
    return Batches(database.run, turn_of=turn_of if turns else None)


def play(main: Callable[[], Coroutine[object, object, None]]) -> None:
    run_in_virtual_time(main())


async def submit_all(
    batches: Batches[str, str], items: Sequence[str], *, deadline: float = 60
) -> list[str | BaseException]:
    calls: list[Awaitable[str]] = [batches.submit(item, deadline=deadline) for item in items]
    return await asyncio.gather(*calls, return_exceptions=True)


def names(count: int, prefix: str = "w") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_one_caller_never_waits_for_company() -> None:
    database = Database()

    async def main() -> None:
        batches = batches_of(database)
        for item in names(3):
            assert await batches.submit(item, deadline=60) == item.upper()

    play(main)

    assert database.statements == [(0.0, ("w0",)), (1.0, ("w1",)), (2.0, ("w2",))]


def test_what_comes_at_once_goes_together_64_at_most_and_two_statements_at_once() -> None:
    database = Database()

    async def main() -> None:
        answers = await submit_all(batches_of(database), names(300))
        assert answers == [name.upper() for name in names(300)]

    play(main)

    assert [at for at, _ in database.statements][:3] == [0.0, 0.0, 1.0]
    assert max(database.sizes) == 64
    assert database.most_at_once == 2


@pytest.mark.parametrize(("count", "sizes"), [(16, [16]), (32, [16, 16]), (90, [45, 23, 16, 6])])
def test_of_many_that_come_at_once_each_statement_takes_its_share(
    count: int, sizes: list[int]
) -> None:
    database = Database()

    async def main() -> None:
        await submit_all(batches_of(database), names(count))

    play(main)

    assert database.sizes == sizes


def test_what_comes_while_two_are_busy_goes_with_the_next_in_the_order_it_came() -> None:
    database = Database()

    async def main() -> None:
        batches = batches_of(database)
        async with asyncio.TaskGroup() as group:
            for item in names(12):
                group.create_task(batches.submit(item, deadline=60))
                await asyncio.sleep(0.1)

    play(main)

    assert [items for _, items in database.statements] == [
        ("w0",),
        ("w1",),
        tuple(names(11)[2:11]),
        ("w11",),
    ]


def test_of_one_turn_only_one_runs_and_the_others_follow_in_order() -> None:
    database = Database()

    async def main() -> None:
        items = ["web/1", "web/2", "db/1", "web/3", "db/2"]
        await submit_all(batches_of(database, turns=True), items)

    play(main)

    assert [items for _, items in database.statements] == [
        ("web/1", "db/1"),
        ("web/2", "db/2"),
        ("web/3",),
    ]
    assert database.most_of_a_turn == 1


def test_a_hot_turn_holds_nobody_else_up() -> None:
    database = Database()

    async def main() -> None:
        hot = [f"web/{number}" for number in range(10)]
        await submit_all(batches_of(database, turns=True), [*hot, "db/1"])

    play(main)

    assert database.statements[0] == (0.0, ("web/0", "db/1"))
    assert len(database.statements) == 10


@pytest.mark.parametrize(
    "failure",
    [
        broken(asyncpg.UniqueViolationError("duplicate")),
        broken(asyncpg.DeadlockDetectedError("deadlock")),
        broken(asyncpg.exceptions._base.DataError("no integer")),
        RuntimeError("a bug"),
    ],
    ids=lambda failure: type(failure.__cause__ or failure).__name__,
)
def test_a_poisoned_item_fails_alone(failure: Exception) -> None:
    database = Database(failures={"w1": failure})

    async def main() -> None:
        first, poisoned, third = await submit_all(batches_of(database), names(3))
        assert (first, third) == ("W0", "W2")
        assert type(poisoned) is type(failure)
        assert str(poisoned) == str(failure)

    play(main)

    assert database.sizes == [3, 1, 1, 1]


def test_an_outage_is_everybodys_at_once_and_nothing_is_tried_again() -> None:
    outage = broken(OSError("connection refused"))
    database = Database(failures={"w1": outage})

    async def main() -> None:
        answers = await submit_all(batches_of(database), names(3))
        assert [str(answer) for answer in answers] == [str(outage)] * 3
        assert len({id(answer) for answer in answers}) == 3
        assert asyncio.get_running_loop().time() == 1.0

    play(main)

    assert database.sizes == [3]


def test_an_answer_that_is_an_exception_is_raised_to_its_own_caller() -> None:
    async def run(items: Sequence[str], deadline: float) -> list[str | Exception]:
        del deadline
        return [StorageUnavailableError(item) if item == "w1" else item for item in items]

    async def main() -> None:
        first, second = await submit_all(Batches(run), names(2))
        assert first == "w0"
        assert isinstance(second, StorageUnavailableError)

    play(main)


def test_who_gives_up_in_the_queue_is_dropped() -> None:
    database = Database()

    async def main() -> None:
        batches = batches_of(database)
        async with asyncio.TaskGroup() as group:
            for busy in ("busy/1", "busy/2"):
                group.create_task(batches.submit(busy, deadline=60))
                await asyncio.sleep(0.1)
            impatient = group.create_task(submit_all(batches, ["impatient"], deadline=0.5))
            cancelled = asyncio.ensure_future(batches.submit("cancelled", deadline=60))
            patient = group.create_task(batches.submit("patient", deadline=60))
            await asyncio.sleep(0.1)
            cancelled.cancel()
        (answer,) = impatient.result()
        assert isinstance(answer, StorageUnavailableError)
        assert "did not answer in time" in str(answer)
        assert patient.result() == "PATIENT"

    play(main)

    assert [items for _, items in database.statements][2:] == [("patient",)]


def test_who_gives_up_on_a_running_batch_leaves_it_to_the_others() -> None:
    database = Database()

    async def main() -> None:
        batches = batches_of(database)
        cancelled, early, hurried, late = (
            asyncio.ensure_future(batches.submit(item, deadline=deadline))
            for item, deadline in (("cancelled", 60), ("early", 60), ("hurried", 0.5), ("late", 60))
        )
        await asyncio.sleep(0.2)
        cancelled.cancel()

        with pytest.raises(StorageUnavailableError, match="did not answer in time"):
            await hurried
        assert asyncio.get_running_loop().time() == 0.5
        assert (await early, await late) == ("EARLY", "LATE")

    play(main)

    assert database.sizes == [4]


def test_everybody_is_let_go_at_the_own_deadline_whoever_came_first() -> None:
    database = Database(locked=frozenset({"w0"}))
    deadlines = [9.0, 3.0, 5.0, 3.0, -1.0, 7.0, 12.0]
    ends: dict[str, float] = {}

    async def main() -> None:
        batches = batches_of(database)

        async def submit(item: str, deadline: float) -> None:
            with pytest.raises(StorageUnavailableError, match="did not answer in time"):
                await batches.submit(item, deadline=deadline)
            ends[item] = asyncio.get_running_loop().time()

        async with asyncio.TaskGroup() as group:
            for item, deadline in zip(names(7), deadlines, strict=True):
                group.create_task(submit(item, deadline))
        assert batches._waiting == set()

    play(main)

    assert [ends[item] for item in names(7)] == [9.0, 3.0, 5.0, 3.0, 0.0, 7.0, 12.0]


def test_batch_that_is_never_answered_keeps_nobody_beyond_the_deadline() -> None:
    async def run(items: Sequence[str], deadline: float) -> list[str | Exception]:
        del items, deadline
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(StorageUnavailableError, match="did not answer in time"):
            await Batches(run).submit("w0", deadline=5)
        assert asyncio.get_running_loop().time() == 5

    play(main)


def test_a_batch_has_until_the_last_of_those_who_wait_gives_up() -> None:
    database = Database()

    async def main() -> None:
        batches = batches_of(database)
        calls = [batches.submit(f"w{at}", deadline=at) for at in (5, 60, 20)]
        await asyncio.gather(*calls)

    play(main)

    assert database.deadlines == [60]


def test_one_locked_row_costs_the_others_half_of_their_time_and_nothing_more() -> None:
    database = Database(locked=frozenset({"w2"}))

    async def main() -> None:
        batches = batches_of(database, turns=True)
        answers = await submit_all(batches, names(5), deadline=20)
        assert [answer for answer in answers if isinstance(answer, str)] == ["W0", "W1", "W3", "W4"]
        assert isinstance(answers[2], StorageUnavailableError)
        assert asyncio.get_running_loop().time() == 20

    play(main)

    assert database.statements[0] == (0.0, tuple(names(5)))
    assert database.statements[1:] == [
        (10.0, ("w0",)),
        (10.0, ("w1",)),
        (11.0, ("w2",)),
        (11.0, ("w3",)),
        (12.0, ("w4",)),
    ]


def test_a_read_that_is_late_is_not_tried_again() -> None:
    database = Database(locked=frozenset({"w0"}))

    async def main() -> None:
        answers = await submit_all(batches_of(database), names(2), deadline=5)
        assert {type(answer) for answer in answers} == {StorageUnavailableError}

    play(main)

    assert database.sizes == [2]
