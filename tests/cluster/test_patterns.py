"""Every pattern with every strategy, seen to block through a real API server."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gate.domain.pattern import PatternType, Strategy
from testbed.controlplane import ControlPlane
from testbed.gate import GateProcess, running_gate
from testbed.workloads import workload
from tests.cluster.api import Api, Reply
from tests.cluster.records import Records

pytestmark = pytest.mark.usefixtures("gate")

_PATIENCE = 60.0  # seconds until a watch has told of a failed rollout
_APPLIED = {
    Strategy.BLOCK_ACTION: "blocked",
    Strategy.COOLING_PERIOD: "blocked",
    Strategy.ESCALATE_HUMAN: "escalated",
    Strategy.ALTERNATIVE_ACTION: "alternative-suggested",
}
_CAUSES = {
    PatternType.SCALE_OSCILLATION: "ScaleOscillation",
    PatternType.RESOURCE_THRASHING: "ResourceThrashing",
    PatternType.INEFFECTIVE_LOOP: "IneffectiveLoop",
    PatternType.CASCADING_FAILURE: "CascadingFailure",
}


def declare(pattern: PatternType, strategy: Strategy) -> dict[str, object]:
    """Return a pattern that watches the namespaces named after its strategy."""
    return {
        "type": pattern,
        "strategy": {"name": strategy},
        "scope": {"namespaces": [f"{strategy}-*"]},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gate(plane: ControlPlane, directory: Path) -> AsyncIterator[GateProcess]:
    """Return a gate that has all patterns with all strategies."""
    policy = directory / "policy.yaml"
    policy.write_text(
        json.dumps(
            {
                "patterns": {
                    f"{pattern} {strategy}": declare(pattern, strategy)
                    for pattern in PatternType
                    for strategy in Strategy
                }
            }
        )
    )
    arguments = (f"--policy={policy}",)
    async with running_gate(plane.kubeconfig, directory / "patterns", arguments=arguments) as gate:
        yield gate
        assert not gate.component.has_ended(), gate.component.last_lines()


@pytest.fixture
def records(gate: GateProcess) -> Records:
    return Records(gate.dsn)


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(plane: ControlPlane, strategy: Strategy) -> str:
    """Return a fresh namespace in which a strategy holds."""
    name = f"{strategy}-{secrets.token_hex(4)}"
    await plane.kubectl("create", "namespace", name)
    return name


class Scene:
    """An agent at work in one namespace, and what is on record of it."""

    def __init__(self, admin: Api, agent: Api, records: Records, namespace: str) -> None:
        self._admin = admin
        self.agent = agent
        self._records = records
        self._namespace = namespace

    async def create(self, *names: str) -> None:
        """Let the administrator create Deployments."""
        for name in names:
            body = workload("Deployment", name, replicas=1, namespace=self._namespace)
            created = await self._admin.create("Deployment", body)
            assert created.status == 201, created.message

    async def admit(self, name: str, patch: object) -> None:
        """Let the agent make a change that is admitted."""
        reply = await self.agent.patch("Deployment", name, patch)
        assert reply.status == 200, reply.message

    async def list_applied(self) -> list[str]:
        """Return what was applied by the detections of the namespace."""
        detections = await self._records.detections(self._namespace)
        return [d["prevention_action"] for d in detections if d["prevention_applied"]]

    async def wait_for_failures(self, count: int) -> None:
        """Wait until as many rollouts are on record as failed."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                traces = await self._records.traces(self._namespace)
                failed = [t for t in traces if t["execution_status"] == "failed"]
                if len(failed) >= count:
                    return
                await asyncio.sleep(0.2)


def memory(name: str, limit: str) -> dict[str, Any]:
    """Return the patch that sets a memory limit."""
    container = {
        "name": name,
        "image": f"registry.example/{name}:1",
        "resources": {"limits": {"memory": limit}},
    }
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def restart(at: int) -> dict[str, Any]:
    """Return the patch of a restart at a second."""
    annotations = {"kubectl.kubernetes.io/restartedAt": f"2026-11-24T08:00:{at:02}Z"}
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


async def swing_replicas(scene: Scene) -> Reply:
    await scene.create("web")
    for replicas in (5, 3, 5):
        await scene.admit("web", {"spec": {"replicas": replicas}})
    return await scene.agent.patch("Deployment", "web", {"spec": {"replicas": 3}})


async def swing_memory(scene: Scene) -> Reply:
    await scene.create("web")
    for limit in ("512Mi", "256Mi", "512Mi"):
        await scene.admit("web", memory("web", limit))
    return await scene.agent.patch("Deployment", "web", memory("web", "256Mi"))


async def restart_again_and_again(scene: Scene) -> Reply:
    await scene.create("web")
    for second in (1, 2):
        await scene.admit("web", restart(second))
    return await scene.agent.patch("Deployment", "web", restart(3))


async def leave_failures_behind(scene: Scene) -> Reply:
    """Send two of three workloads to nodes that do not exist, and reach for a fourth."""
    await scene.create("one", "two", "three", "four")
    nowhere = {
        "progressDeadlineSeconds": 1,
        "template": {"spec": {"nodeSelector": {"disk": "imaginary"}}},
    }
    for name in ("one", "two"):
        await scene.admit(name, {"spec": nowhere})
    await scene.admit("three", {"spec": {"replicas": 2}})
    await scene.wait_for_failures(2)
    return await scene.agent.patch("Deployment", "four", {"spec": {"replicas": 2}})


_SCENARIOS: dict[PatternType, Callable[[Scene], Awaitable[Reply]]] = {
    PatternType.SCALE_OSCILLATION: swing_replicas,
    PatternType.RESOURCE_THRASHING: swing_memory,
    PatternType.INEFFECTIVE_LOOP: restart_again_and_again,
    PatternType.CASCADING_FAILURE: leave_failures_behind,
}


@pytest.fixture
def scene(admin: Api, agent: Api, records: Records, namespace: str) -> Scene:
    return Scene(admin, agent, records, namespace)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("pattern", PatternType)
async def test_pattern_is_blocked_by_strategy(
    scene: Scene, pattern: PatternType, strategy: Strategy
) -> None:
    reply = await _SCENARIOS[pattern](scene)

    assert (reply.status, reply.body.get("reason")) == (403, "Forbidden"), reply.body
    causes = [cause["reason"] for cause in reply.body["details"]["causes"]]
    assert causes == [_CAUSES[pattern]]
    assert ("Escalation: a person is asked" in reply.message) is (
        strategy is Strategy.ESCALATE_HUMAN
    )
    assert ("Instead: nothing is known to have worked better" in reply.message) is (
        strategy is Strategy.ALTERNATIVE_ACTION
    )
    assert await scene.list_applied() == [_APPLIED[strategy]]
