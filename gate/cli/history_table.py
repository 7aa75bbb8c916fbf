"""A history as a table that fits 100 columns; what agents wrote is shown, never interpreted."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.domain.pattern import Mode
from gate.domain.words import escape
from gate.domain.workload import WorkloadKey
from gate.ports.traces import HistoryRow

_NARROWEST = 100
_CHANGES_SHOWN = 3
_DENY_STYLE = "bold red"
_TIMES = "\N{MULTIPLICATION SIGN}"
_REPEATS = f"{_TIMES}n: the API server asked n times about this one request; ver counts each"
_SPOOLED = "spooled: waited on a replica's disk while PostgreSQL was away"
# Together with time, a version of five digits and the gaps these fill the narrowest terminal.
_CHANGE_WIDTH, _VERDICT_WIDTH, _ACTOR_WIDTH = 38, 17, 22
_VALUE_AT_MOST = _CHANGE_WIDTH - len(" →")


def print_table(key: WorkloadKey, rows: Sequence[HistoryRow]) -> None:
    """Print one row per trace to standard output, oldest first."""
    console = Console(highlight=False)
    if not console.is_terminal and console.width < _NARROWEST:
        console = Console(highlight=False, width=_NARROWEST)
    console.print(build_table(key, rows))


def build_table(key: WorkloadKey, rows: Sequence[HistoryRow]) -> Table:
    """Return the table of a workload's traces."""
    table = Table(
        title=Text(f"{escape(str(key))}, times in UTC", style="bold"),
        title_justify="left",
        caption=_explain(rows),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("time", no_wrap=True)
    table.add_column("ver", justify="right", no_wrap=True)
    table.add_column("action and change", max_width=_CHANGE_WIDTH, overflow="fold")
    table.add_column("verdict", max_width=_VERDICT_WIDTH, overflow="fold")
    table.add_column("actor", max_width=_ACTOR_WIDTH, overflow="fold")
    for row in rows:
        table.add_row(*_cells(row.columns))
    return table


def describe_changes(parameters: object) -> list[str]:
    """Return what a trace changed in lines such as `replicas 5 → 3`, the first few of many."""
    listed = parameters.get("changes") if isinstance(parameters, Mapping) else None
    changes = [c for c in listed if isinstance(c, Mapping)] if isinstance(listed, list) else []
    lines = [line for change in changes[:_CHANGES_SHOWN] for line in _describe_change(change)]
    if len(changes) > _CHANGES_SHOWN:
        lines.append(f"and {len(changes) - _CHANGES_SHOWN} more")
    return lines


def break_after(separators: str, text: str, *, width: int) -> str:
    """Return a long name in lines that end, where they can, with one of the separators."""
    lines = [""]
    for part in re.findall(f"[^{separators}]*[{separators}]|[^{separators}]+$", text):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _explain(rows: Sequence[HistoryRow]) -> str | None:
    """Return what the marks in the table mean; None where there are none."""
    marks = {
        _REPEATS: any(_count_attempts(row.columns) > 1 for row in rows),
        _SPOOLED: any(_is_spooled(row.columns) for row in rows),
    }
    return "\n".join(words for words, is_used in marks.items() if is_used) or None


def _cells(columns: Mapping[str, object]) -> Iterable[Text]:
    yield Text(_describe_time(columns.get("action_timestamp")))
    yield Text(str(columns.get("version")))
    changes = describe_changes(columns.get("action_parameters"))
    yield Text("\n".join([_describe_action(columns), *changes]))
    yield _describe_verdict(columns)
    yield Text(break_after(":-", escape(str(columns.get("actor"))), width=_ACTOR_WIDTH))


def _describe_time(value: object) -> str:
    return (
        value.astimezone(UTC).strftime("%Y-%m-%d\n%H:%M:%S") if isinstance(value, datetime) else ""
    )


def _describe_action(columns: Mapping[str, object]) -> str:
    action, attempts = escape(str(columns.get("action_type"))), _count_attempts(columns)
    return f"{action} {_TIMES}{attempts}" if attempts > 1 else action


def _count_attempts(columns: Mapping[str, object]) -> int:
    attempts = columns.get("attempts")
    return attempts if isinstance(attempts, int) else 1


def _is_spooled(columns: Mapping[str, object]) -> bool:
    return columns.get("spooled_at") is not None


def _describe_verdict(columns: Mapping[str, object]) -> Text:
    """Return the verdict with its marks, and the patterns that led to it."""
    verdict = escape(str(columns.get("verdict")))
    marks = ["audit"] * (columns.get("mode") == Mode.AUDIT) + ["spooled"] * _is_spooled(columns)
    lines = [", ".join([verdict, *marks]), *_patterns(columns.get("decision"))]
    return Text("\n".join(lines), style=_DENY_STYLE if verdict == "deny" else "")


def _describe_change(change: Mapping[str, object]) -> list[str]:
    """Return one line where it fits, else the field and its values in lines of their own."""
    where = " ".join(_show(change[name]) for name in ("container", "field") if change.get(name))
    before, after = _show(change.get("before")), _show(change.get("after"))
    values = f"{before} → {after}"
    if len(f"{where} {values}") <= _CHANGE_WIDTH:
        return [f"{where} {values}"]
    return [where, *([values] if len(values) <= _CHANGE_WIDTH else [f"{before} →", after])]


def _show(value: object) -> str:
    """Return a name as it is and other values as JSON, escaped and bounded."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return escape(_shorten(text), limit=_VALUE_AT_MOST)


def _shorten(text: str) -> str:
    """Leave out the middle of long text: images differ at their ends."""
    if len(text) <= _VALUE_AT_MOST:
        return text
    kept = (_VALUE_AT_MOST - 1) // 2
    return f"{text[:kept]}…{text[-kept:]}"


def _patterns(decision: object) -> list[str]:
    objections = decision.get("objections") if isinstance(decision, Mapping) else None
    return [
        break_after("-", escape(str(objection.get("pattern"))), width=_VERDICT_WIDTH)
        for objection in (objections if isinstance(objections, list) else [])
        if isinstance(objection, Mapping)
    ]
