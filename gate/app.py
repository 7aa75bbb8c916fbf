"""Composition root: settings → pools → adapters → services → servers → one TaskGroup."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from aiohttp import web

from gate.domain.seal import Seal
from gate.errors import ClusterError, SettingsError
from gate.pki.serving import ServingPair
from gate.postgres.histories import PostgresHistories
from gate.postgres.partitions import PostgresPartitions
from gate.postgres.patterns import PostgresPatterns
from gate.postgres.pool import close_pool, open_pool
from gate.services.admission import Admission, Policy
from gate.services.certificates import CertificateKeeper
from gate.services.clock import utc_now
from gate.services.every import every
from gate.services.partitions import PartitionKeeper
from gate.services.patterns import PatternBook
from gate.services.preparation import prepare_database, require_current
from gate.services.readiness import Readiness
from gate.services.tasks import owned_tasks
from gate.services.tokens import PathTokens
from gate.settings import ServeSettings
from gate.telemetry import Metrics
from gate.webhook.handler import make_review_app
from gate.webhook.probes import make_probe_app
from gate.webhook.server import Server

log = structlog.get_logger(__name__)

# Files are small and local: a certificate that was replaced is served within seconds.
_FILES_PERIOD = timedelta(seconds=3)
# Backed off eight times after failures, this is still once a day.
_PARTITIONS_PERIOD = timedelta(hours=3)
_CLOSE_WITHIN = 5  # seconds


@dataclass(frozen=True, slots=True)
class Running:
    """A gate that listens: on which ports, and whether it can decide already."""

    webhook_port: int
    probe_port: int
    readiness: Readiness


Announce = Callable[[Running], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Files:
    """What is read from files, now and whenever they change."""

    pair: ServingPair
    certificates: CertificateKeeper
    tokens: PathTokens


@dataclass(frozen=True, slots=True)
class _Database:
    """What is done with the database apart from admissions."""

    dsn: str
    patterns: PatternBook
    partitions: PartitionKeeper


async def run(settings: ServeSettings, *, announce: Announce) -> None:
    """Serve until cancelled, then drain, stop and close everything.

    `announce` is entered once gate listens, and left before it drains. Raises GateError where gate
    cannot start; a database that is down is no such reason.
    """
    metrics, readiness = Metrics(), Readiness()
    dsn = settings.require_dsn()
    seal = Seal(settings.read_seal_key())
    files = await _read_files(settings, metrics)
    policy = Policy(
        cluster=settings.cluster or await _ask_for_cluster(settings),
        agents=settings.agents.as_rules(),
        mode=settings.mode,
    )
    options = {"statement_cache_size": settings.statement_cache_size}
    async with AsyncExitStack() as stack:
        fast = await open_pool(
            dsn, size=settings.admission_pool_size, application_name="gate admission", **options
        )
        stack.push_async_callback(close_pool, fast, grace=_CLOSE_WITHIN)
        slow = await open_pool(
            dsn, size=settings.general_pool_size, application_name="gate general", **options
        )
        stack.push_async_callback(close_pool, slow, grace=_CLOSE_WITHIN)
        database = _Database(
            dsn=dsn,
            patterns=PatternBook(PostgresPatterns(slow), metrics=metrics),
            partitions=PartitionKeeper(
                PostgresPartitions(slow),
                months_ahead=settings.partitions_months_ahead,
                clock=utc_now,
                metrics=metrics,
            ),
        )
        admission = Admission(
            PostgresHistories(fast), database.patterns, policy=policy, seal=seal, clock=utc_now
        )
        reviews = make_review_app(
            admission,
            metrics=metrics,
            token_source=lambda: files.tokens.accepted,
            mode=policy.mode,
        )
        probes = make_probe_app(metrics=metrics, readiness=readiness.describe)
        async with owned_tasks() as tasks:
            tasks.create_task(_keep_database(database, settings, readiness, metrics))
            tasks.create_task(_follow(files, metrics))
            async with (
                _listening(probes, settings, "probe") as probe,
                _draining(reviews, settings, files.pair.context, readiness) as webhook,
                announce(Running(webhook.port, probe.port, readiness)),
            ):
                await asyncio.Event().wait()


async def _read_files(settings: ServeSettings, metrics: Metrics) -> _Files:
    """Read the files that must be usable at the start."""
    pair = ServingPair(certificate=settings.tls_cert_file, key=settings.tls_key_file)
    files = _Files(
        pair=pair,
        certificates=CertificateKeeper(pair, clock=utc_now, metrics=metrics),
        tokens=PathTokens(settings.token_files),
    )
    await files.certificates.run_once()
    await files.tokens.run_once()
    return files


async def _ask_for_cluster(settings: ServeSettings) -> str:
    from gate.kube.client import (  # noqa: PLC0415 - slow to import, and often not needed
        connect,
        read_cluster_uid,
    )

    try:
        async with connect(settings.kubeconfig) as cluster:
            return await read_cluster_uid(cluster)
    except ClusterError as error:
        raise ClusterError(
            f"cluster is not set, and its default is the UID of namespace kube-system: {error};"
            f" set GATE_CLUSTER or GATE_KUBECONFIG"
        ) from error


async def _keep_database(
    database: _Database, settings: ServeSettings, readiness: Readiness, metrics: Metrics
) -> None:
    """Wait for a database that gate can work with, then keep partitions and patterns current."""

    async def check_schema() -> None:
        from gate.postgres.schema import find_pending  # noqa: PLC0415 - Alembic is slow to import

        require_current(await find_pending(database.dsn))

    steps = (check_schema, database.partitions.run_once, database.patterns.run_once)
    await prepare_database(steps, readiness)
    metrics.mark_loop("partitions")
    metrics.mark_loop("patterns")
    async with asyncio.TaskGroup() as loops:
        loops.create_task(
            every(
                _PARTITIONS_PERIOD,
                database.partitions.run_once,
                name="partitions",
                metrics=metrics,
            )
        )
        loops.create_task(
            every(
                settings.patterns_refresh,
                database.patterns.run_once,
                name="patterns",
                metrics=metrics,
                slowest=1,  # however long the database was away, they are never older than promised
            )
        )


async def _follow(files: _Files, metrics: Metrics) -> None:
    """Keep to the certificate and the tokens that the files hold."""
    async with asyncio.TaskGroup() as loops:
        for name, run_once in (
            ("certificates", files.certificates.run_once),
            ("tokens", files.tokens.run_once),
        ):
            metrics.mark_loop(name)
            loops.create_task(every(_FILES_PERIOD, run_once, name=name, metrics=metrics))


@asynccontextmanager
async def _listening(
    app: web.Application, settings: ServeSettings, purpose: str
) -> AsyncIterator[Server]:
    server = Server(app, host=settings.probe_host, port=settings.probe_port)
    await _start(server, purpose, host=settings.probe_host, port=settings.probe_port)
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def _draining(
    app: web.Application, settings: ServeSettings, context: ssl.SSLContext, readiness: Readiness
) -> AsyncIterator[Server]:
    """Listen; when told to stop, be not ready and serve on until clients have gone elsewhere."""
    host, port = settings.listen_host, settings.listen_port
    server = Server(app, host=host, port=port, ssl_context=context)
    await _start(server, "listen", host=host, port=port)
    try:
        yield server
    except asyncio.CancelledError:
        readiness.report("draining", "this replica is stopping")
        log.info("server.draining", seconds=settings.drain_seconds)
        await server.drain(settings.drain)
        raise
    finally:
        await server.stop()


async def _start(server: Server, purpose: str, *, host: str, port: int) -> None:
    try:
        await server.start()
    except OSError as error:
        raise SettingsError(
            f"{purpose}_port: {port} on {purpose}_host {host} cannot be listened on:"
            f" {os.strerror(error.errno) if error.errno else error}"
        ) from error
