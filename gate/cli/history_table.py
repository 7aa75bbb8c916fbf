"""A history as a table that fits 100 columns; what agents wrote is shown, never interpreted."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.domain.words import escape
from gate.domain.workload import WorkloadKey
from gate.ports import HistoryRow

_NARROWEST = 100
_CHANGES_SHOWN = 3
_VALUE_AT_MOST = 40
_DENY_STYLE = "bold red"
# Together with the gaps between columns these are not wider than the narrowest terminal.
_ACTION_WIDTH, _CHANGE_WIDTH, _ACTOR_WIDTH, _PATTERN_WIDTH = 12, 20, 22, 12


def print_table(key: WorkloadKey, rows: Sequence[HistoryRow]) -> None:
    """Print one line per trace to standard output, oldest first."""
    console = Console(highlight=False)
    if not console.is_terminal and console.width < _NARROWEST:
        console = Console(highlight=False, width=_NARROWEST)
    console.print(build_table(key, rows))


def build_table(key: WorkloadKey, rows: Sequence[HistoryRow]) -> Table:
    """Return the table of a workload's traces."""
    title = Text(f"{escape(str(key))}, times in UTC", style="bold")
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    table.add_column("time", no_wrap=True)
    table.add_column("ver", justify="right", no_wrap=True)
    table.add_column("action", max_width=_ACTION_WIDTH, overflow="fold")
    table.add_column("change", max_width=_CHANGE_WIDTH, overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("actor", max_width=_ACTOR_WIDTH, overflow="fold")
    table.add_column("pattern", max_width=_PATTERN_WIDTH, overflow="fold")
    for row in rows:
        table.add_row(*_cells(row.columns))
    return table


def describe_changes(parameters: object) -> str:
    """Return what a trace changed, such as `replicas 5 → 3`, the first few of many."""
    listed = parameters.get("changes") if isinstance(parameters, Mapping) else None
    changes = [c for c in listed if isinstance(c, Mapping)] if isinstance(listed, list) else []
    shown = [_describe_change(change) for change in changes[:_CHANGES_SHOWN]]
    if len(changes) > len(shown):
        shown.append(f"and {len(changes) - len(shown)} more")
    return "\n".join(shown)


def break_after(separator: str, text: str, *, width: int) -> str:
    """Return a long name in lines that end, where they can, with a separator."""
    lines = [""]
    for part in re.findall(f"[^{separator}]*{separator}|[^{separator}]+$", text):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _cells(columns: Mapping[str, object]) -> Iterable[Text]:
    verdict = str(columns.get("verdict"))
    yield Text(_describe_time(columns.get("action_timestamp")))
    yield Text(str(columns.get("version")))
    yield Text(break_after("_", escape(str(columns.get("action_type"))), width=_ACTION_WIDTH))
    yield Text(describe_changes(columns.get("action_parameters")))
    yield Text(
        f"{verdict}\n{escape(str(columns.get('mode')))}",
        style=_DENY_STYLE if verdict == "deny" else "",
    )
    yield Text(break_after(":", escape(str(columns.get("actor"))), width=_ACTOR_WIDTH))
    yield Text("\n".join(_patterns(columns.get("decision"))))


def _describe_time(value: object) -> str:
    return (
        value.astimezone(UTC).strftime("%Y-%m-%d\n%H:%M:%S") if isinstance(value, datetime) else ""
    )


def _describe_change(change: Mapping[str, object]) -> str:
    field = escape(str(change.get("field")), limit=_VALUE_AT_MOST)
    container = change.get("container")
    where = f"{escape(str(container), limit=_VALUE_AT_MOST)} {field}" if container else field
    values = f"{_value(change.get('before'))} → {_value(change.get('after'))}"
    gap = " " if len(where) + len(values) < _CHANGE_WIDTH else "\n"
    return f"{where}{gap}{values}"


def _value(value: object) -> str:
    return "none" if value is None else escape(str(value), limit=_VALUE_AT_MOST)


def _patterns(decision: object) -> list[str]:
    objections = decision.get("objections") if isinstance(decision, Mapping) else None
    return [
        break_after("-", escape(str(objection.get("pattern"))), width=_PATTERN_WIDTH)
        for objection in (objections if isinstance(objections, list) else [])
        if isinstance(objection, Mapping)
    ]
