"""Where rows differ from what a policy file declares, and rows written as such a file."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import yaml

from gate.policy.file import ParsedPolicy
from gate.policy.problems import Problem
from gate.policy.rows import UnusableRowError, read_pattern, write_modes, write_pattern
from gate.policy.schema import MOST_PATTERNS

SETTINGS = "policy_settings"

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """One column that a row holds otherwise than a file declares it.

    A pattern that is missing on one side differs in `active`.
    """

    name: str
    column: str
    in_database: object
    in_file: object


@dataclass(frozen=True, slots=True)
class Exported:
    """A policy file, and the rows that could not become part of it with what is wrong there."""

    text: str
    problems: tuple[Problem, ...]


def find_differences(
    rows: Iterable[Row], settings: Row | None, parsed: ParsedPolicy
) -> Iterator[Difference]:
    """Yield what would change if the file were applied; invalid patterns change nothing."""
    by_name = {str(row["pattern_name"]): row for row in rows}
    modes = write_modes(parsed.file)
    held = settings or {"namespaces": []}
    for column, value in modes.items():
        if held.get(column) != value:
            yield Difference(SETTINGS, column, held.get(column), value)
    for name, entry in parsed.patterns.items():
        row = by_name.get(name)
        if row is None or not row["active"]:
            yield Difference(name, "active", in_database=False, in_file=True)
        if row is not None:
            for column, value in write_pattern(name, entry).items():
                if row[column] != value:
                    yield Difference(name, column, row[column], value)
    for name, row in by_name.items():
        if row["active"] and name not in parsed.patterns and name not in parsed.problems:
            yield Difference(name, "active", in_database=True, in_file=False)


def export_policy(rows: Iterable[Row], settings: Row | None) -> Exported:
    """Return the active patterns that are looked for and the modes as a policy file."""
    patterns: dict[str, object] = {}
    problems: list[Problem] = []
    for number, row in enumerate(row for row in rows if row["active"]):
        name = str(row["pattern_name"])
        if number >= MOST_PATTERNS:
            problems.append(Problem((name,), f"it is beyond the {MOST_PATTERNS} oldest patterns"))
            continue
        try:
            patterns[name] = _as_yaml(read_pattern(row).model_dump(mode="json"))
        except UnusableRowError as error:
            problems.append(Problem((name,), str(error)))
    modes = {k: v for k in ("mode", "failure_mode", "namespaces") if (v := (settings or {}).get(k))}
    content = {**modes, **({"patterns": patterns} if patterns else {})}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return Exported(text, tuple(problems))


def _as_yaml(declared: Row) -> dict[str, object]:
    """Leave out what is not said; null stays where it says something."""
    return {
        key: _as_yaml(value) if isinstance(value, Mapping) else _plain(value)
        for key, value in declared.items()
        if key == "churn_mode" or value not in (None, [], {})
    }


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
