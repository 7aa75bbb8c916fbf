"""What agents and people meet when gate enforces."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from testbed.controlplane import ControlPlane
from testbed.gate import AGENT, GateProcess
from testbed.metrics import reviews_answered, reviews_sent
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records

pytestmark = pytest.mark.usefixtures("gate")

KINDS = pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])


async def swing(agent: Api, kind: str, name: str, *values: int) -> None:
    """Let the agent set replicas to one value after another, all of them admitted."""
    for replicas in values:
        reply = await agent.scale(kind, name, replicas)
        assert reply.status == 200, reply.message


@pytest.fixture
def records(gate: GateProcess) -> Records:
    return Records(gate.dsn)


@KINDS
async def test_third_swing_is_refused_with_everything_an_agent_needs(
    admin: Api, agent: Api, namespace: str, records: Records, kind: str
) -> None:
    await admin.create(kind, workload(kind, "web", namespace=namespace))
    await swing(agent, kind, "web", 3, 5)

    before = datetime.now(UTC)
    reply = await agent.scale(kind, "web", 3)

    assert (reply.status, reply.body["reason"]) == (403, "Forbidden")
    details = reply.body["details"]
    assert details["causes"][0]["reason"] == "ScaleOscillation"
    assert details["causes"][0]["field"] == "spec.replicas"
    promised = re.search(r"admitted from (\S+Z) \(in (\d+) s\)", reply.message)
    assert promised is not None, reply.message
    assert details["retryAfterSeconds"] == int(promised[2])
    until = datetime.fromisoformat(promised[1])
    assert until - before == pytest.approx(timedelta(minutes=60), abs=timedelta(minutes=1))
    assert f"{kind} {namespace}/web" in reply.message
    assert "replicas went 5 → 3 → 5" in reply.message
    *_, refused = await records.traces(namespace)
    assert str(refused["action_id"]) in reply.message
    assert (refused["verdict"], refused["execution_status"]) == ("deny", "blocked")
    assert (await agent.get(kind, "web"))["spec"]["replicas"] == 5


@KINDS
async def test_swing_through_the_scale_subresource_is_refused(
    admin: Api, agent: Api, namespace: str, records: Records, kind: str
) -> None:
    await admin.create(kind, workload(kind, "web", namespace=namespace))

    replies = [await agent.scale_subresource(kind, "web", n) for n in (3, 5, 3)]

    assert [reply.status for reply in replies] == [200, 200, 403]
    traces = await records.traces(namespace)
    assert [trace["subresource"] for trace in traces] == ["scale"] * 3
    assert {trace["action_type"] for trace in traces} == {f"scale_{kind.lower()}"}


async def test_object_and_scale_share_one_history(admin: Api, agent: Api, namespace: str) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    await agent.scale("Deployment", "web", 3)
    await agent.scale_subresource("Deployment", "web", 5)

    assert (await agent.scale("Deployment", "web", 3)).status == 403


async def test_increase_out_of_a_loop_is_admitted_with_a_warning(
    admin: Api, agent: Api, namespace: str, records: Records
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    await swing(agent, "Deployment", "web", 3, 5)
    await agent.scale("Deployment", "web", 3)

    reply = await agent.scale("Deployment", "web", 8)

    assert reply.status == 200
    (warning,) = reply.warnings
    assert warning.startswith(f"gate: admitted, but {namespace}/web oscillates: a reduction of")
    assert (await agent.scale("Deployment", "web", 6)).status == 403
    assert len(await records.detections(namespace)) == 1


async def test_server_side_apply_meets_the_same_refusal(
    admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    bodies = [workload("Deployment", "web", namespace=namespace, replicas=n) for n in (3, 5, 3)]

    replies = [await agent.apply("Deployment", body) for body in bodies]

    assert [reply.status for reply in replies] == [200, 200, 403]


async def test_deletion_is_a_reduction_and_creation_washes_nothing_clean(
    admin: Api, agent: Api, namespace: str, records: Records
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    await swing(agent, "Deployment", "web", 3, 5)

    refused = await agent.delete("Deployment", "web")
    await admin.delete("Deployment", "web")
    smaller = workload("Deployment", "web", namespace=namespace, replicas=3)
    created = await agent.create("Deployment", smaller)

    assert (refused.status, created.status) == (403, 403)
    assert [trace["action_type"] for trace in await records.traces(namespace)] == [
        "scale_deployment",
        "scale_deployment",
        "delete_workload",
        "create_workload",
    ]


async def test_deleting_a_collection_is_recorded_for_each_workload(
    admin: Api, agent: Api, namespace: str, records: Records
) -> None:
    for name in ("one", "two"):
        await admin.create("Deployment", workload("Deployment", name, namespace=namespace))

    assert (await agent.delete("Deployment")).status == 200

    for name in ("one", "two"):
        (trace,) = await records.traces(namespace, name)
        assert (trace["action_type"], trace["operation"]) == ("delete_workload", "DELETE")


async def test_dry_run_is_answered_and_writes_nothing(
    admin: Api, agent: Api, namespace: str, records: Records
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    await swing(agent, "Deployment", "web", 3, 5)

    reply = await agent.scale("Deployment", "web", 3, query="?dryRun=All")

    assert reply.status == 403
    assert "Dry run: nothing is recorded." in reply.message
    assert len(await records.traces(namespace)) == 2
    assert await records.detections(namespace) == []


async def test_people_and_controllers_are_never_sent_to_gate(
    plane: ControlPlane, gate: GateProcess, admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    await swing(agent, "Deployment", "web", 3, 5)
    assert (await agent.scale("Deployment", "web", 3)).status == 403
    answered, sent = await reviews_answered(gate), await reviews_sent(plane)

    for replicas in (3, 5, 3, 5):
        reply = await admin.scale("Deployment", "web", replicas)
        assert (reply.status, reply.warnings) == (200, ())
    await plane.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")

    assert answered > 0
    assert await reviews_answered(gate) == answered
    assert await reviews_sent(plane) == sent


async def test_impersonated_agent_is_an_agent(
    plane: ControlPlane, admin: Api, namespace: str, records: Records
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))

    await plane.kubectl("-n", namespace, "scale", "deployment/web", "--replicas=4", f"--as={AGENT}")

    (trace,) = await records.traces(namespace)
    assert (trace["actor"], trace["actor_certainty"]) == (AGENT, "proven")


async def test_change_undone_by_a_person_and_made_again_is_two_traces(
    admin: Api, agent: Api, namespace: str, records: Records
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))

    await agent.scale("Deployment", "web", 6)
    await admin.scale("Deployment", "web", 5)
    await agent.scale("Deployment", "web", 6)

    traces = await records.traces(namespace)
    assert [trace["verdict"] for trace in traces] == ["allow", "allow"]


async def test_change_that_a_person_keeps_undoing_is_refused_as_contested(
    admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    for _ in range(2):
        await swing(agent, "Deployment", "web", 8)
        await admin.scale("Deployment", "web", 5)

    reply = await agent.scale("Deployment", "web", 8)

    assert reply.status == 403
    assert "undone 2 times" in reply.message


async def test_context_annotations_end_in_columns(
    admin: Api, agent: Api, namespace: str, records: Records
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    words = {"alert-name": "HighLoad", "confidence": "7", "reasoning": "x" * 9000}
    annotations = {f"ai.prometheus-alerts-slm.io/{name}": text for name, text in words.items()}

    reply = await agent.patch(
        "Deployment",
        "web",
        {"metadata": {"annotations": annotations}, "spec": {"replicas": 6}},
    )

    assert reply.status == 200
    (trace,) = await records.traces(namespace)
    assert (trace["alert_name"], trace["model_confidence"]) == ("HighLoad", None)
    assert len(trace["model_reasoning"]) == 4000
    assert "confidence is not a number from 0 to 1" in str(trace["decision"])
