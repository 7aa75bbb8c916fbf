"""What only one replica does is done right when that one dies, and when two do it at once."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import pytest_asyncio

from gate.domain.actor import AgentRules
from gate.domain.matchconditions import build_match_conditions
from gate.kube.client import connect
from gate.kube.webhook import Webhook, apply_webhook, remove_webhook
from testbed.controlplane import ControlPlane
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records
from tests.faults.stand import PATIENCE, TOKEN, Replica, Stand, running_stand, wait_until
from tests.postgres.servers import open_house
from tests.webhook.tls import HOST

LEASE = 3.0
LEASES = 2  # for the database, and for the watch
MONTHS = 4  # the present one and those made ahead
# A replica claims three times in the time of one lease.
TAKEN_OVER_WITHIN = LEASE + LEASE / 3
LATE = 3.0  # what a busy machine may add
# What becomes of a reduction and its reversal.
LOOP = ("rolled-back", "completed")
_POLL = 0.1


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stand() -> AsyncIterator[Stand]:
    """Return a database, and a place for replicas."""
    with open_house() as house:
        async with running_stand(house) as stand:
            yield stand


@dataclass
class Shop:
    """A namespace, the replica that is asked about it, and what is on record."""

    namespace: str
    admin: Api
    agent: Api
    stand: Stand

    async def make(self, *names: str) -> None:
        for name in names:
            await self.admin.create(
                "Deployment", workload("Deployment", name, namespace=self.namespace)
            )

    async def loop(self, name: str) -> None:
        """Swing a workload until that is refused."""
        replies = [await self.agent.scale("Deployment", name, n) for n in (3, 5, 3)]
        assert [reply.status for reply in replies] == [200, 200, 403]

    async def statuses(self, name: str) -> list[str]:
        """Return what became of the admitted changes of a workload, in their order."""
        traces = await self.traces(name)
        return [trace["execution_status"] for trace in traces if trace["verdict"] == "allow"]

    async def traces(self, name: str) -> list[asyncpg.Record]:
        return await Records(self.stand.dsn).traces(self.namespace, name)

    async def wait_for(self, name: str, *statuses: str) -> None:
        """Wait until the admitted changes of a workload have become that."""

        found: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while found != list(statuses):
                    await asyncio.sleep(_POLL)
                    found = await self.statuses(name)
        except TimeoutError:
            raise AssertionError(f"{name}: {found} instead of {statuses}") from None

    async def assert_sums_are_right(self) -> None:
        """Wait until every detection is in the sums of its pattern, once."""

        async def is_summed() -> bool:
            rows = await self._fetch(
                "SELECT total_detections AS sum, (SELECT count(*) FROM oscillation_detections AS d"
                " WHERE d.pattern_id = p.id) AS detections FROM oscillation_patterns AS p"
            )
            assert all(row["sum"] <= row["detections"] for row in rows)
            return all(row["sum"] == row["detections"] for row in rows)

        await wait_until(is_summed)

    async def assert_partitions_are_right(self) -> None:
        rows = await self._fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = 'resource_action_traces'::regclass"
        )
        assert len(rows) == MONTHS

    async def _fetch(self, query: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.stand.dsn)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()


@asynccontextmanager
async def governed(plane: ControlPlane, shop: Shop, replica: Replica) -> AsyncIterator[None]:
    """Have the API server ask a replica about agents, from the moment the block is entered."""
    webhook = Webhook(
        configuration=f"leaders-{shop.namespace}",
        name="leaders.example.com",
        url=f"https://{HOST}:{replica.port}/validate/{TOKEN}",
        authority=shop.stand.authority.ca.read_bytes(),
        conditions=build_match_conditions(AgentRules(("system:serviceaccount:ai-agents:*",))),
    )
    async with connect(plane.kubeconfig) as cluster:
        await apply_webhook(cluster, webhook)
        try:
            await shop.make("probe")
            await wait_until(partial(is_asked, shop))
            yield
        finally:
            await remove_webhook(cluster, webhook)


async def is_asked(shop: Shop) -> bool:
    """Tell whether a change by the agent leaves a trace by now."""
    label = {"metadata": {"labels": {"at": str(time.monotonic_ns())}}}
    await shop.agent.patch("Deployment", "probe", label)
    return bool(await shop.traces("probe"))


async def leads(number: int, *replicas: Replica) -> bool:
    """Tell whether each of the replicas holds so many leases."""
    return {await replica.count("gate_leadership") for replica in replicas} == {number}


@asynccontextmanager
async def replicas_of(stand: Stand, plane: ControlPlane) -> AsyncIterator[tuple[Replica, Replica]]:
    """Run a replica that leads, and another that would."""
    async with AsyncExitStack() as stack:
        started: list[Replica] = []
        for name in ("leader", "other"):
            replica = await stack.enter_async_context(
                stand.replica(name, kubeconfig=plane.kubeconfig, lease_seconds=LEASE)
            )
            await stand.wait_until_ready(replica)
            if not started:
                await wait_until(partial(leads, LEASES, replica))
            started.append(replica)
        yield started[0], started[1]


async def test_when_the_leader_is_killed_another_takes_over_and_nothing_is_missed(
    plane: ControlPlane, stand: Stand, admin: Api, agent: Api, namespace: str
) -> None:
    shop = Shop(namespace, admin, agent, stand)
    async with replicas_of(stand, plane) as (leader, other), governed(plane, shop, other):
        await shop.make("web", "api", "db", "queue", "cache")
        await shop.loop("web")
        await agent.scale("Deployment", "api", 8)
        await shop.wait_for("web", *LOOP)
        await shop.wait_for("api", "completed")
        assert await leads(0, other)

        await agent.scale("Deployment", "db", 7)
        await leader.component.end(signal.SIGKILL)
        killed = time.monotonic()
        await agent.scale("Deployment", "queue", 9)
        await shop.loop("cache")
        await wait_until(partial(leads, LEASES, other))
        took = time.monotonic() - killed
        await shop.wait_for("db", "completed")
        await shop.wait_for("queue", "completed")
        await admin.scale("Deployment", "api", 5)
        await shop.wait_for("api", "rolled-back")

        assert took < TAKEN_OVER_WITHIN + LATE
        assert await shop.statuses("web") == list(LOOP)
        assert "failed" not in await shop.statuses("cache")
        await shop.assert_sums_are_right()
        await shop.assert_partitions_are_right()


async def test_two_who_lead_at_once_do_everything_once(
    plane: ControlPlane, stand: Stand, admin: Api, agent: Api, namespace: str
) -> None:
    shop = Shop(namespace, admin, agent, stand)
    async with replicas_of(stand, plane) as (leader, other), governed(plane, shop, other):
        await shop.make("web", "api", "db")
        async with asyncio.TaskGroup() as tasks:
            thief = tasks.create_task(steal_leases(stand))
            await wait_until(partial(leads, LEASES, leader, other))
            await shop.loop("web")
            await shop.loop("db")
            await agent.scale("Deployment", "api", 8)
            await shop.wait_for("api", "completed")
            await admin.scale("Deployment", "api", 5)
            await shop.wait_for("api", "rolled-back")
            await shop.wait_for("web", *LOOP)
            await shop.assert_sums_are_right()
            thief.cancel()

        (trace,) = await shop.traces("api")
        assert len(json.loads(trace["follow_up_actions"])) == 1
        await shop.assert_partitions_are_right()
        await wait_until(partial(one_leads, leader, other))


async def steal_leases(stand: Stand) -> None:
    """Take every lease from whoever has it, again and again, so that nobody finds it taken."""
    connection = await asyncpg.connect(stand.dsn)
    try:
        while True:
            await connection.execute("DELETE FROM leader_leases")
            await asyncio.sleep(0.02)
    finally:
        connection.terminate()


async def one_leads(*replicas: Replica) -> bool:
    """Tell whether each lease is held by one of the replicas."""
    held = [await replica.count("gate_leadership") for replica in replicas]
    return sum(held) == LEASES
