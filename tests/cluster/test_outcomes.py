"""What becomes of admitted changes, told by a watch of a real API server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from gate.domain.seal import Seal
from gate.domain.workload import Kind, WorkloadKey
from gate.kube.client import connect, read_cluster_uid
from gate.kube.watch import WatchLimits, WorkloadWatch
from gate.postgres.outcomes import PostgresOutcomes
from gate.postgres.pool import close_pool, open_pool
from gate.services.clock import utc_now
from gate.services.journal import Journal
from gate.services.outcomes import OutcomeKeeper
from gate.telemetry import Metrics
from testbed.controlplane import ControlPlane
from testbed.gate import GateProcess, running_gate
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records
from tests.cluster.relay import relayed

_PATIENCE = 30.0
# A refusal is final at once, so nobody need wait until no request can be retried any more.
_GRACE = timedelta(seconds=3)
_SKEW = 6.0
# A watch that has ended confirms that nothing was missed before it.
_USUAL = WatchLimits(length=timedelta(seconds=3))


@dataclass
class Watching:
    """A watch and keeper of outcomes in this process, since when it runs, and what it saw."""

    since: float
    journal: Journal
    metrics: Metrics

    def replicas_of(self, key: WorkloadKey) -> list[object]:
        """Return the replicas a workload was seen with, one after another."""
        entries = self.journal.read(key, after=0, up_to=self.journal.number)
        return [value for value, _ in groupby(each.seen.state["replicas"] for each in entries)]

    async def wait_for_replicas(self, key: WorkloadKey, replicas: int) -> None:
        """Wait until a workload is seen with so many."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                if self.replicas_of(key)[-1:] == [replicas]:
                    return
                await asyncio.sleep(0.1)

    async def wait_until_trusted(self) -> None:
        """Wait until it has watched for longer than the clocks of replicas may differ."""
        await asyncio.sleep(max(0.0, self.since + _SKEW - time.monotonic()))


