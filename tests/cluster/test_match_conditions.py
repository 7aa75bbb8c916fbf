"""The API server itself tells agents from people, and a broken gate stands in nobody's way."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gate.domain.actor import AgentRules
from gate.domain.matchconditions import build_match_conditions
from testbed.controlplane import ControlPlane
from testbed.workloads import workload

Governing = Callable[[AgentRules], AbstractAsyncContextManager[None]]

AWKWARD = "o'neil\"s \\d+ [bot].$^*"
RULES = AgentRules(
    users=("system:serviceaccount:robots:*", AWKWARD),
    groups=("*:bots",),
    extra=(("example.com/acts-for", "agent-*"),),
)


@pytest.fixture
def governing(plane: ControlPlane, namespace: str) -> Governing:
    """Return a maker of webhooks that refuse everybody they are asked about: nobody answers."""

    @asynccontextmanager
    async def govern(rules: AgentRules) -> AsyncIterator[None]:
        conditions = [
            {"name": condition.name, "expression": condition.expression}
            for condition in build_match_conditions(rules)
        ]
        webhook = {
            "name": f"{namespace}.example.com",
            "clientConfig": {"url": "https://127.0.0.1:1/validate"},
            "rules": [
                {
                    "apiGroups": ["apps"],
                    "apiVersions": ["v1"],
                    "operations": ["UPDATE"],
                    "resources": ["deployments", "deployments/scale"],
                }
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "matchConditions": conditions,
            "failurePolicy": "Fail",
            "sideEffects": "NoneOnDryRun",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 1,
        }
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": namespace},
            "webhooks": [webhook],
        }
        created = workload("Deployment", "web", namespace=namespace)
        await plane.kubectl("create", "--filename=-", stdin=json.dumps(created))
        await plane.kubectl("create", "--filename=-", stdin=json.dumps(body))
        try:
            yield
        finally:
            await plane.kubectl("delete", "validatingwebhookconfiguration", namespace)

    return govern


@pytest.mark.parametrize(
    ("identity", "is_agent"),
    [
        (("--as=system:serviceaccount:robots:arm",), True),
        ((f"--as={AWKWARD.replace('*', 'anything')}",), True),
        (("--as=somebody", "--as-group=night:bots"), True),
        (("--as=somebody", "--as-user-extra=example.com/acts-for=agent-7"), True),
        (("--as=somebody",), False),
        (("--as=system:serviceaccount:humans:arm",), False),
        (("--as=somebody", "--as-group=robots", "--as-user-extra=example.com/acts-for=x"), False),
        ((), False),
    ],
)
async def test_only_listed_identities_are_sent_to_the_webhook(
    plane: ControlPlane,
    governing: Governing,
    namespace: str,
    identity: tuple[str, ...],
    is_agent: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    rights = ("--as-group=system:masters",) if identity else ()
    async with governing(RULES):
        await wait_until_in_force(plane, namespace)

        done = await plane.kubectl(
            *("-n", namespace, "scale", "deployment/web", "--replicas=6"),
            *identity,
            *rights,
            check=False,
        )

    assert (done.returncode != 0) is is_agent, done.stderr
    assert ("failed calling webhook" in done.stderr) is is_agent


async def wait_until_in_force(plane: ControlPlane, namespace: str) -> None:
    """Poll with an agent's dry run: the API server takes a moment to see a new configuration."""
    for _ in range(200):
        done = await plane.kubectl(
            *("-n", namespace, "scale", "deployment/web", "--replicas=7", "--dry-run=server"),
            *("--as=system:serviceaccount:robots:probe", "--as-group=system:masters"),
            check=False,
        )
        if "failed calling webhook" in done.stderr:
            return
    raise AssertionError("the configuration never came into force")
