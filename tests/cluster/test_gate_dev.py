"""The life of a `gate dev` process: what it leaves behind, and what it finds again."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from testbed.component import die_with_parent
from testbed.controlplane import ControlPlane
from testbed.gate import PROGRAM, START_LIMIT, running_gate
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records


async def configurations(plane: ControlPlane) -> list[dict[str, Any]]:
    """Return the webhook configurations named gate-dev."""
    listed = await plane.kubectl("get", "validatingwebhookconfigurations", "-o", "json")
    items: list[dict[str, Any]] = json.loads(listed.stdout)["items"]
    return [item for item in items if item["metadata"]["name"] == "gate-dev"]


async def test_configuration_lives_as_long_as_the_process(
    plane: ControlPlane, directory: Path
) -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        async with running_gate(plane.kubeconfig, directory / "short") as gate:
            (configuration,) = await configurations(plane)
            (webhook,) = configuration["webhooks"]
            assert webhook["failurePolicy"] == "Ignore"
            assert webhook["clientConfig"]["url"].startswith(gate.webhook_url[:20])

            assert await gate.component.end(ending) == 0

        assert await configurations(plane) == []


async def test_second_start_after_a_crash_enforces_on_all_earlier_history(
    plane: ControlPlane, directory: Path, admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    data = directory / "crashed"
    async with running_gate(plane.kubeconfig, data) as gate:
        for replicas in (3, 5):
            assert (await agent.scale("Deployment", "web", replicas)).status == 200
        await gate.component.end(signal.SIGKILL)
    assert len(await configurations(plane)) == 1

    async with running_gate(plane.kubeconfig, data) as gate:
        reply = await agent.scale("Deployment", "web", 3)
        table = await gate.run("history", f"{namespace}/deploy/web")
        listed = json.loads(
            await gate.run("history", f"{namespace}/Deployment/web", "--output=json")
        )

    assert reply.status == 403
    assert "5 → 3" in table
    assert [trace["verdict"] for trace in listed] == ["allow", "allow", "deny"]


async def test_database_of_the_environment_is_left_alone(
    plane: ControlPlane, directory: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "GATE_DSN": "postgresql://gate@127.0.0.1:1/other"}
    data, ready = directory / "own", directory / "own-ready.json"
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *("dev", f"--kubeconfig={plane.kubeconfig}", f"--data-dir={data}", f"--ready-file={ready}"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
    )
    assert process.stdout is not None
    async with asyncio.timeout(START_LIMIT):
        while b"serving at" not in await process.stdout.readline():
            assert not process.stdout.at_eof()
        dsn = json.loads(ready.read_text())["dsn"]
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()

    assert str(data) in unquote(dsn)
    assert errors.decode().startswith("gate dev: GATE_DSN is set and not used: ")
    assert process.returncode == 0


async def test_audit_mode_only_says_what_would_have_happened(
    plane: ControlPlane, directory: Path, admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    async with running_gate(plane.kubeconfig, directory / "audit", mode="audit") as gate:
        replies = [await agent.scale("Deployment", "web", n) for n in (3, 5, 3)]
        (detection,) = await Records(gate.dsn).detections(namespace)

    assert [reply.status for reply in replies] == [200, 200, 200]
    (warning,) = replies[-1].warnings
    assert warning.startswith("gate (audit): would have been refused for ")
    assert (detection["mode"], detection["prevention_applied"]) == ("audit", False)


async def test_named_agents_replace_the_default(
    plane: ControlPlane, directory: Path, admin: Api, agent: Api, namespace: str
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    arguments = ("--agent=robot-*", "--agent=system:*:robots:*")
    async with running_gate(plane.kubeconfig, directory / "named", arguments=arguments) as gate:
        await agent.scale("Deployment", "web", 4)
        for user in ("robot-7", "system:serviceaccount:robots:arm", "human-robot-7"):
            await plane.kubectl(
                *("-n", namespace, "scale", "deployment/web", f"--replicas={4 + len(user)}"),
                *("--as", user, "--as-group", "system:masters"),
            )
        traces = await Records(gate.dsn).traces(namespace)

    assert [trace["actor"] for trace in traces] == [
        "robot-7",
        "system:serviceaccount:robots:arm",
    ]
