"""Every statement is understood by every server, and the hot ones never read all traces."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from gate.postgres.histories import PostgresHistories
from gate.postgres.partitions import PostgresPartitions
from gate.postgres.pool import Pool, close_pool, open_pool
from gate.postgres.statements import Statement, load_statement, parse_statement
from tests.postgres.records import NOW, ask, make_recording

NAMES = sorted(
    path.name.removesuffix(".sql") for path in files("gate.postgres").joinpath("queries").iterdir()
)
HOT = {
    "read_histories": {
        "count": "2",
        "since": "'2026-11-17T08:00:00Z'",
        "at_most": "64",
        "now": "'2026-11-24T08:00:00Z'",
        "coolings_at_most": "32",
        "nearby_since": "'2026-11-23T08:00:00Z'",
        "nearby_at_most": "256",
        "clusters": "'{prod,prod}'",
        "namespaces": "'{shop,shop}'",
        "kinds": "'{Deployment,Deployment}'",
        "names": "'{w7,w8}'",
        "actors": "'{a,b}'",
        "correlation_ids": "'{NULL,incident-7}'",
        "look_around": "'{true,false}'",
    },
    "write_traces": {
        "count": "2",
        "clusters": "'{prod,prod}'",
        "namespaces": "'{shop,shop}'",
        "kinds": "'{Deployment,Deployment}'",
        "names": "'{w7,w8}'",
        "next_versions": "'{5,6}'",
        "seen_at": "'{2026-11-24T08:00:00Z,2026-11-24T08:00:00Z}'",
        "resource_uids": "'{a,b}'",
        "presences": "'{present,unknown}'",
        "labels": "'{NULL,NULL}'",
        "traces": "ARRAY['{}'::jsonb,NULL]",
        "spooled_at": "'{NULL,NULL}'",
        "detections": "'{NULL,NULL}'",
        "escalations": "'{NULL,NULL}'",
        "reserves": "'{NULL,019ab4d8-0000-7000-8000-000000000002}'",
        "repeated_ids": "'{NULL,019ab4d8-0000-7000-8000-000000000001}'",
        "repeated_at": "'{NULL,2026-11-24T08:00:00Z}'",
        "resource_versions": "'{NULL,7}'",
    },
    "correct_trace": {
        "action_id": "'019ab4d8-0000-7000-8000-000000000001'",
        "recorded_at": "'2026-11-24T08:00:00Z'",
        "verdict": "'allow'",
        "mode": "'enforce'",
        "decision": "'{}'",
        "execution_status": "'pending'",
        "spooled_at": "'2026-11-24T08:00:00Z'",
    },
    "list_traces": {
        "cluster": "'prod'",
        "namespace": "'shop'",
        "kind": "'Deployment'",
        "name": "'w7'",
        "since": "'2026-11-17T08:00:00Z'",
    },
}
WORKLOADS = 3_000
TRACES = 30_000


def test_parameters_are_numbered_once_each_and_casts_text_and_comments_are_left() -> None:
    statement = parse_statement(
        "-- name: find_it\n-- Not :this.\n"
        "SELECT :when::timestamptz, ':text' -- nor :that\n WHERE a = :a AND b = :when\n"
    )

    assert statement.parameters == ("when", "a")
    assert (
        "SELECT $1::timestamptz, ':text' -- nor :that\n WHERE a = $2 AND b = $1" in statement.text
    )


def test_a_missing_or_foreign_parameter_is_an_error() -> None:
    statement = Statement("find_it", "SELECT $1", ("a",))

    with pytest.raises(TypeError, match="find_it takes"):
        statement.arrange(b=1)


def test_a_query_without_name_or_reason_is_an_error() -> None:
    with pytest.raises(ValueError, match="a line that says why"):
        parse_statement("-- name: find_it\nSELECT 1")


@pytest.mark.parametrize("name", NAMES)
async def test_every_query_can_be_prepared(pool: Pool, name: str) -> None:
    statement = load_statement(name)

    async with pool.acquire() as connection:
        prepared = await connection.prepare(statement.text)

        assert statement.name == name
        assert len(prepared.get_parameters()) == len(statement.parameters)


@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("name", HOT)
async def test_hot_queries_read_traces_by_index_only(pool: Pool, name: str, plan: str) -> None:
    await fill(pool)

    explained = await explain(pool, name, plan)

    scans = {
        node["Relation Name"]: node["Node Type"]
        for node in nodes_of(explained)
        if "Scan" in node["Node Type"] and "Relation Name" in node
    }
    traces = {table for table in scans if table.startswith("resource_action_traces")}
    assert traces, json.dumps(explained)
    assert {table for table in traces if scans[table] == "Seq Scan"} == set(), scans
    assert scans.get("resource_references", "Index Scan") == "Index Scan"


@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
async def test_each_range_of_traces_is_read_in_the_order_of_its_index(
    pool: Pool, plan: str
) -> None:
    await fill(pool)

    explained = await explain(pool, "read_histories", plan)

    for first, *others in (
        ("action_history_id", "verdict", "changes_capacity"),
        ("(actor =", "cluster", "namespace"),
        ("(correlation_id =", "cluster", "namespace"),
    ):
        (limit,) = limits_over(explained, first)
        conditions = [node["Index Cond"] for node in traces_in(limit)]
        assert len(conditions) > 1  # partitions
        for column in (first, *others, "action_timestamp"):
            assert all(column in condition for condition in conditions), conditions
        assert not any("Sort" in node["Node Type"] for node in nodes_of(limit))


async def test_detections_and_escalations_are_read_by_index(pool: Pool) -> None:
    await fill(pool)

    explained = await explain(pool, "read_histories", "force_generic_plan")

    indexes = {node["Index Name"] for node in nodes_of(explained) if "Index Name" in node}
    assert {
        "oscillation_detections_open",
        "oscillation_detections_bound_actor",
        "oscillation_detections_resource",
        "action_escalations_live",
    } <= indexes


async def test_the_statements_of_an_admission_are_planned_once_however_many_partitions(
    dsn: str, deadline: float
) -> None:
    pool = await open_pool(dsn, size=1, application_name="gate-tests")
    histories = PostgresHistories(pool)
    await PostgresPartitions(pool).ensure(now=NOW, months_ahead=14)
    for version in range(30):
        await histories.read(ask(), now=NOW, deadline=deadline)
        await histories.record(make_recording(version), deadline=deadline)

    plans = await pool.fetch(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements"
        " WHERE statement LIKE '-- name: %'"
        " AND (statement LIKE '%read_histories%' OR statement LIKE '%write_traces%')"
    )

    await close_pool(pool, grace=5)
    assert len(plans) == 2
    assert all(row["generic_plans"] > row["custom_plans"] for row in plans), plans


async def explain(pool: Pool, name: str, plan: str) -> dict[str, Any]:
    """Return how a hot query would be executed."""
    statement = load_statement(name)
    values = ", ".join(HOT[name][parameter] for parameter in statement.parameters)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL plan_cache_mode = {plan}")
        await connection.execute(f"PREPARE hot AS {statement.text}")
        explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot ({values})")
        await connection.execute("DEALLOCATE hot")
    root: dict[str, Any] = explained[0]["Plan"]
    return root


def limits_over(plan: dict[str, Any], column: str) -> list[dict[str, Any]]:
    """Return the parts of a plan that cut a range of traces off, told by a column of its index."""
    return [
        node
        for node in nodes_of(plan)
        if node["Node Type"] == "Limit"
        and any(column in scan.get("Index Cond", "") for scan in traces_in(node))
    ]


def traces_in(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the scans of traces that a part of a plan makes."""
    return [
        node
        for node in nodes_of(plan)
        if node.get("Relation Name", "").startswith("resource_action_traces")
    ]


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


