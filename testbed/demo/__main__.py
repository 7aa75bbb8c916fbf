"""The main job on real input: a real API server refuses an agent's oscillations.

Every step prints what it ran and what came back, and the demo fails loudly where anything differs
from what gate promises.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from testbed.demo.operations import (
    leave_people_alone,
    lose_the_database,
    only_warn_in_audit_mode,
    replay_the_sample,
    show_reports,
)
from testbed.demo.refusals import (
    leave_failures_behind,
    restart_again_and_again,
    swing_memory,
    swing_replicas,
)
from testbed.demo.stage import DemoError, show, stage
from testbed.gate import AGENT, running_gate

_LIMIT: Final = 600.0


async def run(directory: Path) -> None:
    """Play all steps in order."""
    await replay_the_sample()
    show("", "Starting etcd, kube-apiserver, controller-manager, scheduler, fake nodes, PostgreSQL")
    async with stage(directory) as demo:
        data, arguments = directory / "gate", (f"--dsn={demo.database.dsn}",)
        kubeconfig = demo.plane.kubeconfig
        show(f"Starting gate dev. The agent is {AGENT}.")
        async with running_gate(kubeconfig, data, arguments=arguments) as gate:
            await swing_replicas(demo)
            await swing_memory(demo)
            await restart_again_and_again(demo)
            await leave_failures_behind(demo)
            await leave_people_alone(demo, gate)
            await show_reports(demo)
            await lose_the_database(demo)
        async with running_gate(kubeconfig, data, mode="audit", arguments=arguments):
            await only_warn_in_audit_mode(demo)


async def main() -> int:
    """Run the demo; return the exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gate-demo-", ignore_cleanup_errors=True) as name:
        try:
            async with asyncio.timeout(_LIMIT):
                await run(Path(name))
        except DemoError as error:
            show("", f"THE DEMO FAILED: {error}")
            return 1
    show("", f"All steps went as promised, in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
