"""One admission request, parsed: nothing in it is optional that Kubernetes requires."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.domain.actor import Identity
from gate.domain.change import Operation
from gate.domain.workload import Kind

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """What the API server asks about: who wants to do what to which workload.

    `old` is None on CREATE, `new` on DELETE. Both are Scale objects where the subresource is
    `scale`, which carry replicas and no labels, annotations or generation. `problems` says what had
    to be replaced in the request's text.
    """

    uid: str
    operation: Operation
    namespace: str
    kind: Kind
    name: str
    subresource: str
    identity: Identity
    is_dry_run: bool
    old: Body | None = field(repr=False)
    new: Body | None = field(repr=False)
    problems: tuple[str, ...] = ()

    @property
    def latest(self) -> Body:
        """Return the newest body there is."""
        return self.new or self.old or {}


def metadata_of(body: Body | None) -> Mapping[str, object]:
    """Return an object's metadata, empty where there is none."""
    metadata = (body or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def text_map(value: object) -> dict[str, str]:
    """Return the entries of a map of labels or annotations whose values are text."""
    if not isinstance(value, dict):
        return {}
    return {str(name): text for name, text in value.items() if isinstance(text, str)}


def owners_of(body: Body | None) -> dict[str, str]:
    """Return the field managers that last wrote `spec.replicas`, where managedFields tell."""
    entries = metadata_of(body).get("managedFields")
    writers = [
        (str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and _writes_replicas(entry.get("fieldsV1"))
    ]
    return {"replicas": max(writers)[1]} if writers else {}


def _writes_replicas(fields: object) -> bool:
    spec = fields.get("f:spec") if isinstance(fields, dict) else None
    return isinstance(spec, dict) and "f:replicas" in spec
