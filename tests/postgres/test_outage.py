"""PostgreSQL hangs, stops, is full or comes back: every call ends by its deadline."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from gate.errors import StorageUnavailableError
from gate.postgres.embedded import EmbeddedServer
from gate.postgres.histories import PostgresHistories
from gate.postgres.partitions import PostgresPartitions
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import Pool, close_pool, open_pool
from gate.postgres.schema import migrate
from tests.postgres.records import NOW, WEB, ask, make_recording
from tests.postgres.servers import binaries_of, legs, open_house

SHORT = 0.6
# What a busy machine may add to a deadline; a call that hangs would never end at all.
LATE = 1.5

Call = Callable[[PostgresHistories, float], Awaitable[object]]
CALLS: dict[str, Call] = {
    "read": lambda histories, deadline: histories.read(ask(), now=NOW, deadline=deadline),
    "record": lambda histories, deadline: histories.record(make_recording(None), deadline=deadline),
}


def own_legs() -> list[str]:
    """Servers of the test's own; a given one is not the test's to stop."""
    return [leg for leg in legs() if leg.isdigit()] or ["18"]


@pytest.fixture
def house() -> Iterator[Path]:
    with open_house() as house:
        yield house


@pytest.fixture(params=own_legs())
def binaries(request: pytest.FixtureRequest) -> Path | None:
    return binaries_of(request.param)


@pytest.fixture
async def server(house: Path, binaries: Path | None) -> AsyncIterator[EmbeddedServer]:
    async with EmbeddedServer(house, binaries=binaries) as server:
        await migrate(server.dsn)
        yield server


@pytest.fixture
async def own_pool(server: EmbeddedServer) -> AsyncIterator[Pool]:
    pool = await open_pool(server.dsn, size=3, application_name="gate-tests")
    await PostgresPartitions(pool).ensure(now=NOW, months_ahead=0)
    yield pool
    await close_pool(pool, grace=5)


def soon(seconds: float = SHORT) -> float:
    return asyncio.get_running_loop().time() + seconds


@contextmanager
def frozen(server: EmbeddedServer) -> Iterator[None]:
    """Stop every process of a server as it is, connections open."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    family = [server.pid, *map(int, children)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


async def call_until_answered(histories: PostgresHistories) -> None:
    """Read again and again, as reviews would, until an answer comes."""
    async with asyncio.timeout(20):
        while True:
            try:
                await histories.read(ask(), now=NOW, deadline=soon())
            except StorageUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


@pytest.mark.parametrize("name", CALLS)
async def test_a_frozen_server_ends_calls_at_their_deadline_and_the_pool_recovers(
    server: EmbeddedServer, own_pool: Pool, name: str
) -> None:
    histories = PostgresHistories(own_pool)
    await call_until_answered(histories)
    with frozen(server):
        for _ in range(2):
            deadline = soon()
            calls = [CALLS[name](histories, deadline) for _ in range(8)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert soon(0) < deadline + LATE
            assert {type(answer) for answer in answers} == {StorageUnavailableError}, answers
            assert "did not answer in time" in str(answers[0])

    await call_until_answered(histories)
    assert own_pool.get_size() <= 3


async def test_a_caller_that_gives_up_leaves_no_connection_behind(
    server: EmbeddedServer, own_pool: Pool
) -> None:
    histories = PostgresHistories(own_pool)
    await call_until_answered(histories)
    with frozen(server):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await histories.read(ask(), now=NOW, deadline=soon(30))

    await call_until_answered(histories)


async def test_a_statement_that_waits_for_a_lock_is_cancelled_and_leaves_nothing(
    server: EmbeddedServer, own_pool: Pool
) -> None:
    histories = PostgresHistories(own_pool)
    await histories.record(make_recording(0), deadline=soon(10))
    other = await asyncpg.connect(server.dsn)
    async with other.transaction():
        await other.execute("SELECT id FROM action_histories FOR UPDATE")
        with pytest.raises(StorageUnavailableError, match="did not answer in time"):
            await histories.record(make_recording(1), deadline=soon())
        waiting = await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )

    assert waiting == 0
    assert await other.fetchval("SELECT version FROM action_histories") == 1
    await other.close()


async def test_an_exhausted_pool_is_an_outage_with_a_reason(own_pool: Pool) -> None:
    held = [await own_pool.acquire() for _ in range(3)]

    with pytest.raises(StorageUnavailableError, match="did not answer in time"):
        await PostgresHistories(own_pool).read(ask(), now=NOW, deadline=soon(0.1))

    for connection in held:
        await own_pool.release(connection)


async def test_a_stopped_server_is_an_outage_at_once_and_its_return_is_noticed(
    house: Path, binaries: Path | None
) -> None:
    async with EmbeddedServer(house, binaries=binaries) as server:
        await migrate(server.dsn)
        pool = await open_pool(server.dsn, size=3, application_name="gate-tests")
        histories = PostgresHistories(pool)
        await call_until_answered(histories)

    for call in (*CALLS.values(), lambda *_: PostgresPolicy(pool).read()):
        with pytest.raises(StorageUnavailableError, match="GATE_DSN"):
            await call(histories, soon())

    async with EmbeddedServer(house, binaries=binaries):
        await call_until_answered(histories)
        await close_pool(pool, grace=5)


async def test_connections_that_the_server_ended_are_replaced(
    server: EmbeddedServer, own_pool: Pool
) -> None:
    histories = PostgresHistories(own_pool)
    await call_until_answered(histories)
    administrator = await asyncpg.connect(server.dsn)
    await administrator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'gate-tests'"
    )
    await administrator.close()

    await call_until_answered(histories)
    history = await histories.read(ask(), now=NOW, deadline=soon())
    assert history.key == WEB


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("/postgres?", "create it"),
        ("postgres@", "refused the login"),
    ],
)
async def test_what_is_wrong_with_the_address_is_said(
    server: EmbeddedServer, change: str, words: str
) -> None:
    wrong = server.dsn.replace(change, "/nowhere?" if "?" in change else "stranger:s3cret@")
    pool = await open_pool(wrong, size=1, application_name="gate-tests")

    with pytest.raises(StorageUnavailableError, match=words) as caught:
        await PostgresHistories(pool).read(ask(), now=NOW, deadline=soon(10))

    assert "s3cret" not in str(caught.value)
    await close_pool(pool, grace=1)


async def test_a_database_without_the_schema_says_to_migrate(
    house: Path, binaries: Path | None
) -> None:
    async with EmbeddedServer(house, binaries=binaries) as server:
        pool = await open_pool(server.dsn, size=1, application_name="gate-tests")

        with pytest.raises(StorageUnavailableError, match="run `gate migrate`"):
            await PostgresHistories(pool).read(ask(), now=NOW, deadline=soon(10))

        await close_pool(pool, grace=5)


async def test_a_pool_opens_while_the_database_is_down() -> None:
    pool = await open_pool(
        "postgresql://gate:s3cret@127.0.0.1:1/gate", size=1, application_name="gate-tests"
    )

    with pytest.raises(StorageUnavailableError, match="cannot be reached") as caught:
        await PostgresHistories(pool).read(ask(), now=NOW, deadline=soon(10))

    assert "s3cret" not in str(caught.value)
    await close_pool(pool, grace=1)
