"""Many changes of one workload at once."""

import asyncio
import json

import asyncpg
import pytest

from testbed.gate import GateProcess
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records

pytestmark = pytest.mark.usefixtures("gate")

CHANGES = 20


async def test_twenty_concurrent_changes_are_all_answered_and_none_is_lost(
    admin: Api, agent: Api, namespace: str, gate: GateProcess
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    values = range(6, 6 + CHANGES)

    async with asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(agent.scale("Deployment", "web", n)) for n in values]
    replies = dict(zip(values, (task.result() for task in sent), strict=True))

    assert {reply.status for reply in replies.values()} <= {200, 403, 409}
    assert not any("without a check" in w for r in replies.values() for w in r.warnings)
    traces = await Records(gate.dsn).traces(namespace)
    recorded = {replicas_after(trace) for trace in traces}
    assert recorded == set(values), "a change was not recorded"
    versions = [trace["version"] for trace in traces]
    decided = [trace["version"] for trace in traces if "contention" not in str(trace["decision"])]
    assert versions == sorted(versions)
    assert len(set(decided)) == len(decided), "two changes were decided on one version"
    assert not any("undone" in reply.message for reply in replies.values()), "nobody undid anything"
    admitted = [n for n, reply in replies.items() if reply.status == 200]
    allowed = {replicas_after(trace) for trace in traces if trace["verdict"] == "allow"}
    assert set(admitted) <= allowed


async def test_of_concurrent_equal_reductions_out_of_a_loop_none_slips_through(
    admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    for replicas in (3, 5):
        reply = await agent.scale("Deployment", "web", replicas)
        assert (reply.status, reply.warnings) == (200, ())

    async with asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(agent.scale("Deployment", "web", 3)) for _ in range(CHANGES)]

    slipped = [task.result().warnings for task in sent if task.result().status != 403]
    assert slipped == []


def replicas_after(trace: asyncpg.Record) -> int:
    """Return the replicas that a trace was to leave."""
    return int(json.loads(trace["resource_state_after"])["replicas"])
