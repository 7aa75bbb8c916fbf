"""The API server restarts or falls silent: outcomes are right afterwards, and no guard was off."""

import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
import pytest_asyncio

from testbed.binaries import find_binaries
from testbed.controlplane import ControlPlane
from testbed.gate import GateProcess, running_gate
from testbed.metrics import read_metrics
from testbed.workloads import prepare_agent, workload
from tests.cluster.api import Api, connect
from tests.cluster.records import Records
from tests.cluster.relay import Relay, relayed
from tests.faults.stand import wait_until

NAMESPACE = "shop"


@dataclass
class Shop:
    """A control plane of its own, and a gate that watches it through a relay.

    Reviews do not go through the relay.
    """

    plane: ControlPlane
    relay: Relay
    gate: GateProcess
    admin: Api
    agent: Api

    async def make(self, *names: str) -> None:
        for name in names:
            await self.admin.create("Deployment", workload("Deployment", name, namespace=NAMESPACE))

    async def scale(self, name: str, *values: int) -> list[int]:
        """Let the agent set replicas, one after another, and return the answers' statuses."""
        return [(await self.agent.scale("Deployment", name, value)).status for value in values]

    async def statuses(self, name: str) -> list[str]:
        return [trace["execution_status"] for trace in await self.traces(name)]

    async def traces(self, name: str) -> list[asyncpg.Record]:
        return await Records(self.gate.dsn).traces(NAMESPACE, name)

    async def wait_for(self, name: str, *statuses: str) -> None:
        """Wait until the changes of a workload have become that."""
        await wait_until(partial(self._has_become, name, list(statuses)))

    async def series(self, name: str) -> dict[str, float]:
        """Return the values of a metric by its labels."""
        found = re.findall(rf"^{name}{{(.*)}} (\S+)", await read_metrics(self.gate), re.MULTILINE)
        return {labels: float(value) for labels, value in found}

    async def watched_since(self) -> float:
        """Return since when nothing of any kind was missed, in seconds since 1970."""
        return min((await self.series("gate_watch_continuous_since_timestamp_seconds")).values())

    async def cascades_not_told(self) -> float:
        """Return how often outcomes were missing to tell whether failures spread."""
        series = await self.series("gate_evaluations_incomplete_total")
        return sum(n for labels, n in series.items() if 'pattern="cascading-failure"' in labels)

    async def has_watched_since(self, instant: float) -> bool:
        return await self.watched_since() > instant

    async def _has_become(self, name: str, statuses: list[str]) -> bool:
        return await self.statuses(name) == statuses


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(directory: Path) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        own = directory / "restarted"
        plane = ControlPlane(own, binaries=find_binaries(os.environ), workers=True, nodes=1)
        await stack.enter_async_context(plane)
        agent = await prepare_agent(plane)
        await plane.kubectl("create", "namespace", NAMESPACE)
        relay, kubeconfig = await stack.enter_async_context(relayed(plane.kubeconfig, own))
        gate = await stack.enter_async_context(running_gate(kubeconfig, own / "gate"))
        sessions = [
            await stack.enter_async_context(connect(path)) for path in (plane.kubeconfig, agent)
        ]
        admin, scaler = (Api(session, NAMESPACE) for session in sessions)
        shop = Shop(plane, relay, gate, admin, scaler)
        await wait_until(partial(shop.has_watched_since, 0))
        yield shop
        relay.resume()


async def test_a_loop_is_refused_and_nothing_is_invented_while_the_watch_is_silent(
    shop: Shop,
) -> None:
    await shop.make("web", "loop", "cache", "queue", "last")
    assert await shop.scale("web", 6) == [200]
    await shop.wait_for("web", "completed")
    since = await shop.watched_since()
    lacking = [await shop.cascades_not_told()]

    shop.relay.stall()
    assert await shop.scale("loop", 3, 5, 3) == [200, 200, 403]
    assert await shop.scale("web", 7, 8) == [200, 200]
    assert await shop.scale("cache", 6) == [200]
    assert await shop.scale("queue", 6) == [200]
    lacking.append(await shop.cascades_not_told())
    blind = await shop.statuses("web") + await shop.statuses("loop")
    shop.relay.resume()

    await shop.wait_for("web", *["completed"] * 3)
    await shop.wait_for("loop", "rolled-back", "completed", "blocked")
    await shop.wait_for("cache", "completed")
    await shop.wait_for("queue", "completed")
    assert await shop.scale("last", 6) == [200]
    lacking.append(await shop.cascades_not_told())
    assert blind == ["completed", "pending", "pending", "pending", "pending", "blocked"]
    assert lacking[0] < lacking[1] == lacking[2], "what could not be told was not counted"
    assert await shop.watched_since() == since, "a position that is still good was given up"


async def test_a_watch_that_expires_while_the_api_server_restarts_tells_what_is_there(
    shop: Shop,
) -> None:
    await shop.make("api", "other-loop", "gone", "more")
    assert await shop.scale("api", 6) == [200]
    await shop.wait_for("api", "completed")
    expired = sum_of_expired(await shop.series("gate_watch_interruptions_total"))

    cut = time.time()
    shop.relay.cut()
    assert await shop.scale("api", 9) == [200]
    assert await shop.scale("other-loop", 3, 5) == [200, 200]
    assert (await shop.agent.delete("Deployment", "gone")).status == 200
    async with shop.plane.without_server():
        pass
    assert await shop.scale("other-loop", 3) == [403]
    shop.relay.resume()
    await wait_until(partial(shop.has_watched_since, cut))
    assert await shop.scale("more", 8) == [200]

    await shop.wait_for("api", "completed", "completed")
    await shop.wait_for("gone", "completed")
    await shop.wait_for("more", "completed")
    assert "failed" not in await shop.statuses("other-loop")
    interruptions = await shop.series("gate_watch_interruptions_total")
    assert sum_of_expired(interruptions) > expired, interruptions
    assert not shop.gate.component.has_ended()


def sum_of_expired(interruptions: dict[str, float]) -> float:
    return sum(number for labels, number in interruptions.items() if 'reason="expired"' in labels)
