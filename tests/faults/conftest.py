"""One database server per test: it is going to be ill-treated."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.faults.stand import Replica, Stand, running_stand
from tests.postgres.servers import open_house


@pytest.fixture
def house() -> Iterator[Path]:
    with open_house() as house:
        yield house


@pytest.fixture
async def stand(house: Path) -> AsyncIterator[Stand]:
    async with running_stand(house) as stand:
        yield stand


@pytest.fixture
async def replica(stand: Stand) -> AsyncIterator[Replica]:
    async with stand.replica() as replica:
        await stand.wait_until_ready(replica)
        yield replica
