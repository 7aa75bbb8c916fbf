"""`gate dev`: one process that lets any cluster which reaches this machine try gate."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import orjson

from gate.app import Running, run
from gate.cli.arguments import BadArgumentError
from gate.cli.data_directory import DataDirectory, held_directory
from gate.domain.actor import AgentRules
from gate.domain.matchconditions import build_match_conditions
from gate.domain.pattern import Mode
from gate.errors import ClusterError, GateError
from gate.kube.client import Cluster, connect, read_cluster_uid
from gate.kube.webhook import Webhook, apply_webhook, remove_webhook
from gate.pki.files import read_bytes, write_file
from gate.pki.material import Material, ensure_material
from gate.postgres.embedded import EmbeddedServer
from gate.postgres.schema import migrate
from gate.services.clock import utc_now
from gate.services.tokens import read_tokens
from gate.settings.knobs import AdmissionSettings, Agents, ServeSettings
from gate.settings.loading import find_dsn_source, load_settings
from gate.telemetry import configure_logging

CONFIGURATION = "gate-dev"
WEBHOOK = "agents.gate-dev.ai.prometheus-alerts-slm.io"
_READY_WITHIN = timedelta(seconds=30)
# An API server learns of a configuration through a watch, which nobody outside can observe.
_SPREADS_WITHIN = timedelta(seconds=1)
_DRAIN_SECONDS = 1.0  # the configuration is gone by then, and calls under way take no longer
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - recognised, not bound here


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What the command line says; without a `dsn` the database is our own, and port 0 is any."""

    kubeconfig: Path
    data_dir: Path
    dsn: str | None
    mode: Mode | None
    agents: Sequence[str]
    policy: Path | None
    host: str
    advertise_host: str | None
    port: int
    ready_file: Path | None

    @property
    def reached_at(self) -> str:
        """Return the host at which the API server reaches this machine."""
        return self.advertise_host or self.host

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return all hosts the certificate is for, the one in the url first."""
        names = (self.reached_at, self.host, "127.0.0.1", "localhost")
        return tuple(dict.fromkeys(name for name in names if name not in _WILDCARDS))


async def run_dev(options: DevOptions) -> None:
    """Serve until cancelled; raises GateError where the database or the cluster does not let it."""
    _check(options)
    given = _given(options)
    settings = load_settings(AdmissionSettings, given)
    configure_logging(settings.log_level.upper())
    if options.dsn is None:
        _tell_of_unused_dsn()
    with held_directory(options.data_dir) as directory:
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)  # of a process that was killed
        directory.ensure_secrets()
        material = ensure_material(
            directory.path, name="gate dev", hosts=options.hosts, now=utc_now()
        )
        async with connect(options.kubeconfig) as cluster:
            uid = settings.cluster or await read_cluster_uid(cluster)
            async with _database(settings, directory) as dsn:
                serving = load_settings(
                    ServeSettings,
                    {
                        **given,
                        **_served_from(directory, material),
                        "dsn": dsn,
                        "cluster": uid,
                        "listen_host": options.host,
                        "listen_port": options.port,
                        "probe_host": "127.0.0.1",
                        "probe_port": 0,
                        "drain_seconds": _DRAIN_SECONDS,
                        "kubeconfig": options.kubeconfig,
                        "spool_dir": directory.spool,
                    },
                )
                announced = _Announced(cluster, options, directory, material, serving)
                await run(serving, announce=partial(_announce, announced))


def _check(options: DevOptions) -> None:
    if options.reached_at in _WILDCARDS:
        raise BadArgumentError(
            f"--host {options.host} listens everywhere: say with --advertise-host at which address"
            f" the cluster's API server reaches this machine"
        )
    if not all(options.agents):
        raise BadArgumentError("--agent is empty: write a glob of user names, such as 'robot-*'")
    if options.ready_file is not None and not options.ready_file.parent.is_dir():
        raise BadArgumentError(
            f"--ready-file {options.ready_file} cannot be written: its folder does not exist"
        )


def _given(options: DevOptions) -> dict[str, object]:
    """Return the settings that the command line has a word on.

    The database always is one: a trial must not write into whatever GATE_DSN names.
    """
    given: dict[str, object] = {"dsn": options.dsn}
    if options.mode is not None:
        given["mode"] = options.mode
    if options.agents:
        given["agents"] = Agents(users=tuple(options.agents))
    if options.policy is not None:
        given["policy_file"] = options.policy
    return given


def _served_from(directory: DataDirectory, material: Material) -> dict[str, object]:
    return {
        "tls_cert_file": material.certificate,
        "tls_key_file": material.key,
        "token_files": (directory.token,),
        "seal_key_file": directory.seal_key,
    }


@asynccontextmanager
async def _database(settings: AdmissionSettings, directory: DataDirectory) -> AsyncIterator[str]:
    """Give a migrated database: the one of --dsn, or an embedded one of our own."""
    if settings.dsn is not None:
        dsn = settings.require_dsn()
        await migrate(dsn)
        yield dsn
        return
    _tell(f"starting PostgreSQL below {directory.path} (the first time takes some seconds)")
    async with EmbeddedServer(directory.path) as server:
        await migrate(server.dsn)
        yield server.dsn


@dataclass(frozen=True, slots=True)
class _Announced:
    """What the cluster and whoever started this process are told of."""

    cluster: Cluster
    options: DevOptions
    directory: DataDirectory
    material: Material
    settings: ServeSettings


@asynccontextmanager
async def _announce(announced: _Announced, running: Running) -> AsyncIterator[None]:
    """Once gate can decide, have the API server ask it, until the block is left."""
    await _wait_until_ready(running)
    (token, *_) = read_tokens([announced.directory.token])
    host = _bracketed(announced.options.reached_at)
    webhook = Webhook(
        configuration=CONFIGURATION,
        name=WEBHOOK,
        url=f"https://{host}:{running.webhook_port}/validate/{token}",
        authority=read_bytes(announced.material.authority),
        conditions=build_match_conditions(running.agents),
    )
    try:
        await apply_webhook(announced.cluster, webhook)
    except asyncio.CancelledError:
        await _remove(announced.cluster, webhook)  # the cluster may have it already
        raise
    ready_file = announced.options.ready_file
    try:
        await asyncio.sleep(_SPREADS_WITHIN.total_seconds())
        if ready_file is not None:
            _write_ready_file(ready_file, _describe(announced, running, webhook))
        _greet(announced, running)
        yield
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        await _remove(announced.cluster, webhook)


async def _remove(cluster: Cluster, webhook: Webhook) -> None:
    try:
        await remove_webhook(cluster, webhook)
    except ClusterError as error:
        raise ClusterError(
            f"ValidatingWebhookConfiguration {CONFIGURATION} is still in the cluster, where it lets"
            f" everything pass ({error}): remove it with"
            f" `kubectl delete validatingwebhookconfiguration {CONFIGURATION}`"
        ) from error


async def _wait_until_ready(running: Running) -> None:
    try:
        async with asyncio.timeout(_READY_WITHIN.total_seconds()):
            await running.readiness.wait()
    except TimeoutError:
        problems = "; ".join(running.readiness.describe().values())
        raise GateError(f"not ready after {_READY_WITHIN.seconds} s: {problems}") from None


def _describe(announced: _Announced, running: Running, webhook: Webhook) -> dict[str, object]:
    settings = announced.settings
    return {
        "webhook_url": webhook.url,
        "ca_file": str(announced.material.authority),
        "dsn": settings.require_dsn(),
        "metrics_url": f"http://127.0.0.1:{running.probe_port}/metrics",
        "pid": os.getpid(),
        "agents": _list_agents(running.agents),
        "mode": running.policies.latest.modes.default,
    }


def _write_ready_file(path: Path, content: dict[str, object]) -> None:
    """Write for the owner alone: the url and the DSN are secrets."""
    try:
        write_file(path, orjson.dumps(content) + b"\n", permissions=0o600)
    except OSError as error:
        raise BadArgumentError(
            f"--ready-file {path} cannot be written: {error.strerror}"
        ) from error


def _list_agents(rules: AgentRules) -> list[str]:
    """Return the globs: those of users as they are, others with what they are matched with."""
    return [
        *rules.users,
        *(f"group {glob}" for glob in rules.groups),
        *(f"extra {key}={glob}" for key, glob in rules.extra),
    ]


def _greet(announced: _Announced, running: Running) -> None:
    settings = announced.settings
    at = f"https://{_bracketed(announced.options.reached_at)}:{running.webhook_port}"
    agents = ", ".join(_list_agents(running.agents))
    _tell(f"serving at {at} in mode {running.policies.latest.modes.default}; agents: {agents}")
    if announced.options.dsn is None:
        _tell(f"GATE_DSN='{settings.require_dsn()}' gate history NAMESPACE/KIND/NAME")
    _tell(f"Ctrl-C ends it and removes ValidatingWebhookConfiguration {CONFIGURATION}")


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host


def _tell_of_unused_dsn() -> None:
    source = find_dsn_source()
    if source is not None:
        print(
            f"gate dev: {source} is set and not used: gate dev brings its own database;"
            f" give --dsn to use another",
            file=sys.stderr,
            flush=True,
        )


def _tell(line: str) -> None:
    print(f"gate dev: {line}", flush=True)
