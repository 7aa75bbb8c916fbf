"""The wall clock; everything else takes `now`, or this function."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return this instant in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place that asks the clock
