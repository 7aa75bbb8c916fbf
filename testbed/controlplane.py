"""A Kubernetes control plane on loopback: etcd, kube-apiserver and, if asked for, workers.

Workers are kube-controller-manager, kube-scheduler and kwok, whose nodes are fake: pods become
Ready and nothing runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from testbed.binaries import STAGES
from testbed.component import Component, ControlPlaneError, die_with_parent, running
from testbed.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path
    from types import TracebackType

START_LIMIT: Final = timedelta(seconds=90)
KUBECTL_LIMIT: Final = timedelta(seconds=60)
POLL: Final = 0.1
API_SERVER: Final = "kube-apiserver"

# Who may talk to the API server from the start: the user, and the groups it needs.
STATIC_USERS: Final = {
    "admin": "system:masters",
    "kwok": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}


@dataclass(frozen=True)
class Finished:
    """What a kubectl command left behind."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ControlPlane:
    """An API server of one test session, alive inside `async with`.

    Everything it writes is in `directory`, which is made if need be and must be empty; logs are
    `<component>.log`. Several may run at once.
    `apiserver_flags` are appended to the API server's own, so they win.
    """

    def __init__(
        self,
        directory: Path,
        *,
        binaries: Path,
        workers: bool = False,
        nodes: int = 3,
        apiserver_flags: Sequence[str] = (),
    ) -> None:
        self.directory = directory.absolute()
        self.kubeconfig = self.directory / "admin.kubeconfig"
        self._port = 0
        self._etcd = 0
        self._binaries = binaries.absolute()
        self._nodes = nodes if workers else 0
        self._workers = workers
        self._apiserver_flags = tuple(apiserver_flags)
        self._components: list[Component] = []
        self._stack = AsyncExitStack()
        self._tokens = {user: secrets.token_hex(16) for user in STATIC_USERS}

    @property
    def server(self) -> str:
        """The address of the API server."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def certificate_authority(self) -> Path:
        """The certificate, self-signed by the API server, that its clients trust."""
        return self.directory / "certificates" / "apiserver.crt"

    async def __aenter__(self) -> Self:
        """Start every component, in order, and wait until the API server and nodes are ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every component, in reverse order."""
        await self._stack.aclose()

    @property
    def pids(self) -> dict[str, int]:
        """The process id of every component."""
        return {component.name: component.pid for component in self._components}

    async def kubectl(
        self,
        *args: str,
        kubeconfig: Path | None = None,
        stdin: str | None = None,
        check: bool = True,
        limit: timedelta = KUBECTL_LIMIT,
    ) -> Finished:
        """Run kubectl, as the administrator unless another kubeconfig is given.

        Raises ControlPlaneError when it fails and `check` is set, or does not end within `limit`.
        """
        process = await asyncio.create_subprocess_exec(
            self._binaries / "kubectl",
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            *args,
            env=self._environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent(),
        )
        try:
            async with asyncio.timeout(limit.total_seconds()):
                output, errors = await process.communicate((stdin or "").encode())
        except TimeoutError as late:
            raise self._failure(f"kubectl {' '.join(args)}: not done within {limit}") from late
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        finished = Finished(args, process.returncode or 0, output.decode(), errors.decode())
        if check and finished.returncode != 0:
            raise self._failure(f"kubectl {' '.join(args)}: {finished.stderr.strip()}")
        return finished

    async def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig with a fresh token, valid for an hour, of an existing account."""
        created = await self.kubectl(
            "create", "token", name, f"--namespace={namespace}", "--duration=1h"
        )
        path = self.directory / f"{namespace}.{name}.kubeconfig"
        self._write_kubeconfig(path, token=created.stdout.strip())
        return path

    async def metrics(self) -> str:
        """Return what the API server answers to GET /metrics."""
        return (await self.kubectl("get", "--raw", "/metrics")).stdout

    @asynccontextmanager
    async def without_server(self) -> AsyncIterator[None]:
        """Kill the API server; it is back, with all that it stored, when the block is left."""
        (server,) = (each for each in self._components if each.name == API_SERVER)
        await server.end(signal.SIGKILL)
        self._components.remove(server)
        try:
            yield
        finally:
            await self._run_server(self._stack)
            # It now ends before its clients do, for which it would wait if it were asked.
            self._stack.push_async_callback(self._components[-1].end, signal.SIGKILL)

    async def wait_until_ready(self) -> None:
        """Wait until the API server says it is ready; raises ControlPlaneError after a bound."""
        await self._poll(self._is_ready, what="kube-apiserver is not ready")

    async def _start(self, stack: AsyncExitStack) -> None:
        ports = (stack.enter_context(reserved_port()) for _ in range(3))
        self._etcd, peers, self._port = ports
        self._write_credentials()
        await self._run(stack, "etcd", *self._etcd_flags(self._etcd, peers=peers))
        await self._poll(lambda: _is_listening(self._etcd), what="etcd is not ready")
        await self._run_server(stack)
        if self._workers:
            await self._start_workers(stack)

    async def _run_server(self, stack: AsyncExitStack) -> None:
        await self._run(stack, API_SERVER, *self._server_flags(etcd=self._etcd))
        await self.wait_until_ready()

    async def _start_workers(self, stack: AsyncExitStack) -> None:
        for name, flags in self._worker_flags().items():
            await self._run(stack, name, *flags)
        if self._nodes:
            nodes = {"apiVersion": "v1", "kind": "List", "items": _fake_nodes(self._nodes)}
            await self.kubectl("create", "--filename=-", stdin=json.dumps(nodes))
        await self._poll(self._has_ready_workers, what="the nodes are not ready")

    async def _run(self, stack: AsyncExitStack, name: str, *flags: str) -> None:
        command = (str(self._binaries / name), *flags)
        component = await stack.enter_async_context(
            running(command, name=name, directory=self.directory, environment=self._environment())
        )
        self._components.append(component)

    def _environment(self) -> dict[str, str]:
        """Return all that children see: no proxy, kubeconfig or home of the caller."""
        return {"HOME": str(self.directory), "PATH": os.defpath, "NO_PROXY": "127.0.0.1"}

    def _etcd_flags(self, port: int, *, peers: int) -> tuple[str, ...]:
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
        return (
            f"--data-dir={self.directory / 'etcd'}",
            "--unsafe-no-fsync",
            "--socket-reuse-port",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        )

    def _server_flags(self, *, etcd: int) -> tuple[str, ...]:
        return (
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--permit-port-sharing",
            f"--cert-dir={self.certificate_authority.parent}",
            f"--token-auth-file={self._tokens_file}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={self._account_key_file}",
            f"--service-account-key-file={self._account_key_file}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            # Pods are created although no controller has made their namespace's account yet.
            "--disable-admission-plugins=ServiceAccount",
            *self._apiserver_flags,
        )

    def _worker_flags(self) -> dict[str, tuple[str, ...]]:
        stages = sorted((self._binaries / STAGES).glob("*.yaml"))
        configs = {user: f"--kubeconfig={path}" for user, path in self._kubeconfigs().items()}
        return {
            "kube-controller-manager": (
                configs["system:kube-controller-manager"],
                "--leader-elect=false",
                "--secure-port=0",
                # As kubeadm has it: each controller writes as a service account of its own.
                "--use-service-account-credentials",
                f"--service-account-private-key-file={self._account_key_file}",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                # A machine too busy for a heartbeat must not evict anything.
                "--node-monitor-grace-period=10m",
            ),
            "kube-scheduler": (
                configs["system:kube-scheduler"],
                "--leader-elect=false",
                "--secure-port=0",
            ),
            "kwok": (
                configs["kwok"],
                "--manage-all-nodes",
                *(f"--config={stage}" for stage in stages),
            ),
        }

    @property
    def _tokens_file(self) -> Path:
        return self.directory / "tokens.csv"

    @property
    def _account_key_file(self) -> Path:
        return self.directory / "service-account.key"

    def _kubeconfigs(self) -> dict[str, Path]:
        return {
            user: self.directory / f"{user.removeprefix('system:')}.kubeconfig"
            for user in STATIC_USERS
        }

    def _write_credentials(self) -> None:
        rows = (
            f'{self._tokens[user]},{user},{user},"{group}"\n'
            for user, group in STATIC_USERS.items()
        )
        _write_private(self._tokens_file, "".join(rows))
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        _write_private(self._account_key_file, key.decode())
        for user, path in self._kubeconfigs().items():
            self._write_kubeconfig(path, token=self._tokens[user])

    def _write_kubeconfig(self, path: Path, *, token: str) -> None:
        cluster = {
            "server": self.server,
            "certificate-authority": str(self.certificate_authority),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": "testbed", "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
            "current-context": "testbed",
        }
        _write_private(path, json.dumps(config, indent=2))

    async def _is_ready(self) -> bool:
        if not await _is_listening(self._port):
            return False
        return (await self.kubectl("get", "--raw", "/readyz", check=False)).stdout == "ok"

    async def _has_ready_workers(self) -> bool:
        listed = await self.kubectl("get", "nodes", "--output=json")
        nodes = json.loads(listed.stdout)["items"]
        return len(nodes) == self._nodes and all(
            not node["spec"].get("taints") and _is_node_ready(node) for node in nodes
        )

    async def _poll(self, condition: Callable[[], Awaitable[bool]], *, what: str) -> None:
        try:
            async with asyncio.timeout(START_LIMIT.total_seconds()):
                while not await condition():
                    if any(component.has_ended() for component in self._components):
                        raise self._failure(what)
                    await asyncio.sleep(POLL)
        except TimeoutError as late:
            raise self._failure(
                f"{what} after {START_LIMIT}", blame=self._components[-1:]
            ) from late

    def _failure(self, what: str, *, blame: Sequence[Component] = ()) -> ControlPlaneError:
        """Return an error with the log's end of every component that is to blame or is dead."""
        dead = [component for component in self._components if component.has_ended()]
        tails = (component.last_lines() for component in dead or blame)
        return ControlPlaneError("\n\n".join((what, *tails)))


def _fake_nodes(count: int) -> list[dict[str, object]]:
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"fake-{number}",
                "labels": {"kubernetes.io/hostname": f"fake-{number}", "kubernetes.io/os": "linux"},
            },
        }
        for number in range(count)
    ]


def _is_node_ready(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
