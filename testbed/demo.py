"""The main job on real input: a real API server refuses an agent's oscillation.

Run as `python -m testbed.demo`. Every step prints what it ran and what came back, and the demo
fails loudly where anything differs from what gate promises.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed.binaries import find_binaries
from testbed.controlplane import ControlPlane
from testbed.gate import AGENT, GateProcess, running_gate
from testbed.metrics import reviews_answered, reviews_sent
from testbed.workloads import SHOP, prepare_agent, prepare_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT: Final = 600.0


class DemoError(Exception):
    """Something came out differently from what gate promises."""


class Demo:
    """The cluster with its two people: an agent with a token of its own, and an administrator."""

    def __init__(self, plane: ControlPlane, agent: Path) -> None:
        self._plane = plane
        self._agent = agent

    async def act(self, who: str, command: str, *, refused: bool = False) -> str:
        """Run kubectl as somebody, show command and answer, and check that it went as expected."""
        show(f"{who}$ kubectl {command}")
        done = await self._plane.kubectl(
            *shlex.split(command),
            kubeconfig=self._agent if who == "agent" else None,
            check=False,
        )
        answer = (done.stderr + done.stdout).strip()
        show(*(f"  {line}" for line in answer.splitlines()))
        expect(
            (done.returncode != 0) is refused,
            f"this should have been {'refused' if refused else 'admitted'}",
        )
        return answer

    async def settle(self, workload: str) -> None:
        """Wait until a workload's rollout is complete."""
        await self._plane.kubectl("-n", SHOP, "rollout", "status", workload, "--timeout=60s")


async def refuse_the_third_swing(demo: Demo) -> None:
    """Step 1."""
    title("1. The agent swings shop/web: 5 → 3, back to 5, and down to 3 again")
    await demo.act("agent", patch("web", 3))
    await demo.settle("deployment/web")
    await demo.act("agent", patch("web", 5))
    await demo.settle("deployment/web")
    answer = await demo.act("agent", patch("web", 3), refused=True)
    expect("scale-oscillation" in answer, "the denial should name the pattern")
    expect("5 → 3 → 5" in answer, "the denial should show what was seen")
    expect(re.search(r"admitted from \S+Z \(in \d+ s\)", answer), "it should say when to retry")


async def admit_an_increase(demo: Demo) -> None:
    """Step 2."""
    title("2. The agent may still give capacity: 8 replicas")
    answer = await demo.act("agent", patch("web", 8))
    expect("Warning: gate: admitted, but" in answer, "the increase should carry a warning")
    await demo.settle("deployment/web")


async def refuse_on_scale(demo: Demo) -> None:
    """Step 3."""
    title("3. The same on a StatefulSet through the scale subresource, `kubectl scale`")
    for replicas in (3, 5):
        await demo.act("agent", scale(replicas))
        await demo.settle("statefulset/db")
    answer = await demo.act("agent", scale(3), refused=True)
    expect("StatefulSet shop/db" in answer, "the denial should name the StatefulSet")


async def leave_people_alone(demo: Demo, plane: ControlPlane, gate: GateProcess) -> None:
    """Step 4."""
    title("4. An administrator makes the change that the agent was refused; gate is not even asked")
    await demo.act("agent", patch("web", 3), refused=True)
    counted, sent = await reviews_answered(gate), await reviews_sent(plane)
    await demo.act("admin", patch("web", 3))
    counted_after, sent_after = await reviews_answered(gate), await reviews_sent(plane)
    show(
        f"  gate_admission_reviews_total: {counted:.0f} before, {counted_after:.0f} after",
        f"  apiserver_admission_webhook_request_total: {sent:.0f} before, {sent_after:.0f} after",
    )
    expect(counted > 0 and counted == counted_after, "gate should have received no review")
    expect(sent == counted == sent_after, "the API server should have sent none")
    await demo.settle("deployment/web")


async def only_warn_in_audit_mode(demo: Demo) -> None:
    """Step 5."""
    title("5. gate again, with --mode audit: the agent swings shop/api and is only told")
    for replicas in (3, 5):
        await demo.act("agent", patch("api", replicas))
        await demo.settle("deployment/api")
    answer = await demo.act("agent", patch("api", 3))
    expect("would have been refused" in answer, "the warning should say what would have happened")


async def show_history(gate: GateProcess) -> None:
    """Step 6."""
    title("6. What PostgreSQL has on record for shop/web")
    show("$ gate history shop/Deployment/web")
    table = await gate.run("history", f"{SHOP}/Deployment/web")
    show(table)
    verdicts = re.findall(r"\b(?:allow|deny)\b", table)
    expect(
        verdicts == ["allow", "allow", "deny", "allow", "deny"],
        "the agent's five changes should be shown with their verdicts, and nobody else's",
    )
    expect(table.count("scale_deployment") == 5, "each of them should be named as scaling")


def patch(name: str, replicas: int) -> str:
    """Return the kubectl arguments that set a Deployment's replicas on the object itself."""
    body = f'{{"spec":{{"replicas":{replicas}}}}}'
    return f"-n {SHOP} patch deployment {name} -p '{body}'"


def scale(replicas: int) -> str:
    """Return the kubectl arguments that scale the StatefulSet."""
    return f"-n {SHOP} scale statefulset db --replicas={replicas}"


def expect(is_met: object, what: str) -> None:
    """Fail the demo where something differs."""
    if not is_met:
        raise DemoError(what)


def title(text: str) -> None:
    """Open a step."""
    show("", text, "─" * len(text))


def show(*lines: str) -> None:
    """Print lines at once, also into a pipe."""
    print(*lines, sep="\n", flush=True)


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[tuple[ControlPlane, Demo]]:
    """Start the cluster, roll the workloads out and hand the agent its token."""
    show("Starting etcd, kube-apiserver, controller-manager, scheduler and fake nodes …")
    binaries = await asyncio.to_thread(find_binaries, os.environ)
    async with ControlPlane(directory / "cluster", binaries=binaries, workers=True) as plane:
        agent = await prepare_agent(plane)
        await prepare_shop(plane)
        show(f"Agent: {AGENT}. Rolling out shop/web, shop/api and shop/db …")
        demo = Demo(plane, agent)
        for workload in ("deployment/web", "deployment/api", "statefulset/db"):
            await demo.settle(workload)
        yield plane, demo


async def run(directory: Path) -> None:
    """Play all steps in order."""
    async with stage(directory) as (plane, demo):
        data = directory / "gate"
        show("Starting gate dev with an embedded PostgreSQL …")
        async with running_gate(plane.kubeconfig, data) as gate:
            await refuse_the_third_swing(demo)
            await admit_an_increase(demo)
            await refuse_on_scale(demo)
            await leave_people_alone(demo, plane, gate)
        async with running_gate(plane.kubeconfig, data, mode="audit") as gate:
            await only_warn_in_audit_mode(demo)
            await show_history(gate)


async def main() -> int:
    """Run the demo; return the exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gate-demo-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            async with asyncio.timeout(LIMIT):
                await run(directory)
        except DemoError as error:
            show("", f"THE DEMO FAILED: {error}")
            return 1
    show("", f"All steps went as promised, in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
