"""A directory for a spool, and a keeper of one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gate.spool.store import FileSpool
from tests.spool.database import Database
from tests.spool.disks import MIB, soon
from tests.spool.kept import Kept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
async def kept(path: Path) -> AsyncIterator[Kept]:
    kept = Kept(FileSpool(path, max_bytes=MIB), Database())
    await kept.keeper.open()
    yield kept
    await kept.spool.close(deadline=soon())
