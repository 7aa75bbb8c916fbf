"""What asyncpg and the network raise, as failures with words for a person.

The words name what to check, and no value, address or password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import asyncpg

from gate.errors import StorageUnavailableError, UnusableRecordError

_CHECK = "check that it is running and that GATE_DSN names it"
_MEANINGS = {
    "08": f"the connection to PostgreSQL failed; {_CHECK}",
    "28": "PostgreSQL refused the login; check the user and the password in GATE_DSN",
    "3D": "the database that GATE_DSN names does not exist; create it",
    "40": "PostgreSQL rolled the statement back; trying again may help",
    "42": "the schema is not the one this release needs; run `gate migrate`",
    "42501": "the user in GATE_DSN may not do this; grant it the tables of gate",
    "53": "PostgreSQL is out of connections, memory or disk; see its log",
    "55": "a lock in PostgreSQL was not granted in time; look for long transactions",
    "57": f"PostgreSQL is starting, stopping, or cancelled the statement; {_CHECK}",
}
_TRACES = "resource_action_traces"
# What one row of many is at fault for: 21 too many rows, 22 data, 23 a constraint, 54 a limit; and
# where it met another's: a serialization failure, a deadlock. Nothing was written then.
_MET = ("40001", "40P01")
_OF_ONE_ROW = ("21", "22", "23", "54", *_MET)


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageUnavailableError for everything that asyncpg and the network raise."""
    try:
        yield
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        ValueError,
    ) as error:
        raise_unavailable(error)


def raise_unavailable(error: BaseException) -> NoReturn:
    """Raise StorageUnavailableError with what failed and what to check.

    It is an UnusableRecordError where these rows can never be written, whoever tries again.
    """
    # What is said about an address that cannot be parsed quotes parts of it, the password too.
    cause = None if _is_about_address(error) else error
    is_for_ever = is_about_rows(error) and not is_partition_missing(error) and not _is_met(error)
    kind = UnusableRecordError if is_for_ever else StorageUnavailableError
    raise kind(_describe(error)) from cause


def _describe(error: BaseException) -> str:
    match error:
        case asyncpg.PostgresError():
            return _describe_refusal(error.sqlstate or "")
        case TimeoutError():
            return f"PostgreSQL did not answer in time; {_CHECK}"
        case OSError():
            reason = (error.strerror or "none of its addresses answers").lower()
            return f"PostgreSQL cannot be reached ({reason}); {_CHECK}"
        case ValueError() if _is_about_address(error):
            return "GATE_DSN is not a usable address; it reads postgresql://USER@HOST/DATABASE"
        case ValueError():
            return "a value does not fit its column, so nothing was written; please report this"
        case _:
            return f"the connection to PostgreSQL was lost; {_CHECK}"


def _is_about_address(error: BaseException) -> bool:
    """Tell whether a DSN could not be parsed; asyncpg raises plain ValueError for nothing else."""
    return isinstance(error, asyncpg.ClientConfigurationError) or type(error) is ValueError


def is_partition_missing(error: BaseException | None) -> bool:
    """Tell whether a row was refused because no partition takes it.

    The message may be in any language; that no constraint is named cannot.
    """
    return (
        isinstance(error, asyncpg.CheckViolationError)
        and error.constraint_name is None
        and error.table_name == _TRACES
    )


def is_duplicate(error: BaseException | None) -> bool:
    """Tell whether a row was refused because there is one with its key already."""
    return isinstance(error, asyncpg.UniqueViolationError)


def is_about_rows(error: BaseException | None) -> bool:
    """Tell whether a statement failed for the rows it was given: without one of them it may not."""
    match error:
        case asyncpg.PostgresError():
            return (error.sqlstate or "").startswith(_OF_ONE_ROW)
        case asyncpg.InterfaceError():
            return isinstance(error, ValueError) and not _is_about_address(error)
        case _:
            return False


def _is_met(error: BaseException) -> bool:
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _MET


def _describe_refusal(sqlstate: str) -> str:
    meaning = _MEANINGS.get(sqlstate) or _MEANINGS.get(sqlstate[:2])
    return f"{meaning or 'PostgreSQL refused the statement; see its log'} (SQLSTATE {sqlstate})"
