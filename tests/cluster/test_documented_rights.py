"""The rights that docs/serving.md asks for are enough for what gate does in a cluster."""

import asyncio
import re
from pathlib import Path

from gate.domain.seal import Seal
from gate.domain.workload import Kind, WorkloadKey
from gate.kube.client import connect, read_cluster_uid
from gate.kube.watch import WorkloadWatch
from gate.services.clock import utc_now
from gate.services.journal import Journal
from gate.telemetry import Metrics
from testbed.controlplane import ControlPlane
from testbed.metrics import count
from testbed.workloads import workload
from tests.cluster.api import Api

_SERVING = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
_EXAMPLES = re.findall(r"^ {3}```yaml\n(.*?)^ {3}```", _SERVING, re.MULTILINE | re.DOTALL)
_PATIENCE = 30.0  # seconds


async def grant_what_is_documented(plane: ControlPlane, namespace: str) -> Path:
    """Give a service account the documented rights; return its kubeconfig."""
    (role,) = [example for example in _EXAMPLES if "kind: ClusterRole" in example]
    await plane.kubectl("-n", namespace, "create", "serviceaccount", "gate")
    await plane.kubectl("apply", "--filename=-", stdin=role)
    account = f"--serviceaccount={namespace}:gate"
    await plane.kubectl("create", "clusterrolebinding", namespace, "--clusterrole=gate", account)
    return await plane.kubeconfig_for_service_account(namespace, "gate")


async def wait_until_seen(journal: Journal, key: WorkloadKey) -> None:
    """Wait until the watch has told of a workload."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            if list(journal.read(key, after=0, up_to=journal.number)):
                return
            await asyncio.sleep(0.05)


async def test_documented_rights_are_enough_to_tell_outcomes(
    plane: ControlPlane, admin: Api, namespace: str
) -> None:
    kubeconfig = await grant_what_is_documented(plane, namespace)
    metrics = Metrics()
    journal = Journal(metrics=metrics)
    async with connect(kubeconfig) as cluster:
        uid = await read_cluster_uid(cluster)
        watch = WorkloadWatch(
            cluster, name=uid, seal=Seal(bytes(32)), clock=utc_now, metrics=metrics
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(watch.run(journal))
            for kind in Kind:
                for name in ("listed", "watched"):
                    await admin.create(kind, workload(kind, name, namespace=namespace))
                    key = WorkloadKey(uid, namespace, kind, name)
                    await wait_until_seen(journal, key)
                    assert await watch.read(key) is not None
            running.cancel()

    assert count(metrics.expose().decode(), "gate_watch_interruptions_total") == 0
