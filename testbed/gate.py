"""A real `gate dev` process of a demo or test."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed.component import Component, die_with_parent, running
from testbed.workloads import ACCOUNT, AGENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AGENT: Final = f"system:serviceaccount:{AGENTS}:{ACCOUNT}"
START_LIMIT: Final = 90.0
POLL: Final = 0.05
PROGRAM: Final = Path(sys.executable).with_name("gate")


class GateProcessError(Exception):
    """gate did not start, stop or answer as it should; the message carries the end of its log."""


@dataclass(frozen=True)
class GateProcess:
    """A serving gate: what its ready file says, and its process."""

    component: Component
    data: Path
    log: Path
    webhook_url: str
    ca_file: Path
    dsn: str
    metrics_url: str

    async def run(self, *args: str) -> str:
        """Run another gate command on the same database and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *args,
            env={**_environment(), "GATE_DSN": self.dsn, "COLUMNS": "100"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent(),
        )
        async with asyncio.timeout(START_LIMIT):
            output, errors = await process.communicate()
        if process.returncode != 0:
            raise GateProcessError(f"gate {' '.join(args)}: {errors.decode().strip()}")
        return output.decode()


@asynccontextmanager
async def running_gate(
    kubeconfig: Path,
    data: Path,
    *,
    mode: str = "enforce",
    outcomes: bool = True,
    arguments: tuple[str, ...] = (),
) -> AsyncIterator[GateProcess]:
    """Run `gate dev` until the block is left; it is serving when the block is entered.

    Without `outcomes` it does not watch the cluster.
    """
    ready = data.with_name(f"{data.name}-ready.json")
    ready.unlink(missing_ok=True)
    command = (
        str(PROGRAM),
        "dev",
        f"--kubeconfig={kubeconfig}",
        f"--data-dir={data}",
        f"--mode={mode}",
        f"--ready-file={ready}",
        *arguments,
    )
    environment = {**_environment(), "GATE_OUTCOMES": str(outcomes)}
    async with running(
        command, name=data.name, directory=data.parent, environment=environment
    ) as component:
        await _wait_until_serving(component, ready)
        described = json.loads(ready.read_text())
        yield GateProcess(
            component=component,
            data=data,
            log=data.parent / f"{data.name}.log",
            webhook_url=described["webhook_url"],
            ca_file=Path(described["ca_file"]),
            dsn=described["dsn"],
            metrics_url=described["metrics_url"],
        )


async def _wait_until_serving(component: Component, ready: Path) -> None:
    try:
        async with asyncio.timeout(START_LIMIT):
            while not ready.exists():
                if component.has_ended():
                    raise GateProcessError(component.last_lines())
                await asyncio.sleep(POLL)
    except TimeoutError as late:
        raise GateProcessError(component.last_lines()) from late


def _environment() -> dict[str, str]:
    """Return what gate sees: no setting, proxy or kubeconfig of the caller."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}
