"""The connection pool, and the one way to run a statement by a deadline."""

import asyncio
from contextlib import suppress
from typing import Any, TypeAlias

import asyncpg

from gate.postgres import documents
from gate.postgres.failures import translated
from gate.postgres.statements import Statement

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
_Lent: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# Before a deadline, in seconds, a statement is cancelled politely: PostgreSQL then confirms that
# nothing of it remains. Without that confirmation the connection is cut at the deadline itself.
_CANCEL_AHEAD = 0.15


async def open_pool(
    dsn: str, *, size: int, statement_cache_size: int = 100, application_name: str
) -> Pool:
    """Return a pool of at most `size` connections, each made when it is first needed.

    Works while the database is down. Behind a pooler in transaction mode that does not track
    prepared statements, `statement_cache_size` is 0.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        connect=_connect,
        reset=_keep,
        statement_cache_size=statement_cache_size,
        server_settings={"application_name": application_name},
    )


async def close_pool(pool: Pool, *, grace: float) -> None:
    """Close the pool; connections still busy after `grace` seconds are cut."""
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await pool.close()
            return
    pool.terminate()


async def fetch(
    pool: Pool, statement: Statement, *, deadline: float, **values: object
) -> list[asyncpg.Record]:
    """Run a statement and return its rows by the deadline, a time of the loop's clock.

    Raises StorageUnavailableError where that cannot be done, also when PostgreSQL hangs.
    """
    arguments = statement.arrange(**values)
    with translated():
        async with asyncio.timeout_at(deadline):
            connection = await pool.acquire()
            try:
                return await connection.fetch(
                    statement.text, *arguments, timeout=_patience(deadline)
                )
            except asyncio.CancelledError:
                connection.terminate()
                raise
            finally:
                await _give_back(pool, connection)


def _patience(deadline: float) -> float:
    left = deadline - asyncio.get_running_loop().time()
    return max(left - _CANCEL_AHEAD, left / 2, 0.001)


async def _give_back(pool: Pool, connection: _Lent) -> None:
    """Return a connection, or cut it where a cancellation is not confirmed in time."""
    try:
        await pool.release(connection)
    except asyncio.CancelledError:
        connection.terminate()
        raise


async def _connect(*arguments: Any, **options: Any) -> Connection:
    """Connect and set up the JSON columns; closing could hang, so a half-made one is cut."""
    connection: Connection = await asyncpg.connect(*arguments, **options)
    try:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=documents.encode, decoder=documents.decode
            )
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _keep(_connection: Connection) -> None:
    """Leave a returned connection as it is: no statement here leaves session state behind."""
