"""The rows that decide; one that cannot be used leaves the others be."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import asyncpg

from gate.policy.conversion import make_pattern
from gate.policy.rows import UnusableRowError, read_modes, read_pattern
from gate.policy.schema import MOST_PATTERNS
from gate.ports.policy import DeclaredModes, PolicyListing, UnusablePattern
from gate.ports.policy_rows import Application, Declaration, RowChange, RowFate
from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

_READ = load_statement("read_policy")
_APPLY = load_statement("apply_policy")
_FIND = load_statement("find_declaration")
_PATIENCE = timedelta(seconds=5)
_MODES = "policy_settings"
_NAMES_SHOWN = 10


class PostgresPolicy:
    """Reads what the rows say, and makes them equal to what a file declares."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> PolicyListing:
        """Return what the rows say, and what is wrong with those that cannot be used.

        Of more than 64 active patterns only the oldest are read. Raises StorageUnavailableError
        when PostgreSQL does not answer within 5 s.
        """
        rows = await fetch(
            self._pool,
            _READ,
            deadline=_soon(),
            most_patterns=MOST_PATTERNS,
            names_shown=_NAMES_SHOWN,
        )
        patterns = []
        problems = []
        for row in rows:
            if row["id"] is None:
                continue
            try:
                entry = read_pattern(dict(row))
                patterns.append(make_pattern(row["pattern_name"], entry, pattern_id=row["id"]))
            except UnusableRowError as error:
                problem = f"pattern {row['pattern_name']!r} (id {row['id']}): {error}"
                problems.append(UnusablePattern(row["id"], problem))
        modes, modes_problem = _read_modes(rows)
        left_out = max(0, rows[0]["active_patterns"] - MOST_PATTERNS)
        return PolicyListing(
            tuple(patterns),
            tuple(problems),
            modes,
            modes_problem,
            left_out=left_out,
            left_out_problem=_name_left_out(rows[0]) if left_out else None,
        )

    async def is_declared(self) -> bool:
        """Tell whether a file was ever applied; raises StorageUnavailableError."""
        (row,) = await fetch(self._pool, _FIND, deadline=_soon())
        return bool(row["is_declared"])

    async def apply(self, declaration: Declaration) -> Application:
        """Make the rows equal to what is declared, in one statement, and tell which were not.

        Raises StorageUnavailableError when PostgreSQL does not answer within 5 s.
        """
        rows = await fetch(
            self._pool,
            _APPLY,
            deadline=_soon(),
            patterns=list(declaration.patterns),
            spared=list(declaration.spared),
            mode=declaration.modes["mode"],
            failure_mode=declaration.modes["failure_mode"],
            mode_namespaces=declaration.modes["namespaces"],
            digest=declaration.digest,
        )
        changes = tuple(change for row in rows if (change := _read_change(row)) is not None)
        is_drift = bool(rows) and rows[0]["earlier_digest"] == declaration.digest
        return Application(changes, is_drift=is_drift)


def _soon() -> float:
    return asyncio.get_running_loop().time() + _PATIENCE.total_seconds()


def _name_left_out(row: asyncpg.Record) -> str:
    active, names = row["active_patterns"], row["left_out"]
    more = active - MOST_PATTERNS - len(names)
    shown = ", ".join([*map(repr, names), *([f"{more} more"] if more else [])])
    return (
        f"at most {MOST_PATTERNS} patterns are looked for, and {active} are active: the newest are"
        f" left out ({shown}); set active = false where one is not needed"
    )


def _read_modes(rows: Sequence[asyncpg.Record]) -> tuple[DeclaredModes | None, str | None]:
    row = rows[0]
    if not row["has_modes"]:
        return DeclaredModes(), None
    columns = {name: row[f"modes_{name}"] for name in ("mode", "failure_mode", "namespaces")}
    try:
        return read_modes(columns), None
    except UnusableRowError as error:
        return None, f"{_MODES}: {error}"


def _read_change(row: asyncpg.Record) -> RowChange | None:
    """Return what differed in one row; None where only the file's digest is news."""
    fate = RowFate(row["fate"])
    before, after = row["before"] or {}, row["after"]
    differing = [name for name in after if before.get(name) != after[name]]
    if fate is RowFate.CHANGED and not differing:
        return None
    return RowChange(
        name=row["name"] or _MODES,
        fate=fate,
        before=_pick(before, differing) if fate is not RowFate.ADDED else {},
        after=_pick(after, differing),
    )


def _pick(columns: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    return {name: columns.get(name) for name in names}
