"""What the counters of gate and of the API server say."""

import re

import aiohttp

from testbed.controlplane import ControlPlane
from testbed.gate import GateProcess

_SENT = re.compile(
    r'^apiserver_admission_webhook_request_total\{[^}]*name="agents\.gate-dev[^}]*\} (\S+)',
    re.MULTILINE,
)


async def read_metrics(gate: GateProcess) -> str:
    """Return gate's own metrics."""
    async with aiohttp.ClientSession() as session, session.get(gate.metrics_url) as response:
        return await response.text()


async def reviews_answered(gate: GateProcess) -> float:
    """Return how many reviews gate answered."""
    return count(await read_metrics(gate), "gate_admission_reviews_total")


async def reviews_sent(plane: ControlPlane) -> float:
    """Return how many reviews the API server sent to gate."""
    return sum(float(value) for value in _SENT.findall(await plane.metrics()))


def count(metrics: str, name: str) -> float:
    """Return the sum of a counter over all its labels."""
    return sum(map(float, re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)", metrics, re.MULTILINE)))
