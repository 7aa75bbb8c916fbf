"""Traces that waited on the disk, in real tables: like the others but for their mark."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gate.domain.record import Recording
from gate.domain.trace import ExecutionStatus, Verdict
from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import Pool
from gate.postgres.statements import load_statement
from gate.postgres.writes import arrange_writes
from gate.services.readiness import Readiness
from gate.services.spooling import SpoolKeeper
from gate.spool.store import FileSpool
from gate.telemetry import Metrics
from tests.postgres.records import (
    DATABASE,
    NOW,
    WEB,
    as_stored,
    ask,
    make_detection,
    make_recording,
    make_trace,
)

SPOOLED = NOW + timedelta(seconds=3)
_MARKS = "SELECT action_id::text, spooled_at, version, verdict, execution_status, mode, decision"


def make_keeper(path: Path, histories: PostgresHistories) -> SpoolKeeper:
    return SpoolKeeper(
        FileSpool(path, max_bytes=1024 * 1024),
        histories,
        max_age=timedelta(hours=1),
        clock=lambda: SPOOLED,
        metrics=Metrics(),
        readiness=Readiness(),
    )


@pytest.fixture
def histories(pool: Pool) -> PostgresHistories:
    return PostgresHistories(pool)


@pytest.fixture
async def keeper(tmp_path: Path, histories: PostgresHistories) -> AsyncIterator[SpoolKeeper]:
    keeper = make_keeper(tmp_path / "spool", histories)
    await keeper.open()
    yield keeper
    await keeper.close(deadline=asyncio.get_running_loop().time() + 5)


async def spool(keeper: SpoolKeeper, *recordings: Recording, deadline: float) -> None:
    for recording in recordings:
        assert await keeper.append(recording, deadline=deadline) is None


async def test_replayed_traces_are_read_back_like_others_in_order_and_marked(
    keeper: SpoolKeeper, histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    before, after = make_recording(0), make_recording(3)
    waited = [make_recording(None, trace=make_trace(replicas=(n, n + 1))) for n in (3, 4)]
    await histories.record(before, deadline=deadline)
    await spool(keeper, *waited, deadline=deadline)

    await keeper.run_once()
    assert await histories.record(after, deadline=deadline)

    history = await histories.read(ask(), now=NOW, deadline=deadline)
    assert history.version == 4
    assert history.traces == tuple(
        as_stored(recording, version)
        for version, recording in enumerate((before, *waited, after), start=1)
    )
    rows = await pool.fetch(f"{_MARKS} FROM resource_action_traces ORDER BY version")
    assert [row["spooled_at"] for row in rows] == [None, SPOOLED, SPOOLED, None]


async def test_a_detection_that_was_made_in_the_outage_binds_after_it(
    keeper: SpoolKeeper, histories: PostgresHistories, deadline: float
) -> None:
    refused = make_recording(
        None, trace=make_trace(verdict=Verdict.DENY), opens=(make_detection(),)
    )
    await spool(keeper, replace(refused, expected_version=0), deadline=deadline)

    await keeper.run_once()

    history = await histories.read(ask(), now=NOW, deadline=deadline)
    assert [detection.until for detection in history.detections] == [make_detection().until]


async def test_a_commit_whose_reply_was_lost_is_recognised_and_says_what_was_answered(
    keeper: SpoolKeeper, histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    admitted = make_recording(0)
    await histories.record(admitted, deadline=deadline)
    denied = replace(
        admitted,
        trace=replace(admitted.trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED),
        decision={"verdict": "deny", "outage": "the reply was lost"},
    )
    await spool(keeper, denied, deadline=deadline)

    await keeper.run_once()

    (row,) = await pool.fetch(f"{_MARKS} FROM resource_action_traces")
    assert row["action_id"] == admitted.trace.action_id
    assert (row["version"], row["verdict"], row["execution_status"]) == (1, "deny", "blocked")
    assert row["decision"] == denied.decision


async def test_replaying_twice_changes_nothing(
    tmp_path: Path, histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    path = tmp_path / "twice"
    first = make_keeper(path, histories)
    await first.open()
    await spool(
        first, *(make_recording(None, key=key) for key in (WEB, DATABASE, WEB)), deadline=deadline
    )
    content = {file: file.read_bytes() for file in path.glob("*.spool")}
    await first.close(deadline=deadline)
    tables = "resource_action_traces", "action_histories"
    written = [await pool.fetch(f"SELECT * FROM {table} ORDER BY id") for table in tables]  # noqa: S608 - tables of this test
    for file, entries in content.items():
        file.write_bytes(entries)

    again = make_keeper(path, histories)
    await again.open()
    await again.close(deadline=deadline)

    assert list(path.glob("*.spool")) == []
    assert [len(rows) for rows in written] == [3, 2]
    assert [await pool.fetch(f"SELECT * FROM {table} ORDER BY id") for table in tables] == written  # noqa: S608 - as above


async def test_a_denial_that_is_committed_while_it_is_handed_over_is_recognised(
    keeper: SpoolKeeper, histories: PostgresHistories, pool: Pool, deadline: float, tmp_path: Path
) -> None:
    await histories.record(make_recording(0), deadline=deadline)
    denied = make_recording(None, trace=make_trace(verdict=Verdict.DENY))
    statement = load_statement("write_traces")
    async with pool.acquire() as earlier:
        attempt = earlier.transaction()
        await attempt.start()
        await earlier.fetch(statement.text, *statement.arrange(**arrange_writes([denied])))
        late = replace(denied, decision={"verdict": "deny", "outage": "PostgreSQL was away"})
        await spool(keeper, late, deadline=deadline)
        replaying = asyncio.create_task(keeper.run_once())
        await wait_for_a_lock(pool, deadline)
        await attempt.commit()
    await replaying

    rows = await pool.fetch(f"{_MARKS} FROM resource_action_traces WHERE verdict = 'deny'")
    assert [row["action_id"] for row in rows] == [denied.trace.action_id]
    assert rows[0]["decision"] == late.decision
    assert list(tmp_path.glob("spool/*.refused")) == []


async def wait_for_a_lock(pool: Pool, deadline: float) -> None:
    async with asyncio.timeout_at(deadline):
        while not await pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            pass


async def test_two_replicas_replay_one_workload_at_once_without_losing_a_trace(
    tmp_path: Path, pool: Pool, deadline: float
) -> None:
    keepers = [make_keeper(tmp_path / name, PostgresHistories(pool)) for name in ("one", "two")]
    for keeper in keepers:
        await keeper.open()
        await spool(keeper, *(make_recording(None) for _ in range(10)), deadline=deadline)

    async with asyncio.TaskGroup() as replicas:
        for keeper in keepers:
            replicas.create_task(keeper.run_once())

    versions = await pool.fetch("SELECT version FROM resource_action_traces ORDER BY version")
    assert [row["version"] for row in versions] == list(range(1, 21))
    for keeper in keepers:
        await keeper.close(deadline=deadline)