@asynccontextmanager
async def watching(
    kubeconfig: Path, gate: GateProcess, *, limits: WatchLimits = _USUAL
) -> AsyncIterator[Watching]:
    """Watch, and tell outcomes, until the block is left."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connect(kubeconfig))
        name = await read_cluster_uid(cluster)
        pool = await open_pool(gate.dsn, size=2, application_name="gate tests")
        stack.push_async_callback(close_pool, pool, grace=5)
        seal = Seal((gate.data / "seal.key").read_bytes())
        watch = WorkloadWatch(
            cluster, name=name, seal=seal, clock=utc_now, metrics=metrics, limits=limits
        )
        journal = Journal(metrics=metrics)
        keeper = OutcomeKeeper(
            PostgresOutcomes(pool),
            watch,
            journal=journal,
            cluster=name,
            clock=utc_now,
            timer=time.monotonic,
            metrics=metrics,
            grace=_GRACE,
        )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(watch.run(journal)), tasks.create_task(_run(keeper))]
            yield Watching(time.monotonic(), journal, metrics)
            for task in running:
                task.cancel()


async def _run(keeper: OutcomeKeeper) -> None:
    while True:
        await keeper.run_once()
        await asyncio.sleep(0.2)


@dataclass
class Scene:
    """A namespace as an administrator and the agent see it, and what is on record of it."""

    namespace: str
    admin: Api
    agent: Api
    records: Records

    async def make(self, kind: str = "Deployment", name: str = "web") -> None:
        """Create a workload of 5 replicas."""
        await self.admin.create(kind, workload(kind, name, namespace=self.namespace))

    async def wait_for(self, *statuses: str) -> list[asyncpg.Record]:
        """Return the traces once they have these statuses, in order of version.

        A review of a stale object, which the API server then asks about again, is left out.
        """
        traces: list[asyncpg.Record] = []
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    traces = await self.records.traces(self.namespace)
                    if "failed" not in statuses:
                        traces = [trace for trace in traces if not _is_stale(trace)]
                    if [trace["execution_status"] for trace in traces] == list(statuses):
                        return traces
                    await asyncio.sleep(0.1)
        except TimeoutError:
            columns = ("action_type", "execution_status", "execution_error")
            shown = [tuple(trace[name] for name in columns) for trace in traces]
            raise AssertionError(f"{shown} instead of {statuses}") from None


def _is_stale(trace: asyncpg.Record) -> bool:
    return (trace["execution_error"] or "").endswith("of the object shows other values")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gate(plane: ControlPlane, directory: Path) -> AsyncIterator[GateProcess]:
    """Return a gate that leaves watching to these tests."""
    async with running_gate(plane.kubeconfig, directory / "outcomes", outcomes=False) as gate:
        yield gate


@pytest.fixture
def scene(gate: GateProcess, admin: Api, agent: Api, namespace: str) -> Scene:
    """Return a fresh namespace."""
    return Scene(namespace, admin, agent, Records(gate.dsn))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watcher(plane: ControlPlane, gate: GateProcess) -> AsyncIterator[Watching]:
    """Return a watch beside the gate of this file."""
    async with watching(plane.kubeconfig, gate) as running:
        yield running


async def forbid_pods(plane: ControlPlane, namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    await plane.kubectl("apply", "--filename=-", stdin=json.dumps(quota))


@pytest.mark.usefixtures("watcher")
async def test_changes_are_completed_with_their_times_and_the_state_after(scene: Scene) -> None:
    await scene.make()
    await scene.agent.scale("Deployment", "web", 3)
    await scene.agent.scale_subresource("Deployment", "web", 2)

    traces = await scene.wait_for("completed", "completed")

    last = traces[-1]
    took = last["execution_end_time"] - last["execution_start_time"]
    assert timedelta(0) <= took < timedelta(seconds=_PATIENCE)
    assert abs(last["execution_duration_ms"] - took / timedelta(milliseconds=1)) <= 1
    assert last["execution_start_time"] - last["action_timestamp"] < timedelta(seconds=5)
    assert json.loads(last["observed_state"])["replicas"] == 2
    live = await scene.admin.get("Deployment", "web")
    assert last["observed_generation"] == live["metadata"]["generation"]
    assert [trace["execution_error"] for trace in traces] == [None, None]


@pytest.mark.usefixtures("watcher")
async def test_every_kind_of_change_is_recognised(scene: Scene) -> None:
    await scene.make("StatefulSet", "db")
    container = {"name": "db", "image": "registry.example/db:1", "env": [{"name": "A"}]}
    bodies: list[dict[str, Any]] = [
        {"spec": {"replicas": 3}},
        {"metadata": {"labels": {"tier": "back"}}},
        {"metadata": {"annotations": {"owner": "me"}}},
        {"spec": {"template": {"spec": {"containers": [container]}}}},
    ]
    for body in bodies:
        assert (await scene.agent.patch("StatefulSet", "db", body)).status == 200
    made = workload("Deployment", "new", namespace=scene.namespace, replicas=1)
    assert (await scene.agent.create("Deployment", made)).status == 201
    await scene.wait_for(*["completed"] * 5)

    assert (await scene.agent.delete("StatefulSet", "db")).status == 200

    await scene.wait_for(*["completed"] * 6)


async def test_a_change_that_admission_after_gate_refuses_is_not_persisted(
    plane: ControlPlane, watcher: Watching, scene: Scene
) -> None:
    await scene.make()
    await watcher.wait_until_trusted()
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": scene.namespace},
        "spec": {"hard": {"count/deployments.apps": "1"}},
    }
    await plane.kubectl("apply", "--filename=-", stdin=json.dumps(quota))
    await _wait_until_counted(plane, scene.namespace)

    made = workload("Deployment", "second", namespace=scene.namespace)
    assert (await scene.agent.create("Deployment", made)).status == 403

    (trace,) = await scene.wait_for("failed")
    assert trace["execution_error"].startswith("not-persisted: ")
    assert trace["execution_start_time"] is None


async def _wait_until_counted(plane: ControlPlane, namespace: str) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            shown = await plane.kubectl("-n", namespace, "get", "quota", "none", "-o", "json")
            if json.loads(shown.stdout).get("status", {}).get("used"):
                return
            await asyncio.sleep(0.1)


@pytest.mark.usefixtures("watcher")
async def test_a_rollout_whose_pods_are_refused_fails_with_the_reason(
    plane: ControlPlane, scene: Scene
) -> None:
    body = workload("Deployment", "web", namespace=scene.namespace, replicas=1)
    body["spec"]["progressDeadlineSeconds"] = 2  # type: ignore[index]  # a manifest
    await scene.admin.create("Deployment", body)
    await forbid_pods(plane, scene.namespace)
    container = {"name": "web", "image": "registry.example/web:2"}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}

    reply = await scene.agent.patch("Deployment", "web", patch)

    assert reply.status == 200
    (trace,) = await scene.wait_for("failed")
    assert trace["execution_error"].startswith("progress-deadline-exceeded: ")
    assert trace["execution_start_time"] is not None


@pytest.mark.usefixtures("watcher")
async def test_a_change_that_a_person_undoes_is_rolled_back_and_names_the_manager(
    scene: Scene,
) -> None:
    await scene.make()
    await scene.agent.scale_subresource("Deployment", "web", 8)
    await scene.wait_for("completed")
    await scene.admin.patch(
        "Deployment", "web", {"spec": {"replicas": 5}}, query="?fieldManager=argocd-controller"
    )

    (trace,) = await scene.wait_for("rolled-back")

    (entry,) = json.loads(trace["follow_up_actions"])
    assert (entry["type"], entry["by"]) == ("undone", "argocd-controller")
    assert entry["fields"] == [{"field": "replicas"}]


async def test_changes_made_while_nobody_watched_are_told_afterwards(
    plane: ControlPlane, gate: GateProcess, scene: Scene
) -> None:
    await scene.make()
    await scene.agent.scale("Deployment", "web", 3)

    async with watching(plane.kubeconfig, gate):
        (trace,) = await scene.wait_for("completed")

    assert trace["execution_start_time"] is not None


@pytest.mark.usefixtures("watcher")
async def test_two_who_watch_at_once_write_each_outcome_once(
    plane: ControlPlane, gate: GateProcess, scene: Scene
) -> None:
    await scene.make()
    async with watching(plane.kubeconfig, gate):
        await scene.agent.scale("Deployment", "web", 8)
        await scene.wait_for("completed")
        await scene.admin.scale("Deployment", "web", 5)
        (trace,) = await scene.wait_for("rolled-back")

    assert len(json.loads(trace["follow_up_actions"])) == 1


async def test_a_watch_that_ends_often_misses_nothing(
    plane: ControlPlane, gate: GateProcess, scene: Scene
) -> None:
    limits = WatchLimits(length=timedelta(seconds=1), silence=timedelta(seconds=5))
    await scene.make()
    async with watching(plane.kubeconfig, gate, limits=limits):
        for replicas in (6, 7, 8, 9):
            await scene.agent.scale("Deployment", "web", replicas)
            await asyncio.sleep(0.7)

        traces = await scene.wait_for(*["completed"] * 4)

    assert [json.loads(trace["observed_state"])["replicas"] for trace in traces] == [6, 7, 8, 9]


@pytest.mark.usefixtures("watcher")
@pytest.mark.parametrize("fault", ["restart", "silence"])
async def test_a_watch_misses_nothing_while_the_api_server_is_away_or_silent(
    plane: ControlPlane, gate: GateProcess, scene: Scene, tmp_path: Path, fault: str
) -> None:
    await scene.make()
    cluster = await plane.kubectl("get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}")
    key = WorkloadKey(cluster.stdout, scene.namespace, Kind.DEPLOYMENT, "web")
    limits = WatchLimits(silence=timedelta(seconds=3))
    async with (
        relayed(plane.kubeconfig, tmp_path) as (relay, kubeconfig),
        watching(kubeconfig, gate, limits=limits) as running,
    ):
        await running.wait_for_replicas(key, 5)
        relay.cut() if fault == "restart" else relay.stall()
        for replicas in (6, 7, 8):
            await scene.agent.scale_subresource("Deployment", "web", replicas)
        await scene.wait_for("completed", "completed", "completed")
        assert running.replicas_of(key)[-1] == 5
        relay.resume()
        await running.wait_for_replicas(key, 8)

        assert running.replicas_of(key) == [5, 6, 7, 8]
    assert b"gate_watch_interruptions_total" in running.metrics.expose()
