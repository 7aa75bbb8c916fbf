"""Partitions of traces are made ahead, once, whoever asks."""

import asyncio
from datetime import UTC, datetime

import pytest

from gate.errors import MissingPartitionError, StorageUnavailableError
from gate.postgres.histories import PostgresHistories
from gate.postgres.partitions import PostgresPartitions
from gate.postgres.pool import Pool
from tests.postgres.records import make_recording, make_trace

JULY = datetime(2027, 7, 31, 23, 30, tzinfo=UTC)


async def test_this_month_and_those_ahead_are_made_once(pool: Pool) -> None:
    partitions = PostgresPartitions(pool)

    made = await partitions.ensure(now=datetime(2027, 11, 30, tzinfo=UTC), months_ahead=3)

    assert made == [
        "resource_action_traces_y2027m11",
        "resource_action_traces_y2027m12",
        "resource_action_traces_y2028m01",
        "resource_action_traces_y2028m02",
    ]
    assert await partitions.ensure(now=datetime(2027, 12, 1, tzinfo=UTC), months_ahead=2) == []


async def test_many_replicas_make_each_partition_once(pool: Pool) -> None:
    partitions = PostgresPartitions(pool)

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(partitions.ensure(now=JULY, months_ahead=3)) for _ in range(8)]

    assert sorted(name for call in calls for name in call.result()) == [
        "resource_action_traces_y2027m07",
        "resource_action_traces_y2027m08",
        "resource_action_traces_y2027m09",
        "resource_action_traces_y2027m10",
    ]


async def test_the_last_millisecond_of_a_month_has_its_partition(
    pool: Pool, deadline: float
) -> None:
    histories = PostgresHistories(pool)
    await PostgresPartitions(pool).ensure(now=JULY, months_ahead=0)
    last = make_trace(at=datetime(2027, 7, 31, 23, 59, 59, 999000, tzinfo=UTC))
    next_ = make_trace(at=datetime(2027, 8, 1, tzinfo=UTC))

    assert await histories.record(make_recording(trace=last), deadline=deadline) is True
    with pytest.raises(MissingPartitionError, match="2027-08"):
        await histories.record(make_recording(1, trace=next_), deadline=deadline)


async def test_partitions_take_traces_while_more_are_made(pool: Pool, deadline: float) -> None:
    histories, partitions = PostgresHistories(pool), PostgresPartitions(pool)

    async with asyncio.TaskGroup() as group:
        group.create_task(partitions.ensure(now=JULY, months_ahead=6))
        writers = [
            group.create_task(histories.record(make_recording(None), deadline=deadline))
            for _ in range(20)
        ]

    assert True in [writer.result() for writer in writers]
    assert await pool.fetchval("SELECT count(*) FROM resource_action_traces") == sum(
        writer.result() for writer in writers
    )


async def test_a_table_in_the_way_is_an_error_and_no_partition(pool: Pool) -> None:
    await pool.execute("CREATE TABLE resource_action_traces_y2027m07 ()")

    with pytest.raises(StorageUnavailableError, match="SQLSTATE 42P07"):
        await PostgresPartitions(pool).ensure(now=JULY, months_ahead=0)
