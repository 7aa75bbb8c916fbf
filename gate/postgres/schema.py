"""The schema: whether it is current, and the revisions that make it so."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

import gate
from gate.postgres.failures import raise_unavailable, translated

_LOCK = text("SELECT pg_advisory_xact_lock(1734440037, 1)")
_LOOK = timedelta(seconds=20)
_MIGRATE = timedelta(minutes=15)

_Result = TypeVar("_Result")


async def migrate(dsn: str) -> list[str]:
    """Bring the schema up to this release; return the revisions that this call applied.

    Any number may call at once: one migrates in a single transaction, the others wait for it and
    find nothing to do. Raises StorageUnavailableError when that takes more than 15 minutes.
    """
    return await _run(dsn, _upgrade, limit=_MIGRATE)


async def find_pending(dsn: str) -> list[str]:
    """Return the revisions that the schema lacks, oldest first; none where it is current.

    A schema of a newer release is current too. Raises StorageUnavailableError when the database
    does not answer within 20 s.
    """
    return await _run(dsn, _find_pending, limit=_LOOK)


async def _run(dsn: str, work: Callable[[Connection], _Result], *, limit: timedelta) -> _Result:
    engine = _make_engine(dsn)
    try:
        with translated():
            async with asyncio.timeout(limit.total_seconds()), engine.begin() as connection:
                return await connection.run_sync(work)
    except DBAPIError as error:
        # SQLAlchemy wraps what asyncpg raised.
        raise_unavailable((error.orig and error.orig.__cause__) or error)
    finally:
        await engine.dispose()


def _make_engine(dsn: str) -> AsyncEngine:
    """Return an engine that works behind a pooler too: no pool, no statement name used twice."""
    return create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        connect_args={
            "dsn": dsn,
            "timeout": _LOOK.total_seconds(),
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"gate_{uuid4().hex}",
        },
    )


def _upgrade(connection: Connection) -> list[str]:
    connection.execute(_LOCK)
    pending = _find_pending(connection)
    if pending:
        config = _make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return pending


def _find_pending(connection: Connection) -> list[str]:
    applied = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory.from_config(_make_config())
    known = [script.revision for script in scripts.walk_revisions()]
    if any(revision not in known for revision in applied):
        return []
    newest_first = scripts.iterate_revisions("heads", applied or "base")
    return [script.revision for script in newest_first][::-1]


def _make_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_find_migrations()).replace("%", "%%"))
    return config


def _find_migrations() -> Path:
    """Return the folder of revisions: inside the installed package, beside it in a checkout."""
    package = Path(gate.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"
