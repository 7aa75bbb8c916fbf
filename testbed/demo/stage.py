"""Where the demo plays: a cluster, a database, and the people who act."""

from __future__ import annotations

import asyncio
import os
import shlex
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from gate.postgres.embedded import EmbeddedServer
from testbed.binaries import find_binaries
from testbed.component import die_with_parent
from testbed.controlplane import ControlPlane
from testbed.gate import PROGRAM
from testbed.workloads import list_shop, lose_patience, prepare_agent, prepare_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_WIDTH: Final = "100"  # columns of a table
_LIMIT: Final = 60.0  # seconds for one command
_POLL: Final = 0.1


class DemoError(Exception):
    """Something came out differently from what gate promises."""


class Database:
    """A PostgreSQL of the demo's own, so that it can fail where everybody sees it."""

    def __init__(self, directory: Path) -> None:
        self._server = EmbeddedServer(directory)
        self._running = AsyncExitStack()

    @property
    def dsn(self) -> str:
        """Return how to connect."""
        return self._server.dsn

    async def start(self) -> None:
        """Start it with all it held before."""
        await self._running.enter_async_context(self._server)

    async def stop(self) -> None:
        """Stop it."""
        await self._running.aclose()

    async def run(self, *statements: str) -> None:
        """Show statements and run them in one transaction."""
        connection = await asyncpg.connect(self.dsn)
        try:
            async with connection.transaction():
                for statement in statements:
                    show(f"postgres=# {statement};")
                    show(f"  {await connection.execute(statement)}")
        finally:
            await connection.close()

    async def read(self, query: str, *arguments: str) -> list[str]:
        """Return the first column of what a query finds."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return [str(row[0]) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def wait_for(self, expected: list[str], query: str, *arguments: str) -> None:
        """Wait until a query finds what is expected; raises DemoError."""
        found: list[str] = []
        try:
            async with asyncio.timeout(_LIMIT):
                while True:
                    found = await self.read(query, *arguments)
                    if found == expected:
                        return
                    await asyncio.sleep(_POLL)
        except TimeoutError as late:
            raise DemoError(f"{query}: found {found}, not {expected}") from late


class Demo:
    """The people: an agent with a token of its own, an administrator, and whoever operates gate."""

    def __init__(self, plane: ControlPlane, database: Database, *, agent: Path) -> None:
        self.plane = plane
        self.database = database
        self._agent = agent

    async def act(self, who: str, command: str, *, refused: bool = False) -> str:
        """Run kubectl as somebody, show command and answer, and check that it went as expected."""
        show(f"{who}$ kubectl {command}")
        done = await self.plane.kubectl(
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

    async def ask(self, command: str) -> str:
        """Run a gate command on the database, show it with what it prints, and return that."""
        return await run_gate(command, dsn=self.database.dsn)

    async def settle(self, namespace: str, workload: str) -> None:
        """Wait until a workload's rollout is complete."""
        await self.plane.kubectl("-n", namespace, "rollout", "status", workload, "--timeout=60s")


async def run_gate(command: str, *, dsn: str = "") -> str:
    """Run a gate command, show it with what it prints, and return that; raises DemoError."""
    show(f"$ gate {command}")
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *shlex.split(command),
        env={"PATH": os.environ["PATH"], "GATE_DSN": dsn, "COLUMNS": _WIDTH},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=die_with_parent(),
    )
    async with asyncio.timeout(_LIMIT):
        output, _ = await process.communicate()
    lines = [line.rstrip() for line in output.decode().rstrip().splitlines()]
    show(*(f"  {line}".rstrip() for line in lines))
    expect(process.returncode == 0, f"gate {command} should have ended with 0")
    return "\n".join(lines)


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
async def stage(directory: Path) -> AsyncIterator[Demo]:
    """Start the cluster and PostgreSQL, roll the workloads out and hand the agent its token."""
    binaries = await asyncio.to_thread(find_binaries, os.environ)
    database = Database(directory / "database")
    async with AsyncExitStack() as stack:
        plane = ControlPlane(directory / "cluster", binaries=binaries, workers=True)
        await stack.enter_async_context(plane)
        stack.push_async_callback(database.stop)
        await database.start()
        agent = await prepare_agent(plane)
        await prepare_shop(plane)
        demo = Demo(plane, database, agent=agent)
        for namespace, workload in list_shop():
            await demo.settle(namespace, workload)
        await lose_patience(plane)
        yield demo
