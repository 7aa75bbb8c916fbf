"""A folder outside the data directory, for what PostgreSQL cannot find inside it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SOCKETS, BINARIES = "run", "binaries"
_PREFIX = "gate-embedded-"


@contextmanager
def open_annex(base: Path) -> Iterator[Path]:
    """Give a new folder below `base` that all accounts may enter and none may list.

    It goes at the end; that of a gate which was killed goes when the next one is made.
    """
    _remove_stale(base)
    annex = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    with _opened(annex) as descriptor:
        # It says that somebody lives here, also to what removes old files from /tmp by their age.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.fchmod(descriptor, 0o711)
        try:
            yield annex
        finally:
            _remove(annex)


def _remove_stale(base: Path) -> None:
    """Remove the annexes of this user that nobody has locked; one still empty is being made."""
    for annex in base.glob(f"{_PREFIX}*"):
        with suppress(OSError), _opened(annex) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_uid == os.geteuid() and any(annex.iterdir()):
                _remove(annex)


def _remove(annex: Path) -> None:
    """Remove what belongs in an annex, and the folder when it holds nothing else."""
    for name in (SOCKETS, BINARIES):
        shutil.rmtree(annex / name, ignore_errors=True)
    with suppress(OSError):
        annex.rmdir()


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
