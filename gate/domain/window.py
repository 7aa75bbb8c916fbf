"""When events leave a window, to the whole second that people are told."""

from collections.abc import Iterable
from datetime import datetime, timedelta


def next_second(instant: datetime) -> datetime:
    """Return the first whole second strictly after an instant."""
    return instant.replace(microsecond=0) + timedelta(seconds=1)


def find_end(instants: Iterable[datetime], *, needed: int, window: timedelta) -> datetime:
    """Return the first whole second at which fewer than `needed` of some events are within it."""
    return next_second(sorted(instants)[-needed] + window)
