"""Secrets of a workload reach neither answers nor logs, metrics or records."""

import json

import pytest
import structlog

from gate.webhook.review import parse_review
from tests.reviews import AGENT, Body, StoredWorkload, make_body, make_review
from tests.webhook.gateway import Gateway, running_gateway
from tests.webhook.stores import SECRET_OF_A_BUG, BuggyHistories
from tests.webhook.tls import TestAuthority

MARK = "s3cr3t"


def plant(body: Body, suffix: str) -> Body:
    """Put a different secret into every place where people put them."""
    secret = f"{MARK}-{suffix}"
    template = body["spec"]["template"]
    container = template["spec"]["containers"][0]
    container["env"] = [
        {"name": "PASSWORD", "value": f"{secret}-env"},
        {"name": "DSN", "value": f"postgresql://app:{secret}@db/app"},
    ]
    container["envFrom"] = [{"prefix": f"{secret}-prefix"}]
    container["args"] = [f"--token={secret}-arg"]
    container["command"] = ["sh", "-c", f"curl -u x:{secret}-command"]
    container["lifecycle"] = {"preStop": {"exec": {"command": [f"{secret}-hook"]}}}
    template["spec"]["initContainers"] = [{"name": "init", "args": [f"{secret}-init"]}]
    template["spec"]["volumes"] = [{"name": "v", "csi": {"volumeAttributes": {"k": secret}}}]
    template["metadata"]["annotations"] = {
        "vault.example.com/token": f"{secret}-template",
        "kubectl.kubernetes.io/restartedAt": f"{secret}-no-timestamp",
    }
    body["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"password": secret}),
        "example.com/key": f"{secret}-annotation",
    }
    body["metadata"]["managedFields"] = [{"manager": "m", "fieldsV1": {f"f:{secret}": {}}}]
    body["status"] = {"conditions": [{"message": f"{secret}-status"}]}
    return body


async def collect(gateway: Gateway, reviews: list[Body]) -> str:
    """Send reviews and return everything that came of them, as one text."""
    with structlog.testing.capture_logs() as lines:
        replies = [await gateway.send(review) for review in reviews]
    stored = (gateway.histories.recordings, gateway.histories.repetitions)
    return "\n".join([repr(replies), repr(stored), repr(lines), gateway.exposed()])


def reviews_with_secrets() -> list[Body]:
    old, new = plant(make_body(), "old"), plant(make_body(replicas=3), "new")
    return [
        make_review(None, old, operation="CREATE"),
        make_review(old, new),
        make_review(new, old),
        make_review(old, new),
        make_review(old, new, dry_run=True),
        make_review(new, old, user="kubernetes-admin"),
        make_review(new, None, operation="DELETE"),
    ]


async def test_planted_secrets_are_nowhere(gateway: Gateway) -> None:
    everything = await collect(gateway, reviews_with_secrets())

    assert MARK not in everything
    assert "env.PASSWORD" in everything
    assert "hmac:" in everything


async def test_planted_secrets_are_nowhere_when_only_they_change(gateway: Gateway) -> None:
    reviews = [
        make_review(plant(make_body(), str(number)), plant(make_body(), str(number + 1)))
        for number in range(5)
    ]

    everything = await collect(gateway, reviews)

    assert len(gateway.histories.recordings) == 5
    assert MARK not in everything


async def test_equal_secrets_are_no_change(gateway: Gateway) -> None:
    await gateway.send(make_review(plant(make_body(), "same"), plant(make_body(), "same")))

    assert gateway.histories.recordings == []


@pytest.mark.parametrize("where", ["object", "oldObject", "userInfo", "dryRun", "resource"])
async def test_secrets_in_a_review_that_cannot_be_read_are_nowhere(
    gateway: Gateway, where: str
) -> None:
    review = make_review(plant(make_body(), "old"), plant(make_body(), "new"))
    review["request"][where] = [plant(make_body(), "misplaced")]

    everything = await collect(gateway, [review])

    assert MARK not in everything


async def test_exception_of_a_bug_is_logged_without_its_text(authority: TestAuthority) -> None:
    histories = BuggyHistories()
    async with running_gateway(authority, histories=histories) as gateway:
        review = make_review(plant(make_body(), "old"), plant(make_body(), "new"))
        everything = await collect(gateway, [review])

    assert "RuntimeError" in everything
    assert "stores.py" in everything
    assert SECRET_OF_A_BUG not in everything
    assert MARK not in everything


def test_request_does_not_show_its_objects() -> None:
    review = StoredWorkload(plant(make_body(), "x")).scale(3)

    assert MARK not in repr(parse_review(json.dumps(review).encode()))
    assert AGENT in repr(parse_review(json.dumps(review).encode()))
