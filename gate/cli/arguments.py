"""What people write on the command line, parsed once."""

import re
from datetime import timedelta
from enum import StrEnum

from gate.domain.words import escape
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import GateError

_KINDS = {
    "deployment": Kind.DEPLOYMENT,
    "deployments": Kind.DEPLOYMENT,
    "deploy": Kind.DEPLOYMENT,
    "statefulset": Kind.STATEFUL_SET,
    "statefulsets": Kind.STATEFUL_SET,
    "sts": Kind.STATEFUL_SET,
}
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)


class Output(StrEnum):
    """How something is printed."""

    TABLE = "table"
    JSON = "json"


class ReportOutput(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"


class BadArgumentError(GateError):
    """An argument is not what the command takes; the message says what is."""


def parse_reference(text: str, *, cluster: str) -> WorkloadKey:
    """Return the workload that NAMESPACE/KIND/NAME means; raises BadArgumentError."""
    parts = text.split("/")
    kind = _KINDS.get(parts[1].lower()) if len(parts) == 3 else None
    if kind is None or not all(parts):
        raise BadArgumentError(
            f"{escape(text, limit=80)!r} names no workload: write NAMESPACE/KIND/NAME, where KIND"
            f" is Deployment (deploy) or StatefulSet (sts), such as shop/Deployment/web"
        )
    return WorkloadKey(cluster, parts[0], kind, parts[2])


def parse_span(text: str) -> timedelta:
    """Return the time that a number with a unit means, such as 24h; raises BadArgumentError."""
    match = _SPAN.fullmatch(text)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta(0)
    if not timedelta(0) < span <= _LONGEST:
        raise BadArgumentError(
            f"--since {escape(text, limit=40)!r} is no time: write a number above 0 and s, m, h, d"
            f" or w, such as 24h or 7d"
        )
    return span
