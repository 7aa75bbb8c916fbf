"""PostgreSQL goes away while agents work, and comes back."""

from pathlib import Path

from gate.postgres.embedded import EmbeddedServer
from testbed.controlplane import ControlPlane
from testbed.gate import running_gate
from testbed.metrics import count, read_metrics
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records

UNCHECKED = "gate: admitted without a check, recorded here until PostgreSQL takes it"


async def test_agents_are_admitted_with_a_warning_until_the_database_is_back(
    plane: ControlPlane, directory: Path, admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    server = EmbeddedServer(directory / "database")
    async with server:
        dsn = server.dsn
        async with running_gate(
            plane.kubeconfig, directory / "outage", arguments=("--dsn", dsn)
        ) as gate:
            before = await agent.scale("Deployment", "web", 3)

            await server.__aexit__(None, None, None)
            down = [await agent.scale("Deployment", "web", n) for n in (5, 3)]
            people = await admin.scale("Deployment", "web", 5)

            await server.__aenter__()
            after = await agent.scale("Deployment", "web", 6)
            undecided = count(await read_metrics(gate), "gate_admission_failures_total")
        traces = await Records(dsn).traces(namespace)

    assert (before.status, before.warnings) == (200, ())
    assert [reply.status for reply in down] == [200, 200]
    assert all(reply.warnings[0].startswith(UNCHECKED) for reply in down)
    assert (people.status, people.warnings) == (200, ())
    assert after.status == 200
    assert [trace["verdict"] for trace in traces] == ["allow"] * 4
    assert [trace["spooled_at"] is not None for trace in traces[:3]] == [False, True, True]
    assert undecided >= len(down)
