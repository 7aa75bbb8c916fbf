"""A real `gate serve` on a real PostgreSQL of a test's own, and what a test asks of both."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from gate.postgres.embedded import EmbeddedServer
from gate.postgres.schema import migrate
from testbed.component import Component, running
from testbed.gate import PROGRAM
from testbed.metrics import count
from tests.reviews import Body, StoredWorkload, make_body
from tests.webhook.gateway import Reply
from tests.webhook.tls import HOST, TestAuthority, make_authority

CLUSTER = "faults"
TOKEN = "Zm9yIGZhdWx0cyBvZiBldmVyeSBraW5k"  # noqa: S105 - accepted by the processes of these tests alone
PATIENCE = 30.0
_POLL = 0.05
# What a busy machine may add to an answer; one that hangs would never come at all.
LATE = 1.0


@dataclass(frozen=True)
class Timed:
    """A reply, and for how many seconds it was waited."""

    reply: Reply
    took: float

    @property
    def is_allowed(self) -> bool:
        return self.reply.is_allowed

    @property
    def words(self) -> str:
        """Return all that was said, warnings and denial alike."""
        response = self.reply.response
        return " ".join(
            [*response.get("warnings", ()), response.get("status", {}).get("message", "")]
        )


@dataclass
class Replica:
    """One `gate serve`, as the API server and the kubelet see it."""

    component: Component
    log: Path
    port: int
    probe_port: int
    session: aiohttp.ClientSession
    sent: list[str] = field(default_factory=list)

    async def send(self, review: Body, *, limit: float = 2) -> Timed:
        """Send a review as the API server does, and keep its uid."""
        self.sent.append(review["request"]["uid"])
        begun = time.monotonic()
        async with self.session.post(
            f"https://{HOST}:{self.port}/validate/{TOKEN}",
            params={"timeout": f"{limit:g}s"},
            json=review,
        ) as response:
            reply = Reply(response.status, dict(response.headers), await response.text())
        return Timed(reply, time.monotonic() - begun)

    async def send_all(self, reviews: Iterable[Body], *, limit: float = 2) -> list[Timed]:
        """Send reviews at once."""
        return await asyncio.gather(*(self.send(review, limit=limit) for review in reviews))

    async def ask(self, path: str) -> str:
        """Return what a probe says."""
        async with self.session.get(f"http://{HOST}:{self.probe_port}{path}") as response:
            return await response.text()

    async def count(self, name: str) -> float:
        """Return a metric, summed over its labels."""
        return count(await self.ask("/metrics"), name)

    async def wait_until_flushed(self) -> None:
        """Wait until nothing is left in the spool."""

        async def is_flushed() -> bool:
            return not await self.count("gate_spool_entries")

        await wait_until(is_flushed)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines of one event."""
        return [line for line in _read_log(self.log) if line.get("event") == name]


@dataclass
class Stand:
    """A database server and a place for replicas."""

    directory: Path
    server: EmbeddedServer
    dsn: str
    authority: TestAuthority

    @asynccontextmanager
    async def replica(
        self,
        name: str = "gate",
        *,
        under: tuple[str, ...] = (),
        dsn: str | None = None,
        **settings: object,
    ) -> AsyncIterator[Replica]:
        """Run a replica that is ready, with a spool that outlives it."""
        log = self.directory / f"{name}.log"
        already = len(_read_log(log)) if log.exists() else 0
        environment = self._environment(name, dsn or self.dsn, settings)
        command = (*under, str(PROGRAM), "serve")
        async with (
            running(
                command, name=name, directory=self.directory, environment=environment
            ) as component,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self.authority.trust(), limit=0)
            ) as session,
        ):
            listening = await _wait_until_listening(component, log, already)
            replica = Replica(component, log, listening["port"], listening["probe_port"], session)
            yield replica

    def spool(self, name: str = "gate") -> Path:
        """Return the directory of a replica's spool."""
        return self.directory / f"{name}-spool"

    async def wait_until_ready(self, replica: Replica) -> None:
        """Wait until a replica can decide."""

        async def is_ready() -> bool:
            return (await replica.ask("/readyz")).startswith("ok")

        await wait_until(is_ready)

    async def traces(self) -> list[asyncpg.Record]:
        """Return all traces in the order of their versions."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(
                "SELECT action_id::text, request_uid, verdict, execution_status, version,"
                " spooled_at, action_history_id FROM resource_action_traces"
                " ORDER BY action_history_id, version"
            )
        finally:
            await connection.close()

    async def execute(self, command: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(command)
        finally:
            await connection.close()

    def _environment(self, name: str, dsn: str, settings: Mapping[str, object]) -> dict[str, str]:
        given = {
            "dsn": dsn,
            "cluster": CLUSTER,
            "listen_host": HOST,
            "listen_port": 0,
            "probe_host": HOST,
            "probe_port": 0,
            "tls_cert_file": self.authority.leaf,
            "tls_key_file": self.authority.key,
            "token_files": self.directory / "token",
            "seal_key_file": self.directory / "seal",
            "spool_dir": self.spool(name),
            "drain_seconds": 0,
            **settings,
        }
        ours = {f"GATE_{key.upper()}": str(value) for key, value in given.items()}
        return {"PATH": os.environ["PATH"], **ours}


@asynccontextmanager
async def running_stand(directory: Path, *, binaries: Path | None = None) -> AsyncIterator[Stand]:
    """Start a migrated database server, and prepare what replicas need."""
    (directory / "token").write_text(TOKEN)
    (directory / "seal").write_bytes(bytes(32))
    async with EmbeddedServer(directory / "database", binaries=binaries) as server:
        await migrate(server.dsn)
        yield Stand(directory, server, server.dsn, make_authority(directory))


def make_workloads(number: int, *, prefix: str = "web") -> list[StoredWorkload]:
    """Return workloads with 5 replicas."""
    return [StoredWorkload(make_body(name=f"{prefix}-{index}")) for index in range(number)]


def grow(workload: StoredWorkload) -> Body:
    """Return the review of one more replica, stored as if it were admitted."""
    review = workload.scale(workload.replicas + 1)
    workload.persist(review)
    return review


def family_of(server: EmbeddedServer) -> list[int]:
    """Return the processes of a server."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [server.pid, *map(int, children)]


def signal_all(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)


async def wait_until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so; raises TimeoutError after PATIENCE."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await is_so():
                return
            await asyncio.sleep(_POLL)


async def _wait_until_listening(component: Component, log: Path, already: int) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:
            for line in _read_log(log)[already:]:
                if line.get("event") == "server.listening":
                    return line
            assert not component.has_ended(), component.last_lines()
            await asyncio.sleep(_POLL)


def _read_log(log: Path) -> list[dict[str, Any]]:
    lines = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines
