"""Sums and endings: each detection counted once, what is over resolved, what is late expired."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from gate.postgres.pool import Pool
from gate.postgres.tallies import PostgresTallies

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
_WORKLOAD = """
WITH r AS (
    INSERT INTO resource_references (cluster, namespace, kind, name)
    VALUES ('prod', 'shop', 'Deployment', 'web') RETURNING id
)
INSERT INTO action_histories (resource_id, version) SELECT id, 5 FROM r
"""
_DETECT = """
INSERT INTO oscillation_detections (
    pattern_id, resource_id, detected_at, until, mode, severity, confidence, action_count,
    time_span_minutes, matching_actions, pattern_evidence
)
SELECT
    $1, 1, now() - interval '1 hour' + n * interval '1 second', now() + $2::interval, 'enforce',
    'warning', 0.5, 3, 20, '{}', '{}'
FROM generate_series(1, $3::int) AS n
"""
_ESCALATE = """
INSERT INTO action_escalations (
    id, resource_id, action_id, digest, actor, change, summary, state, requested_at, expires_at,
    decided_by, decided_at, reserved_by
)
VALUES (
    $1, 1, $1, 'd', 'agent', '{}', 's', $2, now() - interval '3 days', now() + $3::interval,
    CASE WHEN $2 = 'approved' THEN 'ann' END, CASE WHEN $2 = 'approved' THEN now() END, $4
)
"""


@pytest.fixture
async def tallies(pool: Pool) -> PostgresTallies:
    await pool.execute(_WORKLOAD)
    return PostgresTallies(pool)


async def test_detections_are_summed_for_each_pattern_exactly_once(
    pool: Pool, tallies: PostgresTallies
) -> None:
    await pool.execute(_DETECT, 1, HOUR, 3)
    await pool.execute(_DETECT, 2, HOUR, 1)

    assert await tallies.sum_detections() == 4
    assert await tallies.sum_detections() == 0

    rows = await pool.fetch(
        "SELECT p.total_detections, p.last_detection_at = (SELECT max(detected_at)"
        " FROM oscillation_detections WHERE pattern_id = p.id) AS is_last"
        " FROM oscillation_patterns AS p WHERE p.id IN (1, 2) ORDER BY p.id"
    )
    assert [tuple(row) for row in rows] == [(3, True), (1, True)]


async def test_sums_are_right_with_several_leaders_while_detections_come_in(
    pool: Pool, tallies: PostgresTallies
) -> None:
    async def detect() -> None:
        for _ in range(20):
            await pool.execute(_DETECT, 1, HOUR, 2)

    async def add_up() -> None:
        for _ in range(20):
            await tallies.sum_detections()

    async with asyncio.TaskGroup() as tasks:
        for work in (detect(), detect(), add_up(), add_up(), add_up()):
            tasks.create_task(work)
    await tallies.sum_detections()

    assert await total(pool) == 80


async def test_a_detection_committed_late_is_not_forgotten(
    pool: Pool, tallies: PostgresTallies
) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(_DETECT, 1, HOUR, 1)
        await pool.execute(_DETECT, 1, HOUR, 1)
        await tallies.sum_detections()
        await transaction.commit()

    await tallies.sum_detections()

    assert await total(pool) == 2


async def test_detections_are_resolved_a_minute_after_their_promise(
    pool: Pool, tallies: PostgresTallies
) -> None:
    for until in (-120 * SECOND, -30 * SECOND, HOUR):
        await pool.execute(_DETECT, 1, until, 1)

    assert await tallies.resolve_detections() == 1

    (row,) = await pool.fetch("SELECT * FROM oscillation_detections WHERE resolved")
    assert (row["resolved_at"], row["resolution_method"]) == (row["until"], "timeout")


@pytest.mark.parametrize(
    ("state", "expires", "is_reserved", "expected"),
    [
        ("open", -SECOND, False, "expired"),
        ("open", HOUR, False, "open"),
        ("approved", -SECOND, False, "expired"),
        ("approved", -SECOND, True, "approved"),
        ("approved", -25 * HOUR, True, "expired"),
    ],
)
async def test_escalations_expire_and_move_the_version(
    pool: Pool,
    tallies: PostgresTallies,
    *,
    state: str,
    expires: timedelta,
    is_reserved: bool,
    expected: str,
) -> None:
    await pool.execute(_ESCALATE, uuid4(), state, expires, uuid4() if is_reserved else None)

    done = await tallies.expire_escalations()

    has_expired = expected == "expired" and state != expected
    assert done == has_expired
    assert await pool.fetchval("SELECT state FROM action_escalations") == expected
    assert await pool.fetchval("SELECT version FROM action_histories") == 5 + has_expired


async def test_two_that_expire_at_once_move_the_version_once_and_wait_for_no_admission(
    pool: Pool, tallies: PostgresTallies
) -> None:
    for _ in range(2):
        await pool.execute(_ESCALATE, uuid4(), "open", -SECOND, None)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM action_histories FOR UPDATE")
        assert await tallies.expire_escalations() == 0

    assert await tallies.expire_escalations() == 2
    assert await pool.fetchval("SELECT version FROM action_histories") == 6


async def total(pool: Pool) -> int:
    return int(
        await pool.fetchval("SELECT total_detections FROM oscillation_patterns WHERE id = 1")
    )
