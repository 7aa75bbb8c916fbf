"""What takes part: PostgreSQL, `gate serve`, the ceiling, the proxy and the load generator."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from bench.load import Fared, Run, Target
from gate.pki.files import write_file, write_pair
from gate.pki.issuance import issue_authority, issue_leaf
from gate.services.clock import utc_now
from gate.settings.knobs import ServeSettings
from testbed.component import Component, die_with_parent, running

HOST: Final = "127.0.0.1"
CLUSTER: Final = "bench"
GATE: Final = Path(sys.executable).with_name("gate")
_ROOT: Final = Path(__file__).parent.parent
_START_LIMIT: Final = 30.0
_RUN_LIMIT: Final = 600.0
_POLL: Final = 0.01
_READ_AT_MOST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder with the keys that every server here goes by."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """Return the file of the serving certificate."""
        return self.folder / "leaf.pem"

    @property
    def key(self) -> Path:
        """Return the file of its key."""
        return self.folder / "leaf.key"

    @property
    def token(self) -> Path:
        """Return the file of the token in the webhook's path."""
        return self.folder / "token"

    @property
    def seal_key(self) -> Path:
        """Return the file of the key that seals values."""
        return self.folder / "seal"

    def describe_settings(self, dsn: str, *, cluster: str) -> dict[str, str]:
        """Return the environment that a gate on a database needs."""
        return {
            "GATE_DSN": dsn,
            "GATE_CLUSTER": cluster,
            "GATE_TLS_CERT_FILE": str(self.certificate),
            "GATE_TLS_KEY_FILE": str(self.key),
            "GATE_TOKEN_FILES": str(self.token),
            "GATE_SEAL_KEY_FILE": str(self.seal_key),
        }

    def load_settings(self, dsn: str, *, cluster: str) -> ServeSettings:
        """Return the settings of a gate that is put together in this process."""
        return ServeSettings(
            dsn=SecretStr(dsn),
            cluster=cluster,
            tls_cert_file=self.certificate,
            tls_key_file=self.key,
            token_files=(self.token,),
            seal_key_file=self.seal_key,
        )

    def aim(self, port: int) -> Target:
        """Return how the generator reaches a server on a port."""
        path = f"/validate/{self.token.read_text()}?timeout=10s"
        return Target(port, path, str(self.folder / "ca.pem"))


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens."""

    component: Component
    log: Path
    port: int
    probe_port: int = 0

    def resident(self) -> float:
        """Return its resident memory in MB."""
        status = Path(f"/proc/{self.component.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


def make_stage(folder: Path) -> Stage:
    """Write keys into a folder."""
    stage = Stage(folder)
    now, validity = utc_now() - timedelta(hours=1), timedelta(days=2)
    authority = issue_authority("bench CA", now=now, validity=validity)
    leaf = issue_leaf(authority, [HOST], now=now, validity=validity)
    write_pair(leaf, certificate=stage.certificate, key=stage.key)
    authority_pem = authority.certificate.public_bytes(Encoding.PEM)
    write_file(folder / "ca.pem", authority_pem, permissions=0o644)
    stage.token.write_text(secrets.token_hex(32))
    stage.seal_key.write_bytes(secrets.token_bytes(32))
    return stage


@asynccontextmanager
async def running_gate(
    stage: Stage, dsn: str, *, name: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """Run `gate serve` on a database; it listens when the block is entered."""
    spool = stage.folder / f"{name}-spool"
    spool.mkdir(exist_ok=True)
    settings = {
        **stage.describe_settings(dsn, cluster=CLUSTER),
        "GATE_SPOOL_DIR": str(spool),
        "GATE_LISTEN_HOST": HOST,
        "GATE_LISTEN_PORT": "0",
        "GATE_PROBE_HOST": HOST,
        "GATE_PROBE_PORT": "0",
        "GATE_DRAIN_SECONDS": "0",
        **(environment or {}),
    }
    async with _serving(stage, (str(GATE), "serve"), name=name, environment=settings) as server:
        yield server


@asynccontextmanager
async def running_ceiling(stage: Stage) -> AsyncIterator[Server]:
    """Run the server that only says yes."""
    command = (sys.executable, "-m", "bench.floors", str(stage.certificate), str(stage.key))
    async with _serving(stage, command, name="ceiling") as server:
        yield server


@asynccontextmanager
async def running_proxy(
    stage: Stage, socket: Path, *, round_trip: timedelta, port: int = 0
) -> AsyncIterator[Server]:
    """Run the proxy that keeps a database at a distance."""
    milliseconds = round_trip / timedelta(milliseconds=1)
    command = (sys.executable, "-m", "bench.proxy", str(socket), f"{milliseconds:g}", str(port))
    async with _serving(stage, command, name=f"proxy-{milliseconds:g}ms") as server:
        yield server


@asynccontextmanager
async def _serving(
    stage: Stage, command: Sequence[str], *, name: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    log = stage.folder / f"{name}.log"
    async with running(
        command, name=name, directory=stage.folder, environment=_inherit() | {**(environment or {})}
    ) as component:
        event = await _await_event(component, log, "server.listening")
        yield Server(component, log, event["port"], event.get("probe_port", 0))


async def _await_event(component: Component, log: Path, name: str) -> dict[str, int]:
    """Return the first event of a name in a log, which is that of this process."""
    async with asyncio.timeout(_START_LIMIT):
        while True:
            for line in log.read_text(encoding="utf-8").splitlines():
                if f'"{name}"' in line and line.endswith("}"):
                    found: dict[str, int] = json.loads(line)
                    return found
            if component.has_ended():
                raise RuntimeError(component.last_lines())
            await asyncio.sleep(_POLL)


async def await_ready(server: Server) -> None:
    """Wait until a gate says that it is ready."""
    async with asyncio.timeout(_START_LIMIT), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://{HOST}:{server.probe_port}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(_POLL)


async def read_metrics(server: Server) -> str:
    """Return what a gate says of itself."""
    url = f"http://{HOST}:{server.probe_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.text()


class Generator:
    """The load generator's process; it does one run after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def measure(self, run: Run) -> Fared:
        """Do one run; raises RuntimeError where the generator itself failed."""
        source, sink = self._process.stdout, self._process.stdin
        if source is None or sink is None:
            raise RuntimeError("the load generator was started without pipes")
        sink.write(json.dumps(asdict(run)).encode() + b"\n")
        async with asyncio.timeout(_RUN_LIMIT):
            line = await source.readline()
        if not line:
            raise RuntimeError("the load generator ended; what it printed says why")
        return Fared(**json.loads(line))


@asynccontextmanager
async def running_generator() -> AsyncIterator[Generator]:
    """Run the load generator until the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        cwd=_ROOT,
        env=_inherit(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_READ_AT_MOST,
        preexec_fn=die_with_parent(),
    )
    try:
        yield Generator(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _inherit() -> dict[str, str]:
    """Return what a process sees: no setting or proxy of the caller, and where `bench` is."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {"PYTHONPATH": str(_ROOT)}
