"""Many callers, and several replicas, on histories in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from gate.domain.trace import Verdict
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import MissingPartitionError, StorageUnavailableError, UnusableRecordError
from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import Pool, close_pool, open_pool
from tests.postgres.records import (
    DATABASE,
    NOW,
    WEB,
    ask,
    make_recording,
    make_repetition,
    make_trace,
)

MANY = 20
CLIENTS = 32


def workload(number: int) -> WorkloadKey:
    return WorkloadKey("prod", "shop", Kind.DEPLOYMENT, f"w{number}")


@pytest.fixture
def histories(pool: Pool) -> PostgresHistories:
    return PostgresHistories(pool)


@pytest.fixture
async def replicas(dsn: str) -> AsyncIterator[list[PostgresHistories]]:
    """Two of them, each with a pool of its own."""
    pools = [await open_pool(dsn, size=4, application_name="gate-tests") for _ in range(2)]
    yield [PostgresHistories(pool) for pool in pools]
    for pool in pools:
        await close_pool(pool, grace=5)


async def write_until_won(
    histories: PostgresHistories, key: WorkloadKey, *, deadline: float
) -> int:
    """Write one trace as an admission does; return how often others came first."""
    losses = 0
    while True:
        history = await histories.read(ask(key), now=NOW, deadline=deadline)
        recording = make_recording(history.version, key=key)
        if await histories.record(recording, deadline=deadline):
            return losses
        losses += 1


async def assert_versions_and_traces_agree(pool: Pool, *, workloads: int, traces: int) -> None:
    rows = await pool.fetch(
        "SELECT h.version, count(*) AS traces, count(DISTINCT t.version) AS versions"
        " FROM action_histories AS h JOIN resource_action_traces AS t"
        " ON t.action_history_id = h.id GROUP BY h.id, h.version"
    )
    assert len(rows) == workloads
    assert sum(row["traces"] for row in rows) == traces
    assert all(row["version"] == row["traces"] == row["versions"] for row in rows), rows


async def test_of_twenty_writers_on_a_new_workload_one_wins_each_version(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    async def write_until_won(replicas: int) -> int:
        losses = 0
        while True:
            history = await histories.read(ask(), now=NOW, deadline=deadline)
            trace = make_trace(replicas=(5, replicas))
            recording = make_recording(history.version, trace=trace)
            if await histories.record(recording, deadline=deadline):
                return losses
            losses += 1

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write_until_won(n)) for n in range(MANY)]

    versions = await pool.fetch("SELECT version FROM resource_action_traces ORDER BY version")
    assert [row["version"] for row in versions] == list(range(1, MANY + 1))
    assert sum(writer.result() for writer in writers) > 0


async def test_twenty_writers_of_one_version_have_exactly_one_winner(
    histories: PostgresHistories, deadline: float
) -> None:
    for version in range(3):
        async with asyncio.TaskGroup() as group:
            writers = [
                group.create_task(histories.record(make_recording(version), deadline=deadline))
                for _ in range(MANY)
            ]
        assert sorted(writer.result() for writer in writers) == [*[False] * (MANY - 1), True]


async def test_replicas_that_write_in_opposite_order_never_wait_in_a_circle(
    pool: Pool, deadline: float
) -> None:
    others = [WorkloadKey("prod", "shop", Kind.DEPLOYMENT, f"w{n}") for n in range(6)]
    keys = [WEB, DATABASE, *others]

    async def write(histories: PostgresHistories, key: WorkloadKey) -> None:
        history = await histories.read(ask(key), now=NOW, deadline=deadline)
        await histories.record(make_recording(history.version, key=key), deadline=deadline)

    async def write_all(order: list[WorkloadKey]) -> None:
        replica = PostgresHistories(pool)
        for _ in range(10):
            await asyncio.gather(*(write(replica, key) for key in order))

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(write_all(keys if number % 2 else keys[::-1]))

    rows = await pool.fetch(
        "SELECT h.version, count(*) AS traces FROM action_histories AS h"
        " JOIN resource_action_traces AS t ON t.action_history_id = h.id GROUP BY h.id, h.version"
    )
    assert len(rows) == len(keys)
    assert all(row["version"] == row["traces"] for row in rows)


@pytest.mark.parametrize("workloads", [1, 4, CLIENTS])
async def test_clients_of_two_replicas_write_every_version_once(
    replicas: list[PostgresHistories], pool: Pool, deadline: float, workloads: int
) -> None:
    async def client(number: int) -> None:
        for _ in range(4):
            key = workload(number % workloads)
            await write_until_won(replicas[number % 2], key, deadline=deadline)

    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))

    await assert_versions_and_traces_agree(pool, workloads=workloads, traces=4 * CLIENTS)
    assert await count_deadlocks(pool) == 0


async def test_two_replicas_that_repeat_and_record_never_wait_in_a_circle(
    replicas: list[PostgresHistories], pool: Pool, deadline: float
) -> None:
    recordings = [make_recording(0, key=workload(number)) for number in range(8)]
    for recording in recordings:
        await replicas[0].record(recording, deadline=deadline)

    async def touch(histories: PostgresHistories, number: int) -> None:
        recording = recordings[number]
        history = await histories.read(ask(recording.key), now=NOW, deadline=deadline)
        repetition = make_repetition(
            recording.trace, history.version, key=recording.key, resource_version="7"
        )
        await histories.record(repetition, deadline=deadline)
        await write_until_won(histories, recording.key, deadline=deadline)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(touch(replicas[0], number))
            group.create_task(touch(replicas[1], 7 - number))

    assert await count_deadlocks(pool) == 0
    assert await pool.fetchval("SELECT count(*) FROM resource_action_traces") == 24


async def test_a_trace_that_no_table_takes_fails_alone(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    broken = make_trace()
    object.__setattr__(broken.seen, "at", NOW + timedelta(milliseconds=1))
    outside = make_trace(at=NOW + timedelta(days=400))
    recordings = [make_recording(0, key=workload(number)) for number in range(10)]
    recordings[3] = replace(recordings[3], trace=broken)
    recordings[6] = replace(recordings[6], trace=outside)

    written = await asyncio.gather(
        *(histories.record(recording, deadline=deadline) for recording in recordings),
        return_exceptions=True,
    )

    failed = {index: type(answer) for index, answer in enumerate(written) if answer is not True}
    assert failed == {3: UnusableRecordError, 6: MissingPartitionError}
    assert await pool.fetchval("SELECT count(*) FROM resource_action_traces") == 8


async def test_a_history_that_cannot_be_read_fails_alone(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    for key in (WEB, DATABASE):
        await histories.record(make_recording(key=key), deadline=deadline)
    await pool.execute(
        "UPDATE resource_action_traces SET action_parameters = '{}' WHERE name = 'web'"
    )

    broken, read = await asyncio.gather(
        *(histories.read(ask(key), now=NOW, deadline=deadline) for key in (WEB, DATABASE)),
        return_exceptions=True,
    )

    assert isinstance(broken, StorageUnavailableError)
    assert not isinstance(read, BaseException)
    assert len(read.traces) == 1


async def test_a_lock_on_one_history_holds_no_other_workload_up_until_the_deadline(
    histories: PostgresHistories, dsn: str
) -> None:
    loop = asyncio.get_running_loop()
    for number in range(6):
        await histories.record(make_recording(0, key=workload(number)), deadline=loop.time() + 20)
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute("SELECT id FROM action_histories ORDER BY id LIMIT 1 FOR UPDATE")
        written = await asyncio.gather(
            *(
                histories.record(make_recording(1, key=workload(number)), deadline=loop.time() + 3)
                for number in range(6)
            ),
            return_exceptions=True,
        )
    await other.close()

    assert isinstance(written[0], StorageUnavailableError)
    assert written[1:] == [True] * 5


async def test_of_many_at_once_each_batch_is_one_statement(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    before = await count_commits(pool)

    await asyncio.gather(
        *(
            histories.record(make_recording(0, key=workload(number)), deadline=deadline)
            for number in range(64)
        )
    )

    assert await pool.fetchval("SELECT count(*) FROM resource_action_traces") == 64
    assert await count_commits(pool) - before < 64 / 4


async def test_a_contended_denial_is_written_beside_the_winner(
    histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    refused = make_recording(None, trace=make_trace(verdict=Verdict.DENY))

    written = await asyncio.gather(
        histories.record(make_recording(0), deadline=deadline),
        histories.record(refused, deadline=deadline),
    )

    assert all(written)
    assert await pool.fetchval("SELECT version FROM action_histories") == 1


async def count_deadlocks(pool: Pool) -> int:
    await pool.execute("SELECT pg_stat_force_next_flush()")
    count: int = await pool.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return count


async def count_commits(pool: Pool) -> int:
    """Return how many transactions have written something so far."""
    count: int = await pool.fetchval("SELECT pg_current_xact_id()::text::bigint")
    return count
