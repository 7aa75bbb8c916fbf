"""One admission request, parsed: nothing in it is optional that Kubernetes requires."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gate.domain.actor import Identity
from gate.domain.change import Operation
from gate.domain.snapshot import REPLICAS
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


def owners_of(body: Body | None) -> dict[tuple[str, str], str]:
    """Return who wrote replicas, images, requests and limits last, by container and name.

    That is what managedFields tell of field managers; several may own one field with one value.
    """
    entries = metadata_of(body).get("managedFields")
    writers = [
        (str(entry.get("time", "")), str(entry.get("manager", "")), _child(entry, "fieldsV1"))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    ]
    oldest_first = sorted(writers, key=lambda writer: writer[:2])
    return {item: manager for _, manager, fields in oldest_first for item in _written(fields)}


def _written(fields: Body) -> Iterator[tuple[str, str]]:
    spec = _child(fields, "f:spec")
    if REPLICAS.name in _names(spec):
        yield REPLICAS.container, REPLICAS.name
    pod = _child(spec, "f:template", "f:spec")
    for listing in ("f:containers", "f:initContainers"):
        for key, parts in _child(pod, listing).items():
            container = _name_in(key)
            if isinstance(parts, dict) and "f:image" in parts:
                yield container, "image"
            for name in _resource_names(parts):
                yield container, name
    for name in _resource_names(pod):
        yield "", name


def _resource_names(parts: object) -> Iterator[str]:
    for group in ("requests", "limits"):
        for resource in _names(_child(parts, "f:resources", f"f:{group}")):
            yield f"{group}.{resource}"


def _child(value: object, *path: str) -> Body:
    """Return the mapping that a path leads to, empty where there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _names(fields: Body) -> Iterator[str]:
    """Yield the names of fields, without those of keys and of the mapping itself."""
    return (name.removeprefix("f:") for name in fields if name.startswith("f:"))


def _name_in(key: str) -> str:
    """Return the container that a key such as `k:{"name":"web"}` stands for."""
    return key.removeprefix('k:{"name":"').removesuffix('"}')
