"""How far a replay has come, for a person who waits."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gate.replay.log_file import LogFile


@contextmanager
def showing_progress(
    logs: Sequence[LogFile], *, beside_rows: bool
) -> Iterator[Callable[[int], None]]:
    """Show progress, in bytes, on standard error where that is a terminal.

    Not `beside_rows` that are printed meanwhile to the same terminal.
    """
    if not sys.stderr.isatty() or (beside_rows and sys.stdout.isatty()):
        yield lambda _: None
        return
    sizes = [log.size for log in logs if log.size is not None]
    total = sum(sizes) if len(sizes) == len(logs) else None
    from rich.console import Console  # noqa: PLC0415 - for terminals only
    from rich.progress import (  # noqa: PLC0415 - for terminals only
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("replay", total=total)
        yield lambda done: progress.update(task, completed=done)
