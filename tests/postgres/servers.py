"""Which PostgreSQL serves the tests: one that is given, a container, or an embedded one."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import Any

from gate.postgres.embedded import EmbeddedServer
from testbed.postgres import find_postgres

GIVEN = "given"
OLDEST, NEWEST = "15", "18"
_DOCKER_SOCKET = Path("/var/run/docker.sock")
_QUESTION_SECONDS = 3
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a private folder is made in it
_ROOM = 2 * 1024**3


def legs() -> list[str]:
    """Return the servers that every test with a database runs on."""
    return [GIVEN] if "GATE_TEST_DSN" in os.environ else [OLDEST, NEWEST]


def describe_legs(environment: Mapping[str, str]) -> list[str]:
    if "GATE_TEST_DSN" in environment:
        return ["by GATE_TEST_DSN"]
    return [f"{leg} {'in a container' if has_image(leg) else 'embedded'}" for leg in legs()]


@contextmanager
def open_house() -> Iterator[Path]:
    """Make a directory that only this user may enter.

    It lies in memory where there is room: a clone of a database is 300 files.
    """
    has_room = _MEMORY.is_dir() and disk_usage(_MEMORY).free > _ROOM
    parent = _MEMORY if has_room else None
    with TemporaryDirectory(prefix="gate-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


@asynccontextmanager
async def serve(leg: str) -> AsyncIterator[str]:
    """Run one server; yield how to connect to it as a superuser."""
    if leg == GIVEN:
        yield os.environ["GATE_TEST_DSN"]
    elif has_image(leg):
        container = await asyncio.to_thread(_start_container, leg)
        try:
            yield container.get_connection_url()
        finally:
            await asyncio.to_thread(container.stop)
    else:
        with open_house() as house:
            async with EmbeddedServer(house, binaries=binaries_of(leg)) as server:
                yield server.dsn


def binaries_of(leg: str) -> Path | None:
    """Return the installation of an embedded server; None is the one that gate itself uses."""
    return find_postgres(os.environ) if leg == OLDEST else None


@cache
def has_image(leg: str) -> bool:
    """Tell whether a Docker engine and the image are there; nothing is pulled."""
    if not _DOCKER_SOCKET.is_socket():
        return False
    # Imported here since it takes long, and most machines have no engine to ask.
    docker = import_module("docker")
    try:
        client = docker.DockerClient(f"unix://{_DOCKER_SOCKET}", timeout=_QUESTION_SECONDS)
        try:
            client.images.get(f"postgres:{leg}")
        finally:
            client.close()
    except (docker.errors.DockerException, OSError):
        return False
    return True


def _start_container(leg: str) -> Any:
    # Its reaper is an image of its own, which may not be there.
    import_module("testcontainers.core.config").testcontainers_config.ryuk_disabled = True
    containers = import_module("testcontainers.postgres")
    return containers.PostgresContainer(f"postgres:{leg}", driver=None).start()
