"""The schema: whether it is current, and the revisions that make it so."""

import asyncio
from datetime import timedelta

import asyncpg

from gate.postgres.failures import translated
from gate.postgres.revisions import list_revisions
from gate.postgres.statements import load_statement

_READ = load_statement("read_schema_revisions")
_LOOK = timedelta(seconds=20)


async def migrate(dsn: str) -> list[str]:
    """Bring the schema up to this release; return the revisions that this call applied.

    Any number may call at once: one migrates in a single transaction, the others wait for it and
    find nothing to do. Raises StorageUnavailableError when that takes more than 15 minutes.
    """
    from gate.postgres.migration import upgrade  # noqa: PLC0415 - Alembic is slow to import

    return await upgrade(dsn)


async def find_pending(dsn: str) -> list[str]:
    """Return the revisions that the schema lacks, oldest first; none where it is current.

    A schema of a newer release is current too. Raises StorageUnavailableError when the database
    does not answer within 20 s.
    """
    with translated():
        async with asyncio.timeout(_LOOK.total_seconds()):
            applied = await _read_applied(dsn)
    known = list_revisions()
    if any(revision not in known for revision in applied):
        return []
    return known[max((known.index(revision) + 1 for revision in applied), default=0) :]


async def _read_applied(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        return [row["version_num"] for row in await connection.fetch(_READ.text)]
    except asyncpg.UndefinedTableError:
        return []
    finally:
        # Nothing is under way that a polite end could save, and waiting for one could hang.
        connection.terminate()
