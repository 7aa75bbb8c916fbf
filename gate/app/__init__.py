"""Composition root: settings → pools → adapters → services → servers → one TaskGroup."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial

from gate.app.admitting import Admitting, Pools, build_admitting
from gate.app.database import DatabaseKeeper
from gate.app.files import read_files
from gate.app.leading import Leading
from gate.app.listening import draining, listening
from gate.domain.actor import AgentRules
from gate.domain.seal import Seal
from gate.errors import ClusterError
from gate.policy.start import read_at_start
from gate.postgres.partitions import PostgresPartitions
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import Pool, close_pool, open_pool
from gate.services.admission import Governed
from gate.services.clock import utc_now
from gate.services.partitions import PartitionKeeper
from gate.services.policy import PolicyBook
from gate.services.policy_keeper import PolicyKeeper
from gate.services.readiness import Readiness
from gate.services.tasks import owned_tasks, run_apart
from gate.settings.knobs import ServeSettings
from gate.telemetry import Metrics
from gate.webhook.handler import make_review_handler
from gate.webhook.probes import make_probe_handler

_CLOSE_WITHIN = 5  # seconds
_FLUSH_WITHIN = 5  # seconds


@dataclass(frozen=True, slots=True)
class Running:
    """A gate that listens: where, for whose changes, by which policy, and whether it is ready."""

    webhook_port: int
    probe_port: int
    agents: AgentRules
    policies: PolicyBook
    readiness: Readiness


Announce = Callable[[Running], AbstractAsyncContextManager[None]]


async def run(settings: ServeSettings, *, announce: Announce) -> None:
    """Serve until cancelled, then drain, stop and close everything.

    `announce` is entered once gate listens, and left before it drains. Raises GateError where gate
    cannot start; a database that is down is no such reason.
    """
    metrics, readiness = Metrics(), Readiness()
    settings.require_dsn()
    seal = Seal(settings.read_seal_key())
    files = await read_files(settings, metrics)
    start = read_at_start(settings.policy_file)
    governed = Governed(
        cluster=settings.cluster or await _ask_for_cluster(settings),
        agents=start.agents or settings.agents.as_rules(),
    )
    async with AsyncExitStack() as stack:
        pools = Pools(
            admissions=await _open_pool(stack, settings, "admission"),
            general=await _open_pool(stack, settings, "general"),
        )
        admitting = build_admitting(
            settings,
            pools,
            governed=governed,
            declared=start.modes,
            seal=seal,
            metrics=metrics,
            readiness=readiness,
        )
        await admitting.spool.open()
        stack.push_async_callback(run_apart, partial(_close_spool, admitting))
        leading = Leading(
            settings, pools.general, cluster=governed.cluster, seal=seal, metrics=metrics
        )
        policy_file = _keep_policy_file(
            settings, pools, governed, leading, metrics=metrics, readiness=readiness
        )
        database = DatabaseKeeper(
            settings=settings,
            admitting=admitting,
            partitions=PartitionKeeper(
                PostgresPartitions(pools.general),
                months_ahead=settings.partitions_months_ahead,
                clock=utc_now,
                metrics=metrics,
            ),
            policy_file=policy_file,
            metrics=metrics,
        )
        reviews = make_review_handler(
            admitting.admission,
            metrics=metrics,
            token_source=lambda: files.tokens.accepted,
            mode=settings.mode,
        )
        probes = make_probe_handler(
            metrics=metrics, readiness=readiness.describe, notes=readiness.describe_notes
        )
        async with owned_tasks() as tasks:
            tasks.create_task(database.run(readiness, lead=leading.run))
            tasks.create_task(files.follow(metrics))
            async with (
                listening(probes, settings, "probe") as probe,
                draining(reviews, settings, files.pair.context, readiness) as webhook,
                announce(
                    Running(
                        webhook_port=webhook.port,
                        probe_port=probe.port,
                        agents=governed.agents,
                        policies=admitting.books.policies,
                        readiness=readiness,
                    )
                ),
            ):
                await asyncio.Event().wait()


async def _open_pool(stack: AsyncExitStack, settings: ServeSettings, purpose: str) -> Pool:
    size = settings.admission_pool_size if purpose == "admission" else settings.general_pool_size
    pool = await open_pool(
        settings.require_dsn(),
        size=size,
        application_name=f"gate {purpose}",
        statement_cache_size=settings.statement_cache_size,
    )
    stack.push_async_callback(run_apart, partial(close_pool, pool, grace=_CLOSE_WITHIN))
    return pool


async def _close_spool(admitting: Admitting) -> None:
    deadline = asyncio.get_running_loop().time() + _FLUSH_WITHIN
    await admitting.spool.close(deadline=deadline)


def _keep_policy_file(
    settings: ServeSettings,
    pools: Pools,
    governed: Governed,
    leading: Leading,
    *,
    metrics: Metrics,
    readiness: Readiness,
) -> PolicyKeeper | None:
    if settings.policy_file is None:
        return None
    return PolicyKeeper(
        settings.policy_file,
        PostgresPolicy(pools.general),
        agents=governed.agents,
        defaults=settings.agents.as_rules(),
        is_leader=leading.leads_database,
        metrics=metrics,
        readiness=readiness,
    )


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
