"""One authority per test run, one server per test."""

from collections.abc import AsyncIterator

import pytest

from gate.domain.pattern import Mode
from tests.webhook.gateway import Gateway, running_gateway
from tests.webhook.tls import TestAuthority, make_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def gateway(authority: TestAuthority) -> AsyncIterator[Gateway]:
    async with running_gateway(authority) as gateway:
        yield gateway


@pytest.fixture
async def auditing(authority: TestAuthority) -> AsyncIterator[Gateway]:
    async with running_gateway(authority, mode=Mode.AUDIT) as gateway:
        yield gateway
