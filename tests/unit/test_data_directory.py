"""What `gate dev` makes in its directory, and who may read it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.cli.data_directory import held_directory


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    previous = os.umask(request.param)
    yield request.param
    os.umask(previous)


@pytest.mark.usefixtures("mask")
def test_the_directory_and_its_files_are_private_under_every_mask(tmp_path: Path) -> None:
    path = tmp_path / "data"

    with held_directory(path) as directory:
        directory.ensure_secrets()

    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (path, *path.iterdir())}
    assert modes == {"data": 0o700, "lock": 0o600, "seal.key": 0o600, "token": 0o600}


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    with held_directory(tmp_path):
        pass

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
