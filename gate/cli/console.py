"""Reading from the database for people and programs, and the ways of printing what was read."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from gate.cli.arguments import BadArgumentError
from gate.domain.words import escape
from gate.errors import StorageUnavailableError
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import close_pool, open_pool
from gate.postgres.reports import PostgresReports
from gate.settings.knobs import AdmissionSettings
from gate.settings.loading import load_settings

_CLOSE_WITHIN = 5  # seconds

Row = Mapping[str, object]


class NothingReadError(BadArgumentError):
    """What a command compares could not be read, so that its exit code must not say a result."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What commands read from, with the settings they run by."""

    settings: AdmissionSettings
    reports: PostgresReports
    policy: PostgresPolicy


@asynccontextmanager
async def reading(purpose: str) -> AsyncIterator[Sources]:
    """Connect to the database that GATE_DSN names; raises SettingsError where none is named."""
    settings = load_settings(AdmissionSettings)
    pool = await open_pool(
        settings.require_dsn(),
        size=1,
        statement_cache_size=settings.statement_cache_size,
        application_name=f"gate {purpose}",
    )
    try:
        yield Sources(settings, PostgresReports(pool), PostgresPolicy(pool))
    except StorageUnavailableError as error:
        raise NothingReadError(str(error)) from error
    finally:
        await close_pool(pool, grace=_CLOSE_WITHIN)


def print_json(value: object) -> None:
    """Print a value for programs: rows with the names of their columns as keys."""
    sys.stdout.buffer.write(orjson.dumps(value, default=str))
    sys.stdout.write("\n")


def tell(line: str) -> None:
    """Tell people something beside the output, on standard error; the line is escaped."""
    print(escape(line, limit=2000), file=sys.stderr)


def show(value: object, *, limit: int = 253) -> str:
    """Return a value as people read it: untrusted text escaped and bounded, times in UTC."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, str):
        return escape(value, limit=limit)
    return escape(json.dumps(value, ensure_ascii=False, default=str), limit=limit)


def show_list(values: object, *, nothing: str) -> str:
    """Return the items of a list, or what stands for none of them."""
    items = values if isinstance(values, Sequence) and not isinstance(values, str) else ()
    return ", ".join(show(item, limit=80) for item in items) or nothing
