"""Every review that was captured from a real API server, and what gate makes of it."""

import json

import pytest
import structlog

from tests.reviews import AGENT
from tests.webhook.gateway import FIXTURES, Gateway, read_fixture

COLLECTED = "deployment-deletecollection"
ACTION_TYPES = {
    "deployment-create": "create_workload",
    "deployment-delete": "delete_workload",
    COLLECTED: "delete_workload",
    "deployment-impersonated": "scale_deployment",
    "deployment-restart": "restart_deployment",
    "deployment-scale": "scale_deployment",
    "deployment-server-side-apply": "scale_deployment",
    "deployment-update-env": "update_environment",
    "deployment-update-image": "update_image",
    "deployment-update-metadata": "update_metadata",
    "deployment-update-replicas": "scale_deployment",
    "deployment-update-resources": "increase_resources",
    "deployment-update-strategy": "update_strategy",
    "statefulset-create": "create_workload",
    "statefulset-delete": "delete_workload",
    "statefulset-scale": "scale_statefulset",
    "statefulset-update-template": "update_image",  # the template's image
}
WITHOUT_TRACE = {"deployment-no-change", "deployment-dry-run"}


def test_every_fixture_is_looked_at() -> None:
    assert {path.stem for path in FIXTURES.glob("*.json")} == ACTION_TYPES.keys() | WITHOUT_TRACE


@pytest.mark.parametrize("name", ACTION_TYPES)
async def test_captured_change_is_admitted_and_named(gateway: Gateway, name: str) -> None:
    review = read_fixture(name)

    reply = await gateway.send(review)

    (recording,) = gateway.histories.recordings
    assert reply.is_allowed
    assert reply.response["uid"] == review["request"]["uid"]
    assert recording.trace.action_type == ACTION_TYPES[name]
    old_or_new = review["request"]["oldObject"] or review["request"]["object"]
    assert recording.key.name == old_or_new["metadata"]["name"]
    assert f"{recording.key.kind.lower()}s" == review["request"]["resource"]["resource"]
    assert (recording.key.namespace, recording.actor.name) == ("shop", AGENT)
    assert recording.actor.certainty == "proven"


@pytest.mark.parametrize("name", sorted(WITHOUT_TRACE))
async def test_captured_review_without_effect_is_admitted_and_writes_nothing(
    gateway: Gateway, name: str
) -> None:
    reply = await gateway.send(read_fixture(name))

    assert reply.is_allowed
    assert gateway.histories.recordings == []
    assert gateway.histories.repetitions == []


@pytest.mark.parametrize("name", sorted(ACTION_TYPES))
async def test_admission_is_logged_in_one_line_with_what_identifies_it(
    gateway: Gateway, name: str
) -> None:
    review = read_fixture(name)

    with structlog.testing.capture_logs() as lines:
        await gateway.send(review)

    (line,) = lines
    (recording,) = gateway.histories.recordings
    took = line.pop("duration_ms")
    assert isinstance(took, float)
    assert line == {
        "event": "admission.allowed",
        "log_level": "info",
        "uid": review["request"]["uid"],
        "operation": review["request"]["operation"],
        "mode": "enforce",
        "workload": f"shop/{recording.key.kind}/{recording.key.name}",
        "subresource": review["request"].get("subResource", ""),
        "actor": AGENT,
        "dry_run": False,
        "agent_rule": "user system:serviceaccount:ai-agents:*",
        "action_type": ACTION_TYPES[name],
        "action_id": recording.trace.action_id,
    }


async def test_deletecollection_takes_the_name_from_the_old_object(gateway: Gateway) -> None:
    review = read_fixture(COLLECTED)

    await gateway.send(review)

    assert not review["request"].get("name")
    assert gateway.histories.recordings[0].key.name == "search"


async def test_scale_and_object_are_one_history(gateway: Gateway) -> None:
    await gateway.send(read_fixture("deployment-update-replicas"))
    await gateway.send(read_fixture("deployment-scale"))

    first, second = gateway.histories.recordings
    assert first.key == second.key
    assert second.expected_version == 1


async def test_changes_are_recorded_normalised(gateway: Gateway) -> None:
    await gateway.send(read_fixture("deployment-update-resources"))

    (recording,) = gateway.histories.recordings
    assert json.loads(json.dumps(recording.parameters)) == {
        "changes": [
            {
                "container": "app",
                "field": "limits.memory",
                "before": "512Mi",
                "after": "1Gi",
                "before_bytes": 536870912,
                "after_bytes": 1073741824,
            }
        ]
    }
