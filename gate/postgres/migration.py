"""Runs the revisions of the schema, each plain SQL, with Alembic."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from gate.postgres.failures import raise_unavailable, translated
from gate.postgres.revisions import find_migrations

_LOCK = text("SELECT pg_advisory_xact_lock(1734440037, 1)")
_CONNECT = timedelta(seconds=20)
_MIGRATE = timedelta(minutes=15)


async def upgrade(dsn: str) -> list[str]:
    """Apply what is pending; return the revisions that this call applied."""
    engine = _make_engine(dsn)
    try:
        with translated():
            async with (
                asyncio.timeout(_MIGRATE.total_seconds()),
                engine.begin() as connection,
            ):
                return await connection.run_sync(_upgrade)
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
            "timeout": _CONNECT.total_seconds(),
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
    config.set_main_option("script_location", str(find_migrations()).replace("%", "%%"))
    return config
