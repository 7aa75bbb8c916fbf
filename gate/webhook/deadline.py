"""How long the API server waits for an answer."""

import re
from datetime import timedelta
from functools import lru_cache

# The API server rounds its time-out up to whole seconds and counts from before it connects.
_MARGIN = timedelta(seconds=0.35)
_DEFAULT = timedelta(seconds=10)
_LONGEST = timedelta(seconds=30)
_DURATION = re.compile(r"(?:\d{1,12}(?:\.\d{0,9})?(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_TERM = re.compile(r"([\d.]+)([a-zµμ]+)", re.ASCII)
_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip


# The API server sends the same one with every review of a webhook.
@lru_cache(maxsize=64)
def read_time_limit(text: str) -> timedelta:
    """Return how long an answer may take, from a time-out as a Go duration such as `3s` or `1m0s`.

    A margin is kept, so that the answer arrives in time. A missing or impossible time-out counts as
    10 s, the API server's default; more than 30 s is never waited for.
    """
    timeout = _read_duration(text) or _DEFAULT
    return timeout - min(_MARGIN, timeout / 2)


def _read_duration(text: str) -> timedelta | None:
    if len(text) > 32 or _DURATION.fullmatch(text) is None:
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _TERM.findall(text))
    return timedelta(seconds=min(seconds, _LONGEST.total_seconds())) or None