async def fill(pool: Pool) -> None:
    """Make so many workloads and traces, in every partition, that the planner has a choice."""
    await pool.execute(
        "WITH r AS (INSERT INTO resource_references (cluster, namespace, kind, name)"
        " SELECT 'prod', 'shop', 'Deployment', 'w' || n FROM generate_series(1, $1::int) AS n"
        " RETURNING id)"
        " INSERT INTO action_histories (resource_id, version) SELECT id, 5 FROM r",
        WORKLOADS,
    )
    await pool.execute(
        "INSERT INTO resource_action_traces (action_history_id, version, action_id,"
        " action_timestamp, cluster, namespace, kind, name, correlation_id, actor, actor_rule,"
        " actor_certainty, operation, action_type,"
        " action_parameters, changes_capacity, change_fingerprint, request_uid,"
        " request_fingerprint, verdict, mode, decision)"
        " SELECT h.id, n, (lpad(to_hex(ms), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,"
        " to_timestamp(ms / 1000), 'prod', 'shop', 'Deployment', 'w' || h.id,"
        " CASE WHEN n % 7 = 0 THEN 'i' || n END, 'a' || n % 50, 'user a',"
        " 'proven', 'UPDATE', 'scale_deployment',"
        " '{\"changes\": []}', n % 3 = 0, 'f', 'u', 'r',"
        " CASE n % 5 WHEN 0 THEN 'deny' ELSE 'allow' END, 'enforce', '{}'"
        " FROM generate_series(1, $1::bigint) AS n"
        " JOIN action_histories AS h ON h.id = 1 + n % $2::bigint"
        " CROSS JOIN LATERAL (SELECT 1790812800000 + 1000 * (n * 350) AS ms) AS instant",
        TRACES,
        WORKLOADS,
    )
    await pool.execute(
        "INSERT INTO oscillation_detections (pattern_id, resource_id, detected_at, until, mode,"
        " severity, confidence, action_count, time_span_minutes, matching_actions,"
        " pattern_evidence, resolved, bound_actor)"
        " SELECT 1, 1 + n % $1::bigint, $2, $2::timestamptz + interval '1 hour', 'enforce', 'info',"
        " 0.5, 3, 1, '{}', '{}', n % 10 > 0, CASE n % 50 WHEN 0 THEN 'a' || n END"
        " FROM generate_series(1, 20000) AS n",
        WORKLOADS,
        NOW,
    )
    await pool.execute(
        "INSERT INTO action_escalations (id, resource_id, action_id, digest, actor, change,"
        " summary, state, requested_at, expires_at)"
        " SELECT gen_random_uuid(), 1 + n % $1::bigint, gen_random_uuid(), 'd', 'a', '{}', 's',"
        " CASE n % 10 WHEN 0 THEN 'open' ELSE 'expired' END, $2,"
        " $2::timestamptz + interval '1 hour' FROM generate_series(1, 20000) AS n",
        WORKLOADS,
        NOW,
    )
    await pool.execute("ANALYZE")
