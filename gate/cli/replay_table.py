"""A replay as tables; what the log holds is shown, never interpreted."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.cli.history_table import break_after
from gate.domain.words import escape
from gate.replay.comparison import Comparison, Difference
from gate.replay.report import (
    Report,
    describe_comparison,
    describe_input,
    describe_result,
    list_notes,
)
from gate.replay.row import Disposition
from gate.replay.summary import Line

_NARROWEST = 130
_NAME_WIDTH = 27
_LINES_AT_MOST = 40
_DIFFERENCES_AT_MOST = 60
_DISPOSITIONS = {
    Disposition.ADMITS: "admits",
    Disposition.WARNS: "admits",
    Disposition.WOULD_REFUSE: "would refuse (audit)",
    Disposition.REFUSES: "refuses",
}


def print_report(report: Report) -> None:
    """Print a replay to standard output."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal and console.width < _NARROWEST:
        console = Console(highlight=False, markup=False, width=_NARROWEST)
    console.print(describe_input(report))
    console.print(describe_result(report), style="bold")
    console.print()
    compared = describe_comparison(report)
    if report.comparison is not None and compared is not None:
        console.print(compared)
        _print_differences(console, report.comparison)
    else:
        _print_summary(console, report)
    for note in list_notes(report):
        console.print(f"Note: {note}")


def _print_summary(console: Console, report: Report) -> None:
    lines = report.summary.lines
    if not lines:
        return
    console.print(_build_table(lines[:_LINES_AT_MOST]))
    _print_more(console, len(lines) - _LINES_AT_MOST + report.summary.unlisted)


def _build_table(lines: Sequence[Line]) -> Table:
    table = _make_table()
    for name in ("workload", "actor"):
        table.add_column(name, overflow="fold", max_width=_NAME_WIDTH)
    table.add_column("pattern", overflow="fold")
    for name in ("changes", "refused", "episodes", "warned"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("first refused", no_wrap=True)
    for line in lines:
        refused = line.refused or line.would_be_refused
        audit = " (audit)" if line.would_be_refused and not line.refused else ""
        first = line.first_refused
        table.add_row(
            _name(line.subject.workload),
            _name(line.subject.actor),
            Text(escape(line.subject.pattern)),
            str(line.changes),
            Text(f"{refused}{audit}" if refused else "", style="bold red"),
            str(line.episodes or ""),
            str(line.warned or ""),
            "" if first is None else f"{first:%m-%d %H:%M}",
        )
    return table


def _print_differences(console: Console, comparison: Comparison) -> None:
    if not comparison.kept:
        return
    table = _make_table()
    table.add_column("time", no_wrap=True)
    for name in ("workload", "actor"):
        table.add_column(name, overflow="fold", max_width=_NAME_WIDTH)
    table.add_column("change", overflow="fold")
    table.add_column("now", overflow="fold")
    table.add_column("then", overflow="fold")
    for difference in comparison.kept[:_DIFFERENCES_AT_MOST]:
        table.add_row(*_describe(difference))
    console.print(table)
    _print_more(console, comparison.refused + comparison.admitted - _DIFFERENCES_AT_MOST)


def _describe(difference: Difference) -> tuple[Text, ...]:
    first, second = difference.first, difference.second
    pattern = (second if difference.is_stricter else first).pattern or ""
    style = "bold red" if difference.is_stricter else "green"
    return (
        Text(f"{first.time:%m-%d %H:%M:%S}"),
        _name(first.workload),
        _name(first.actor),
        Text(f"{escape(first.action_type)}\n{escape(pattern)}"),
        Text(_DISPOSITIONS[first.disposition]),
        Text(_DISPOSITIONS[second.disposition], style=style),
    )


def _name(text: str) -> Text:
    return Text(break_after("/:", escape(text), width=_NAME_WIDTH))


def _make_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)


def _print_more(console: Console, number: int) -> None:
    if number > 0:
        console.print(f"And {number:,} more: --output html shows more, --output json all.")
