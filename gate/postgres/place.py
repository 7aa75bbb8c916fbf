"""Where a server of gate's own lives, and that nothing else lives there."""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gate.errors import EmbeddedServerError
from gate.postgres.account import Account, choose_account
from gate.postgres.binaries import Binaries, find_binaries, within_reach

PORT = 5432
_HOME = "postgres"
_SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH = 107
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server lives: everything below `home` is gate's own and the account's."""

    account: Account
    binaries: Binaries
    home: Path
    sockets: Path
    lock: int

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

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
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
        except OSError as error:
            return f"({self.log} cannot be read: {error})"

    def release(self) -> None:
        """Leave the place to others; a socket folder elsewhere goes."""
        if self.sockets.parent != self.home:
            shutil.rmtree(self.sockets, ignore_errors=True)
        os.close(self.lock)


def occupy(directory: Path, *, binaries: Path | None) -> Place:
    """Make the folders a server needs below a directory, and keep every other gate out of them.

    Raises EmbeddedServerError where that cannot be; a directory that exists stays as it is.
    """
    account = choose_account()
    home = _make_home(directory, account)
    lock = _lock(home)
    try:
        return Place(
            account=account,
            binaries=within_reach(find_binaries(binaries), account, copies=home),
            home=home,
            sockets=_make_sockets(home, account),
            lock=lock,
        )
    except BaseException:
        os.close(lock)
        raise


def _make_home(directory: Path, account: Account) -> Path:
    """Return gate's own folder below a directory whose permissions are left as they are."""
    _make_missing(directory, account)
    home = directory / _HOME
    if account.is_other and (barrier := account.find_barrier(directory)) is not None:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and as {account.name} it may not enter {barrier}: "
            f"choose another --data-dir (below /var/lib or /tmp, say), run gate as a normal user, "
            f"or give it a database with --dsn"
        )
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


def _make_missing(directory: Path, account: Account) -> None:
    """Make the folders that are missing; another account may pass through, not look."""
    missing = [step for step in (directory, *directory.parents) if not step.exists()]
    for step in reversed(missing):
        step.mkdir(exist_ok=True)
        step.chmod(0o711 if account.is_other else 0o700)


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


def _make_sockets(home: Path, account: Account) -> Path:
    """Return the folder of the socket, elsewhere where its path would be too long or unusual."""
    path = str(home / "run")
    fits = len(os.fsencode(f"{path}/{_SOCKET}")) <= _LONGEST_SOCKET_PATH
    if fits and _PLAIN_PATH.fullmatch(path):
        sockets = Path(path)
    else:
        sockets = Path(tempfile.mkdtemp(prefix="gate-", dir="/tmp"))
        if account.is_other:
            os.chown(sockets, account.uid, account.gid)
    _make_private(sockets, account)
    return sockets
