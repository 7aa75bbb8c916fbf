"""What `gate dev` keeps between its runs, in a directory that one process at a time holds."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gate.domain.seal import MINIMUM_KEY_BYTES
from gate.errors import SettingsError
from gate.pki.files import write_file
from gate.services.tokens import read_tokens

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """The paths in it."""

    path: Path

    @property
    def token(self) -> Path:
        """Return the file of the webhook's path token."""
        return self.path / "token"

    @property
    def seal_key(self) -> Path:
        """Return the file of the key under which values are sealed."""
        return self.path / "seal.key"

    @property
    def spool(self) -> Path:
        """Return the directory where traces wait for a database that is away."""
        return self.path / "spool"

    def ensure_secrets(self) -> None:
        """Make the token and the key that are missing.

        A key that is too short stays: another one would make equal values look different.
        """
        if not self.seal_key.exists():
            key = secrets.token_bytes(MINIMUM_KEY_BYTES)
            write_file(self.seal_key, key, permissions=_PRIVATE_FILE)
        try:
            read_tokens([self.token])
        except SettingsError:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            write_file(self.token, token.encode(), permissions=_PRIVATE_FILE)


@contextmanager
def held_directory(path: Path) -> Iterator[DataDirectory]:
    """Take hold of the directory, making it where there is none.

    Raises SettingsError where it cannot be had, or another process has hold of it.
    """
    try:
        path.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
    except OSError as error:
        raise SettingsError(f"--data-dir {path} cannot be used: {error.strerror}") from error
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"--data-dir {path} is in use by another gate dev"
                f" (process {lock.read().strip() or 'unknown'}): stop that one, or name another"
                f" directory"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield DataDirectory(path.resolve())
