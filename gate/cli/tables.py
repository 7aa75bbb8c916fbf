"""Tables that fit 100 columns; what agents wrote is shown, never interpreted."""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gate.cli.console import show
from gate.domain.words import escape

_NARROWEST = 100
_VALUE_AT_MOST = 20_000


def print_table(table: Table) -> None:
    """Print a table to standard output, 100 columns wide where that is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal and console.width < _NARROWEST:
        console = Console(highlight=False, width=_NARROWEST)
    console.print(table)


def make_table(columns: Mapping[str, int | None], rows: Iterable[Sequence[Text]]) -> Table:
    """Return a table with these headings, of which some are at most so wide and fold."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for name, width in columns.items():
        table.add_column(Text(name), max_width=width, no_wrap=width is None, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def describe_row(row: Mapping[str, object]) -> Table:
    """Return one row of the database with a line for each column."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in row.items():
        table.add_row(Text(escape(name), style="bold"), Text(show(value, limit=_VALUE_AT_MOST)))
    return table


def text(*lines: object, style: str = "") -> Text:
    """Return a cell of one line for each value; untrusted values are escaped."""
    return Text("\n".join(show(line) for line in lines), style=style)
