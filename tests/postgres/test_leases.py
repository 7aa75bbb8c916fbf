"""Leases: one holder at a time, by the clock of the database."""

import asyncio
from datetime import timedelta

import pytest

from gate.postgres.leases import PostgresLeases
from gate.postgres.pool import Pool

LONG, OVER = timedelta(minutes=5), timedelta(seconds=-1)


@pytest.fixture
def leases(pool: Pool) -> PostgresLeases:
    return PostgresLeases(pool)


async def test_a_free_lease_is_taken_by_one_of_many(leases: PostgresLeases) -> None:
    async with asyncio.TaskGroup() as tasks:
        claims = [
            tasks.create_task(leases.claim("database", holder=str(n), length=LONG))
            for n in range(8)
        ]

    assert sum(claim.result() for claim in claims) == 1


async def test_a_held_lease_is_kept_by_its_holder_only(leases: PostgresLeases) -> None:
    assert await leases.claim("database", holder="a", length=LONG)

    assert not await leases.claim("database", holder="b", length=LONG)
    assert await leases.claim("database", holder="a", length=LONG)


async def test_a_lease_that_is_over_goes_to_whoever_asks(leases: PostgresLeases) -> None:
    assert await leases.claim("database", holder="a", length=OVER)

    assert await leases.claim("database", holder="b", length=LONG)
    assert not await leases.claim("database", holder="a", length=LONG)


async def test_leases_of_other_names_are_others(leases: PostgresLeases) -> None:
    assert await leases.claim("watch/one", holder="a", length=LONG)
    assert await leases.claim("watch/two", holder="b", length=LONG)


async def test_a_lease_given_back_is_free_and_only_ones_own_can_be(leases: PostgresLeases) -> None:
    await leases.claim("database", holder="a", length=LONG)

    await leases.release("database", holder="b")
    assert not await leases.claim("database", holder="b", length=LONG)

    await leases.release("database", holder="a")
    assert await leases.claim("database", holder="b", length=LONG)
