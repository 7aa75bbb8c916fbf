"""Traces as people read them."""

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import Pool
from gate.postgres.traces import PostgresTraces
from tests.postgres.histories_behaviour import MINUTE
from tests.postgres.records import DATABASE, NOW, WEB, make_recording, make_trace

ELSEWHERE = replace(WEB, cluster="staging")


@pytest.fixture
async def traces(pool: Pool, deadline: float) -> PostgresTraces:
    """Two traces of WEB, one of its namesake in another cluster, one of another workload."""
    histories = PostgresHistories(pool)
    later = make_trace(at=NOW + MINUTE, replicas=(3, 5))
    for recording in (
        make_recording(0),
        make_recording(1, trace=later),
        make_recording(0, key=ELSEWHERE),
        make_recording(0, key=DATABASE),
    ):
        await histories.record(recording, deadline=deadline)
    return PostgresTraces(pool)


async def test_a_workload_is_listed_oldest_first_with_its_columns(traces: PostgresTraces) -> None:
    rows = await traces.list_traces(WEB, since=NOW - timedelta(days=1))

    assert [row.columns["resource_state_after"] for row in rows] == [
        {"replicas": 3},
        {"replicas": 5},
    ]
    first = rows[0].columns
    assert first["action_timestamp"] == NOW
    assert (first["cluster"], first["namespace"], first["kind"], first["name"]) == (
        "prod",
        "shop",
        "Deployment",
        "web",
    )
    assert orjson.loads(orjson.dumps(first))["verdict"] == "allow"


async def test_without_a_cluster_all_of_them_are_listed(traces: PostgresTraces) -> None:
    rows = await traces.list_traces(replace(WEB, cluster=""), since=NOW - timedelta(days=1))

    assert [row.columns["cluster"] for row in rows] == ["prod", "prod", "staging"]


async def test_only_traces_since_the_instant_are_listed(traces: PostgresTraces) -> None:
    rows = await traces.list_traces(WEB, since=NOW + MINUTE)

    assert [row.columns["version"] for row in rows] == [2]


async def test_a_workload_without_traces_has_no_rows(traces: PostgresTraces) -> None:
    assert await traces.list_traces(replace(WEB, name="other"), since=NOW) == []
