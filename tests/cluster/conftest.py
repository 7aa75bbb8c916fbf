"""One control plane for all of these tests in a process, and one gate for each file."""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from testbed.binaries import find_binaries
from testbed.controlplane import ControlPlane
from testbed.gate import GateProcess, running_gate
from testbed.workloads import prepare_agent
from tests.cluster.api import Api, connect


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests in the event loop of the session, in which their control plane lives."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """Return a directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="gate-cluster-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(directory: Path) -> AsyncIterator[ControlPlane]:
    """Return a control plane with fake nodes."""
    binaries = find_binaries(os.environ)
    async with ControlPlane(directory / "plane", binaries=binaries, workers=True) as plane:
        yield plane


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def agent_kubeconfig(plane: ControlPlane) -> Path:
    """Return the kubeconfig of the agent `system:serviceaccount:ai-agents:scaler`."""
    return await prepare_agent(plane)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gate(
    plane: ControlPlane, directory: Path, request: pytest.FixtureRequest
) -> AsyncIterator[GateProcess]:
    """Return a gate that enforces, with an embedded PostgreSQL of its own."""
    data = directory / request.node.path.stem
    async with running_gate(plane.kubeconfig, data) as gate:
        yield gate
        assert not gate.component.has_ended(), gate.component.last_lines()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def agent_session(agent_kubeconfig: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session of the agent."""
    async with connect(agent_kubeconfig) as session:
        yield session


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def admin_session(plane: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session of the administrator."""
    async with connect(plane.kubeconfig) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(plane: ControlPlane) -> str:
    """Return a fresh namespace."""
    name = f"test-{secrets.token_hex(4)}"
    await plane.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def agent(agent_session: aiohttp.ClientSession, namespace: str) -> Api:
    """Return the API as the agent sees it."""
    return Api(agent_session, namespace)


@pytest.fixture
def admin(admin_session: aiohttp.ClientSession, namespace: str) -> Api:
    """Return the API as an administrator sees it."""
    return Api(admin_session, namespace)
