"""How numbers and untrusted text read in messages."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from gate.domain.move import Move

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_PATH_AT_MOST = 8


def describe_span(span: timedelta) -> str:
    """Return a duration in its two largest units, such as `1 h 5 min`."""
    if span < timedelta(seconds=1):
        return "less than 1 s"
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    shown = [f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if n]
    return " ".join(shown[:2])


def describe_instant(instant: datetime) -> str:
    """Return an instant in UTC to the second, such as `2026-11-24T08:00:00Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def describe_path(
    moves: Iterable[Move], *, then: int | None = None, show: Callable[[int], str] = str
) -> str:
    """Return the values a series of moves went through, without the oldest of many.

    `then` is what was found after them; `show` says how a value reads.
    """
    values: list[int] = []
    for move in moves:
        values += [value for value in (move.before, move.after) if value is not None]
    values += [] if then is None else [then]
    path = [value for index, value in enumerate(values) if index == 0 or value != values[index - 1]]
    shown = path[-_PATH_AT_MOST:]
    return ("… → " if len(path) > len(shown) else "") + " → ".join(map(show, shown))


def clean(text: str) -> str:
    """Return text that PostgreSQL can store: U+0000 and lone surrogates become U+FFFD."""
    if text.isprintable():
        return text
    return "".join(
        _REPLACEMENT if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text
    )


def escape(text: str, *, limit: int = 253) -> str:
    """Return untrusted text fit for one line: control characters escaped, the length bounded."""
    if text.isprintable() and len(text) <= limit:
        return text
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text[: limit + 1]
    )
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"
