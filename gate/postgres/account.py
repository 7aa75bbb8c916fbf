"""The account that a server of gate's own runs as; PostgreSQL refuses to run as root."""

import ctypes
import os
import pwd
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gate.errors import EmbeddedServerError

_CANDIDATES = ("postgres", "nobody")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine; `is_other` where gate has to change to it, which root can."""

    name: str
    uid: int
    gid: int
    is_other: bool

    def may_reach(self, folder: Path) -> bool:
        """Tell whether the account may pass through a folder and all above it, by their modes."""
        real = folder.resolve()
        return all(self._may_enter(step) for step in (real, *real.parents))

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if self.uid == status.st_uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in self._groups():
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def _groups(self) -> list[int]:
        return os.getgrouplist(self.name, self.gid)


def choose_account() -> Account:
    """Return this process's own account, or for root one without its powers.

    Raises EmbeddedServerError where root finds none.
    """
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), is_other=False)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, is_other=True)
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root, and this machine has none of the accounts "
        f"{', '.join(_CANDIDATES)}: run gate as a normal user, or give it a database with --dsn"
    )


def prepare_child(account: Account) -> Callable[[], None]:
    """Return what a new process does before it becomes PostgreSQL.

    It takes on the account, and asks to be shut down when gate dies, however gate dies. The kernel
    forgets that wish when the account changes, hence the order.
    """
    parent = os.getpid()

    def become() -> None:
        if account.is_other:
            os.initgroups(account.name, account.gid)
            os.setgid(account.gid)
            os.setuid(account.uid)
        os.umask(0o077)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return become
