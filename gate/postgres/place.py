"""Where a server of gate's own lives, and that nothing else lives there."""

import fcntl
import os
import re
import stat
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from gate.errors import EmbeddedServerError
from gate.postgres.account import Account, choose_account
from gate.postgres.annex import BINARIES, SOCKETS, open_annex
from gate.postgres.binaries import Binaries, are_reachable, copy_binaries, find_binaries

PORT = 5432
_HOME = "postgres"
_SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH = 107
_TEMPORARY = Path("/tmp")  # noqa: S108 - only a fresh folder is made in it
_DESCRIPTORS = Path("/proc/self/fd")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server lives: everything below `home` is gate's own and the account's.

    The account need not be allowed to pass through what lies above `home`: the server inherits
    `descriptor`, the open folder, and names its paths by that.
    """

    account: Account
    binaries: Binaries
    home: Path
    sockets: Path
    descriptor: int
    held: ExitStack

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    def seen_by_server(self, path: Path) -> Path:
        """Return how the server names a path of this place."""
        if path.is_relative_to(self.home):
            return self._home_seen / path.relative_to(self.home)
        return path

    def with_real_paths(self, text: str) -> str:
        """Return what the server says, in the paths that a person knows."""
        return text.replace(f"{self._home_seen}/", f"{self.home}/")

    @property
    def _home_seen(self) -> Path:
        # The kernel goes from here straight to the folder, whoever may enter those above it.
        return _DESCRIPTORS / str(self.descriptor)

    def find_running(self) -> int | None:
        """Return a living process of a server on this data: each has it as its directory."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").samefile(self.data):
                    return int(entry.name)
        return None

    def clear(self) -> None:
        """Remove the locks of a killed server; only while no process lives on the data.

        They name a process id that may be a zombie's or another program's by now.
        """
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)

    def check_version(self) -> None:
        """Raise EmbeddedServerError where the data was made by another major version."""
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != self.binaries.major_version:
            raise EmbeddedServerError(
                f"{self.data} was made by PostgreSQL {made_by}, and this one is "
                f"{self.binaries.major_version}: choose another --data-dir, or dump it with "
                f"{made_by} and restore it here"
            )

    def read_log_end(self) -> str:
        """Return the last lines of the server's log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-12:]
        except OSError as error:
            return f"({self.log} cannot be read: {error})"
        return self.with_real_paths("\n".join(lines))

    def release(self) -> None:
        """Leave the place to others."""
        self.held.close()


def occupy(directory: Path, *, binaries: Path | None) -> Place:
    """Make the folders a server needs below a directory, and keep every other gate out of them.

    Raises EmbeddedServerError where that cannot be; a directory that exists stays as it is.
    """
    account = choose_account()
    found = find_binaries(binaries)
    if not _DESCRIPTORS.is_dir():
        raise EmbeddedServerError(
            f"the embedded PostgreSQL needs {_DESCRIPTORS}, which is not there: mount /proc, or "
            f"give gate a database with --dsn"
        )
    home = _make_home(directory, account)
    with ExitStack() as held:
        held.callback(os.close, _lock(home))
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, descriptor)
        return Place(
            account=account,
            binaries=_bring_within_reach(found, account, held),
            home=home,
            sockets=_make_sockets(home, account, held),
            descriptor=descriptor,
            held=held.pop_all(),
        )


def _make_home(directory: Path, account: Account) -> Path:
    """Return gate's own folder below a directory whose permissions are left as they are."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = directory / _HOME
    if not home.is_dir():
        _make_private(home, account)
    status = home.stat()
    if status.st_uid != account.uid or stat.S_IMODE(status.st_mode) & 0o077:
        raise EmbeddedServerError(
            f"{home} belongs to uid {status.st_uid} with mode {stat.S_IMODE(status.st_mode):04o}, "
            f"and PostgreSQL would run as {account.name} (uid {account.uid}) and keep it to "
            f"itself: run gate as the user who made it, or choose another --data-dir"
        )
    return home


def _make_private(folder: Path, account: Account) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if account.is_other:
        os.chown(folder, account.uid, account.gid)


def _lock(home: Path) -> int:
    """Return the open lock file; the kernel frees it when this process ends, however it ends."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(home / "gate.lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise EmbeddedServerError(
            f"another gate (process {owner or 'unknown'}) already runs a PostgreSQL in {home}: "
            f"stop it, or choose another --data-dir"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _bring_within_reach(found: Binaries, account: Account, held: ExitStack) -> Binaries:
    """Return binaries that the account can run: these, or a copy for as long as the place is held.

    The copy lies elsewhere, since the account need not reach `home` by its path.
    """
    if are_reachable(found, account):
        return found
    for base in (Path(tempfile.gettempdir()), _TEMPORARY):
        if account.may_reach(base) and not os.statvfs(base).f_flag & os.ST_NOEXEC:
            annex = held.enter_context(open_annex(base))
            return copy_binaries(found, account, target=annex / BINARIES)
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root, and as {account.name} it may not enter {found.root}, "
        f"nor run a copy in {tempfile.gettempdir()}: set TMPDIR to a folder where it may, run gate "
        f"as a normal user, or give it a database with --dsn"
    )


def _make_sockets(home: Path, account: Account, held: ExitStack) -> Path:
    """Return the folder of the socket, elsewhere where its path would be too long or unusual."""
    sockets = home / SOCKETS
    fits = len(os.fsencode(sockets / _SOCKET)) <= _LONGEST_SOCKET_PATH
    if not fits or not _PLAIN_PATH.fullmatch(str(sockets)):
        sockets = held.enter_context(open_annex(_TEMPORARY)) / SOCKETS
    _make_private(sockets, account)
    return sockets
