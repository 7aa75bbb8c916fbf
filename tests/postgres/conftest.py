"""Servers for the whole run, and for each test a database of its own, cloned from a template."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from gate.postgres.pool import Pool, close_pool, open_pool
from gate.postgres.schema import migrate
from tests.postgres.servers import legs, serve


@dataclass(frozen=True)
class Served:
    """A running server and its migrated template."""

    admin: str
    template: str

    def dsn_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.admin)._replace(path=f"/{database}"))

    async def administer(self, command: str) -> None:
        connection = await asyncpg.connect(self.admin)
        try:
            await connection.execute(command)
        finally:
            await connection.close()

    async def make_template(self) -> None:
        await self.administer(f'CREATE DATABASE "{self.template}"')
        await migrate(self.dsn_of(self.template))
        connection = await asyncpg.connect(self.dsn_of(self.template))
        for month in ("2026-10-01", "2026-11-01", "2026-12-01", "2027-01-01"):
            await connection.execute(f"SELECT gate_ensure_partition('{month}')")
        await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served() -> AsyncIterator[Mapping[str, Served]]:
    async with AsyncExitStack() as stack:
        running = {}
        for leg in legs():
            admin = await stack.enter_async_context(serve(leg))
            running[leg] = Served(admin, f"gate_template_{uuid4().hex}")
            await running[leg].make_template()
            stack.push_async_callback(
                running[leg].administer, f'DROP DATABASE "{running[leg].template}"'
            )
        yield running


@pytest.fixture(params=legs())
def leg(request: pytest.FixtureRequest) -> str:
    """The server that a test runs on."""
    return str(request.param)


@pytest_asyncio.fixture
async def empty_dsn(served: Mapping[str, Served], leg: str) -> AsyncIterator[str]:
    """An empty database."""
    name = f"gate_{uuid4().hex}"
    await served[leg].administer(f'CREATE DATABASE "{name}"')
    yield served[leg].dsn_of(name)
    await served[leg].administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture
async def dsn(served: Mapping[str, Served], leg: str) -> AsyncIterator[str]:
    """A migrated database with the partitions around NOW."""
    name = f"gate_{uuid4().hex}"
    template = served[leg].template
    await served[leg].administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield served[leg].dsn_of(name)
    await served[leg].administer(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = await open_pool(dsn, size=8, application_name="gate-tests")
    yield pool
    await close_pool(pool, grace=5)


@pytest.fixture
async def deadline() -> float:
    """Far enough away never to matter."""
    return asyncio.get_running_loop().time() + 60
