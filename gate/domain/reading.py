"""Reading the fields of a workload: the secret ones sealed, the quantities comparable.

Replicas, quantities, images, strategies and names are kept as they are. Everything else an object
carries (environment, arguments, annotations, volumes, …) is sealed before anything can store it.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from gate.domain.canonical import encode
from gate.domain.quantity import parse_amount, parse_quantity
from gate.domain.seal import Seal
from gate.domain.snapshot import REPLICAS, RESTARTED_AT, Field, FieldGroup, Part, Snapshot, Value

_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)*", re.ASCII
)
_PLAIN_SPEC = frozenset({
    "strategy", "updateStrategy", "paused", "minReadySeconds", "progressDeadlineSeconds",
    "revisionHistoryLimit", "selector", "serviceName", "podManagementPolicy", "ordinals",
    "persistentVolumeClaimRetentionPolicy",
})  # fmt: skip
_PLAIN_POD = frozenset({
    "restartPolicy", "terminationGracePeriodSeconds", "dnsPolicy", "serviceAccountName",
    "schedulerName", "priorityClassName", "hostNetwork", "nodeName",
})  # fmt: skip
_OWN_FIELDS = frozenset({"name", "image", "resources", "env", "envFrom"})
_ROOM = 2 * 1024 * 1024  # bytes that remembered groups may take
_FIELD_SIZE = 300  # bytes that a field takes, besides its text
_GROUP_SIZE = 1000  # bytes that a group takes, besides its fields
_EMPTY = FieldGroup({})


class Readings:
    """What was read of the parts of objects, so that the same part is read once.

    Reviews ask about the same workloads again and again, and the two objects of one are mostly
    alike. Parts are the same where their JSON is; a keyed digest stands for it, so that no secret
    is kept. What was not needed for longest is forgotten when there is no room for more.
    """

    def __init__(self, seal: Seal, *, room: int = _ROOM) -> None:
        self.seal = seal
        self._room = room
        self._known: OrderedDict[tuple[_Reader, bytes], tuple[FieldGroup, int]] = OrderedDict()

    def read(self, reader: "_Reader", part: object) -> FieldGroup:
        """Return the fields of a part of an object."""
        if not isinstance(part, dict):
            return _EMPTY
        encoded = encode(part)
        key = (reader, self.seal.digest(encoded))
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[0]
        group = FieldGroup(dict(reader(part, self)))
        size = _GROUP_SIZE + len(group.fields) * _FIELD_SIZE + len(encoded)
        self._remember(key, group, size)
        return group

    def _remember(self, key: "tuple[_Reader, bytes]", group: FieldGroup, size: int) -> None:
        self._known[key] = group, size
        self._room -= size
        while self._room < 0:
            _, (_, freed) = self._known.popitem(last=False)
            self._room += freed


_Fields = Iterator[tuple[Field, Value]]
_Reader = Callable[[Mapping[str, object], Readings], _Fields]


def take_snapshot(body: Mapping[str, object], readings: Readings) -> Snapshot:
    """Return every field of a Deployment, StatefulSet or Scale that counts as its state."""
    spec = _mapping(body.get("spec"))
    if body.get("kind") == "Scale":
        return Snapshot(_replicas_group(_replicas(spec, absent=0)))
    rest = dict(spec)
    rest.pop("replicas", None)
    template = rest.pop("template", None)
    metadata = _mapping(body.get("metadata"))
    words = {"labels": metadata.get("labels"), "annotations": metadata.get("annotations")}
    # In this order, for a state's `containers` or `digest` win over fields of a spec called so.
    return Snapshot(
        _replicas_group(_replicas(spec, absent=1)),
        readings.read(_spec_fields, rest),
        readings.read(_template_fields, template),
        readings.read(_metadata_fields, words),
    )


def _replicas(spec: Mapping[str, object], *, absent: int) -> int:
    value = spec.get("replicas")
    return value if isinstance(value, int) and not isinstance(value, bool) else absent


@lru_cache
def _replicas_group(count: int) -> FieldGroup:
    return FieldGroup({REPLICAS: _plain(count)})


def _spec_fields(spec: Mapping[str, object], readings: Readings) -> _Fields:
    for name, value in spec.items():
        if value is not None:
            kept = _plain(value) if name in _PLAIN_SPEC else _sealed(value, readings)
            yield Field(Part.STRATEGY, "", name), kept


def _metadata_fields(metadata: Mapping[str, object], readings: Readings) -> _Fields:
    for name, value in _mapping(metadata["labels"]).items():
        yield Field(Part.METADATA, "", f"labels.{name}"), _plain(value)
    for name, value in _mapping(metadata["annotations"]).items():
        yield Field(Part.METADATA, "", f"annotations.{name}"), _sealed(value, readings)


def _template_fields(template: Mapping[str, object], readings: Readings) -> _Fields:
    metadata = _mapping(template.get("metadata"))
    for name, value in _mapping(metadata.get("labels")).items():
        yield Field(Part.TEMPLATE, "", f"template.labels.{name}"), _plain(value)
    for name, value in _mapping(metadata.get("annotations")).items():
        if name in RESTARTED_AT:
            yield Field(Part.RESTART, "", name), _timestamp(value, readings)
        else:
            yield Field(Part.TEMPLATE, "", f"template.annotations.{name}"), _sealed(value, readings)
    pod = _mapping(template.get("spec"))
    for name, value in pod.items():
        if name in ("containers", "initContainers"):
            yield from _container_list_fields(name, value, readings)
        elif name == "resources":
            yield from _resource_fields("", _mapping(value), readings)
        elif value is not None:
            kept = _plain(value) if name in _PLAIN_POD else _sealed(value, readings)
            yield Field(Part.TEMPLATE, "", f"template.{name}"), kept


def _container_list_fields(listing: str, value: object, readings: Readings) -> _Fields:
    containers = [_mapping(item) for item in value] if isinstance(value, list) else []
    names = [_name_of(container) for container in containers]
    yield Field(Part.TEMPLATE, "", f"template.{listing}"), _plain(names)
    for container in containers:
        yield from readings.read(_container_fields, container).fields.items()


def _container_fields(body: Mapping[str, object], readings: Readings) -> _Fields:
    container = _name_of(body)
    yield Field(Part.IMAGE, container, "image"), _plain(body.get("image", ""))
    yield from _resource_fields(container, _mapping(body.get("resources")), readings)
    yield from _environment_fields(container, body, readings)
    for name, value in body.items():
        if name not in _OWN_FIELDS and value is not None:
            yield Field(Part.TEMPLATE, container, name), _sealed(value, readings)


def _name_of(container: Mapping[str, object]) -> str:
    return str(container.get("name", ""))


def _resource_fields(
    container: str, resources: Mapping[str, object], readings: Readings
) -> _Fields:
    for group, entries in resources.items():
        if group in ("requests", "limits"):
            for name, value in _mapping(entries).items():
                yield Field(Part.RESOURCES, container, f"{group}.{name}"), _quantity(name, value)
        elif entries is not None:
            yield (
                Field(Part.TEMPLATE, container, f"resources.{group}"),
                _sealed(entries, readings),
            )


def _environment_fields(container: str, body: Mapping[str, object], readings: Readings) -> _Fields:
    variables: dict[str, list[object]] = {}
    listed = body.get("env")
    for item in listed if isinstance(listed, list) else []:
        entry = _mapping(item)
        rest = {key: value for key, value in entry.items() if key != "name"}
        variables.setdefault(str(entry.get("name", "")), []).append(rest)
    for name, definitions in variables.items():
        yield Field(Part.ENVIRONMENT, container, f"env.{name}"), _sealed(definitions, readings)
    if body.get("envFrom"):
        yield Field(Part.ENVIRONMENT, container, "envFrom"), _sealed(body["envFrom"], readings)


def _plain(value: object) -> Value:
    kept = _bounded(value)
    return Value(kept, kept)


def _bounded(value: object) -> object:
    """Return a JSON value as it can be stored: integers beyond 64 bits become text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {name: _bounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_bounded(item) for item in value]
    return str(value) if isinstance(value, int) and value.bit_length() > 63 else value


def _sealed(value: object, readings: Readings) -> Value:
    kept = readings.seal(value)
    return Value(kept, kept)


def _timestamp(value: object, readings: Readings) -> Value:
    is_time = isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None
    return _plain(value) if is_time else _sealed(value, readings)


def _quantity(resource: str, value: object) -> Value:
    text = str(value)
    amount = parse_amount(resource, text)
    number = parse_quantity(text) if amount is None else None
    return Value(text, amount if amount is not None else number if number is not None else text)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
