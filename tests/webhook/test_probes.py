"""What kubelet and Prometheus get."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from gate.telemetry import Metrics
from gate.webhook.probes import make_probe_handler
from gate.webhook.server import Server
from tests.webhook.tls import HOST


class Probes:
    """The probes of a gate whose problems the test decides."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.metrics = Metrics()
        handler = make_probe_handler(metrics=self.metrics, readiness=lambda: self.problems)
        self.server = Server(handler, host=HOST, port=0, chance=lambda: 0.5)

    async def get(self, path: str) -> tuple[int, str, str]:
        """Return status, content type and body."""
        url = f"http://{HOST}:{self.server.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, response.headers["Content-Type"], await response.text()


@pytest.fixture
async def probes() -> AsyncIterator[Probes]:
    probes = Probes()
    await probes.server.start()
    yield probes
    await probes.server.stop()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probe_is_ok_without_problems(probes: Probes, path: str) -> None:
    assert await probes.get(path) == (200, "text/plain; charset=utf-8", "ok\n")


async def test_problems_make_it_unready_but_not_unhealthy(probes: Probes) -> None:
    probes.problems = {"database": "not reached yet\nat all", "draining": "about to stop"}

    ready, healthy = await probes.get("/readyz"), await probes.get("/healthz")

    assert ready == (
        503,
        "text/plain; charset=utf-8",
        "database: not reached yet\\nat all\ndraining: about to stop\n",
    )
    assert healthy[0] == 200


async def test_metrics_are_exposed_for_prometheus(probes: Probes) -> None:
    probes.metrics.rejected.labels("method").inc()

    status, content_type, body = await probes.get("/metrics")

    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert 'gate_admission_rejected_requests_total{reason="method"} 1.0\n' in body


@pytest.mark.parametrize("path", ["/", "/validate/x", "/metrics/"])
async def test_nothing_else_is_served(probes: Probes, path: str) -> None:
    assert (await probes.get(path))[0] == 404


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("POST", 405), ("DELETE", 405), ("OPTIONS", 405)]
)
async def test_probes_are_only_read(probes: Probes, method: str, status: int) -> None:
    url = f"http://{HOST}:{probes.server.port}/healthz"

    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        body = await response.read()

    assert response.status == status
    assert (response.headers.get("Allow") == "GET,HEAD") is (status == 405)
    assert (body == b"") is (method == "HEAD")
