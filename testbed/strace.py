"""strace, for the tests that show what reaches the disk before an answer does.

The one on the PATH, else Debian's package, unpacked into the cache and installed nowhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from testbed.binaries import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES: Final = ("strace", "libunwind8")
FOLDER: Final = "strace"
DOWNLOAD_LIMIT: Final = timedelta(minutes=3)


class StraceError(Exception):
    """strace is neither there nor to be had; the message says what to do about it."""


@dataclass(frozen=True)
class Strace:
    """A program, and the libraries that it needs beside the system's."""

    program: Path
    libraries: Path | None = None

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the environment to run it in."""
        if self.libraries is None:
            return dict(given)
        return {**given, "LD_LIBRARY_PATH": str(self.libraries)}


def find_strace(environment: Mapping[str, str]) -> Strace:
    """Return strace, fetching its package first where there is none.

    Raises StraceError where that fails.
    """
    installed = shutil.which("strace", path=environment.get("PATH"))
    if installed is not None:
        return Strace(Path(installed))
    folder = cache_folder(environment) / FOLDER
    if not folder.is_dir():
        _fetch(folder)
    return Strace(folder / "usr/bin/strace", next(folder.glob("usr/lib/*-linux-gnu*")))


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as name:
        partial = Path(name)
        _run("apt-get", "download", *PACKAGES, directory=partial)
        for package in partial.glob("*.deb"):
            _run("dpkg-deb", "--extract", str(package), "unpacked", directory=partial)
        try:
            (partial / "unpacked").rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise


def _run(*command: str, directory: Path) -> None:
    try:
        subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=DOWNLOAD_LIMIT.total_seconds(),
            env={"PATH": os.environ["PATH"]},
        )
    except (OSError, subprocess.SubprocessError) as failure:
        details = getattr(failure, "stderr", None) or ""
        raise StraceError(f"{failure}\n{details.strip()}\ninstall strace") from failure
