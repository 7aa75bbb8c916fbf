"""One write to a workload that took effect, as an audit log tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from gate.domain.actor import Identity
from gate.domain.request import Body
from gate.domain.workload import Kind

KINDS = {"deployments": Kind.DEPLOYMENT, "statefulsets": Kind.STATEFUL_SET}
SUBRESOURCES = ("", "scale", "status")
# Instants outside leave no room for the times that are reckoned from them.
_YEARS = range(1971, 2201)
_DEEPEST = 64  # the deepest field of a workload lies at about 15


class UnreadableError(ValueError):
    """An entry of the log cannot be understood."""


class Verb(StrEnum):
    """How a write was asked for."""

    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    DELETE_COLLECTION = "deletecollection"


VERBS = frozenset(Verb)


@dataclass(frozen=True, slots=True)
class Call:
    """One write that the API server carried out.

    `name` is empty where many were deleted at once. `request` and `response` are None where the log
    leaves bodies out; the request of a patch is the patch. `is_creation` is set where a patch or an
    update made the object.
    """

    id: str
    at: datetime
    verb: Verb
    kind: Kind
    namespace: str
    name: str
    subresource: str
    identity: Identity
    is_creation: bool = False
    is_apply: bool = False
    is_selective: bool = False
    request: object = field(default=None, repr=False)
    response: Body | None = field(default=None, repr=False)


def parse_instant(value: object) -> datetime:
    """Return the instant of an RFC 3339 time; raises UnreadableError."""
    try:
        instant = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise UnreadableError("it tells no time") from None
    if instant.tzinfo is None or instant.year not in _YEARS:
        raise UnreadableError("it tells no usable time")
    return instant.astimezone(UTC)


def need_shallow(body: object) -> object:
    """Return a body that is nested no deeper than an object can be; raises UnreadableError."""
    level = [body]
    for _ in range(_DEEPEST):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return body
    raise UnreadableError("its bodies are nested too deeply")


def mapping(value: object) -> Mapping[str, object]:
    """Return a JSON object, empty where a value is none."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Return a JSON string, empty where a value is none."""
    return value if isinstance(value, str) else ""


def name_of(body: object) -> str:
    """Return the name in an object's metadata, empty where it has none."""
    return text(mapping(mapping(body).get("metadata")).get("name"))
