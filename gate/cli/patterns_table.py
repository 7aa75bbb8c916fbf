"""Patterns and differences as tables."""

from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text

from gate.cli.console import show, show_list
from gate.cli.history_table import break_after
from gate.cli.tables import make_table, text
from gate.policy.comparison import Difference

_PATTERN_WIDTH = 22
_RETIRED_STYLE = "dim"

Row = Mapping[str, object]


def build_patterns(rows: Iterable[Row]) -> Table:
    """Return a table with a line for each pattern."""
    columns = {
        "pattern": _PATTERN_WIDTH,
        "trips at": None,
        "strategy": None,
        "mode": None,
        "where": 22,
        "found": None,
    }
    return make_table(columns, map(_pattern, rows))


def describe_modes(settings: Row | None) -> str:
    """Say which modes hold, where the database knows them."""
    if settings is None:
        return "Modes: those of each replica's settings; no policy file was ever applied."
    entries = settings["namespaces"]
    namespaces = [
        f"{show(entry.get('match'), limit=80)} {_modes(entry)}"
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
    ]
    everywhere = _modes(settings) or "those of each replica's settings"
    return "; ".join([f"Modes: {everywhere}", *namespaces]) + "."


def build_differences(differences: Iterable[Difference]) -> Table:
    """Return a table with a line for each column that differs."""
    columns = {"pattern": 22, "column": 22, "in the database": 26, "in the file": 26}
    return make_table(
        columns,
        (
            [
                text(difference.name),
                text(difference.column),
                text(difference.in_database),
                text(difference.in_file),
            ]
            for difference in differences
        ),
    )


def _pattern(row: Row) -> list[Text]:
    style = "" if row["active"] else _RETIRED_STYLE
    mode = show(row["mode"]) if row["active"] else "retired"
    where = [show_list(row["namespaces"], nothing="everywhere")]
    if row["label_selectors"]:
        where.append(show(row["label_selectors"]))
    return [
        Text("\n".join(_name(row)), style=style),
        text(f"{row['min_occurrences']} in {row['time_window_minutes']} min", style=style),
        text(row["prevention_strategy"], style=style),
        text(mode, style=style),
        text(*where, style=style),
        text(row["total_detections"], style=style),
    ]


def _name(row: Row) -> list[str]:
    """Return the name, and the type where it is another word."""
    name, kind = show(row["pattern_name"]), show(row["pattern_type"])
    lines = [break_after("-", name, width=_PATTERN_WIDTH)]
    return lines if name == kind else [*lines, f"({kind})"]


def _modes(columns: Row) -> str:
    said = [show(columns[name]) for name in ("mode",) if columns.get(name)]
    if columns.get("failure_mode"):
        said.append(f"failure mode {show(columns['failure_mode'])}")
    return ", ".join(said)
