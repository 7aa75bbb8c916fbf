"""Migrations: once, whoever calls and however often; and the schema they make."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import quote

import asyncpg
import pytest

from gate.errors import StorageUnavailableError
from gate.postgres.pool import Pool
from gate.postgres.schema import find_pending, migrate
from tests.postgres.records import NOW

TABLES = {
    "resource_references",
    "action_histories",
    "resource_action_traces",
    "oscillation_patterns",
    "oscillation_detections",
    "action_effectiveness_metrics",
    "retention_operations",
    "action_escalations",
    "notification_outbox",
    "policy_settings",
    "leader_leases",
}


async def test_an_empty_database_lacks_every_revision_and_a_migrated_one_none(
    empty_dsn: str,
) -> None:
    before = await find_pending(empty_dsn)
    applied = await migrate(empty_dsn)

    assert before == applied == ["0001", "0002"]
    assert await find_pending(empty_dsn) == []
    assert await migrate(empty_dsn) == []


async def test_of_ten_migrations_at_once_one_does_the_work(empty_dsn: str) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(migrate(empty_dsn)) for _ in range(10)]

    assert sorted(call.result() for call in calls) == [*[[]] * 9, ["0001", "0002"]]


async def test_the_schema_of_a_newer_release_is_current(dsn: str, pool: Pool) -> None:
    await pool.execute("UPDATE alembic_version SET version_num = '9999'")

    assert await find_pending(dsn) == []
    assert await migrate(dsn) == []


async def test_a_failed_migration_leaves_nothing_behind(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("CREATE TABLE retention_operations ()")

    with pytest.raises(StorageUnavailableError, match="SQLSTATE 42P07"):
        await migrate(empty_dsn)

    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    assert [row["tablename"] for row in tables] == ["retention_operations"]


@pytest.mark.parametrize("call", [migrate, find_pending])
async def test_an_unreachable_database_is_named_without_its_password(
    call: Callable[[str], Awaitable[list[str]]],
) -> None:
    password = quote("s3cret/pass", safe="")

    with pytest.raises(StorageUnavailableError, match="PostgreSQL cannot be reached") as caught:
        await call(f"postgresql://gate:{password}@127.0.0.1:1/gate")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("call", [migrate, find_pending])
@pytest.mark.parametrize(
    "dsn", ["postgresql://gate:s3cret/pass@db/gate", "mysql://gate:s3cret@db/gate", "s3cret"]
)
async def test_an_address_that_is_none_is_said_without_its_password(
    call: Callable[[str], Awaitable[list[str]]], dsn: str
) -> None:
    with pytest.raises(StorageUnavailableError, match="GATE_DSN is not a usable address") as caught:
        await call(dsn)

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_the_tables_of_specification_and_design_and_no_others_are_made(pool: Pool) -> None:
    rows = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
    )

    assert {row["relname"] for row in rows} == {*TABLES, "alembic_version"}
    assert await pool.fetchval("SELECT count(*) FROM pg_extension") == 1


async def test_the_four_patterns_are_seeded(pool: Pool) -> None:
    rows = await pool.fetch(
        "SELECT pattern_name, min_occurrences, time_window_minutes, prevention_strategy"
        " FROM oscillation_patterns ORDER BY id"
    )

    assert [tuple(row) for row in rows] == [
        ("scale-oscillation", 3, 120, "cooling-period"),
        ("resource-thrashing", 3, 90, "alternative-action"),
        ("ineffective-loop", 3, 180, "escalate-human"),
        ("cascading-failure", 3, 60, "block-action"),
    ]


async def test_updates_of_hot_rows_touch_no_index(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO resource_references (cluster, namespace, kind, name)"
        " VALUES ('prod', 'shop', 'Deployment', 'web')"
    )
    await pool.execute(
        "INSERT INTO action_histories (resource_id) SELECT id FROM resource_references"
    )
    async with pool.acquire() as connection:
        for _ in range(20):
            await connection.execute(
                "UPDATE action_histories SET version = version + 1, last_action_at = now()"
            )
            await connection.execute("UPDATE resource_references SET last_seen = now()")
        await connection.execute("SELECT pg_stat_force_next_flush()")
        rows = await connection.fetch(
            "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname IN ('action_histories', 'resource_references')"
        )

    assert {row["relname"]: row["n_tup_upd"] - row["n_tup_hot_upd"] for row in rows} == {
        "action_histories": 0,
        "resource_references": 0,
    }


async def test_the_log_of_retention_outlives_its_history(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO resource_references (cluster, namespace, kind, name)"
        " VALUES ('prod', 'shop', 'Deployment', 'web')"
    )
    await pool.execute(
        "INSERT INTO action_histories (resource_id) SELECT id FROM resource_references"
    )
    await pool.execute(
        "INSERT INTO retention_operations (action_history_id, workload, operation_type,"
        " strategy_used, records_before, records_after, records_deleted, operation_start)"
        " SELECT id, 'prod/shop/Deployment/web', 'cleanup', 'oldest-first', 9, 4, 5, $1"
        " FROM action_histories",
        NOW,
    )

    await pool.execute("DELETE FROM action_histories")

    row = await pool.fetchrow("SELECT action_history_id, workload FROM retention_operations")
    assert row is not None
    assert tuple(row) == (None, "prod/shop/Deployment/web")


async def test_migrating_needs_no_time_zone_of_the_session(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("ALTER ROLE CURRENT_USER SET timezone = 'Pacific/Auckland'")
    await connection.close()
    connection = await asyncpg.connect(empty_dsn)
    try:
        await migrate(empty_dsn)
        await connection.execute("SELECT gate_ensure_partition('2026-11-01')")
        bounds = await connection.fetchval(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition"
            " AND relname = 'resource_action_traces_y2026m11'"
        )
    finally:
        await connection.execute("ALTER ROLE CURRENT_USER RESET timezone")
        await connection.close()

    first, last = (datetime.fromisoformat(text).astimezone(UTC) for text in bounds.split("'")[1::2])
    assert (first, last) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
