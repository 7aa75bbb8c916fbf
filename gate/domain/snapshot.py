"""A workload's fields as flat values: the secret ones sealed, the quantities comparable.

Replicas, quantities, images, strategies and names are kept as they are. Everything else an object
carries (environment, arguments, annotations, volumes, …) is sealed before anything can store it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from gate.domain.canonical import encode
from gate.domain.quantity import Amount, parse_amount, parse_quantity
from gate.domain.seal import Seal

CONTEXT_PREFIX = "ai.prometheus-alerts-slm.io/"
RESTARTED_AT = ("kubectl.kubernetes.io/restartedAt", "robusta.kubernetes.io/restartedAt")
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)*", re.ASCII
)
PLAIN_SPEC = frozenset({
    "strategy", "updateStrategy", "paused", "minReadySeconds", "progressDeadlineSeconds",
    "revisionHistoryLimit", "selector", "serviceName", "podManagementPolicy", "ordinals",
    "persistentVolumeClaimRetentionPolicy",
})  # fmt: skip
_PLAIN_POD = frozenset({
    "restartPolicy", "terminationGracePeriodSeconds", "dnsPolicy", "serviceAccountName",
    "schedulerName", "priorityClassName", "hostNetwork", "nodeName",
})  # fmt: skip
_OWN_FIELDS = frozenset({"name", "image", "resources", "env", "envFrom"})


class Part(IntEnum):
    """Which part of a workload a field belongs to, most consequential first."""

    REPLICAS = 1
    RESOURCES = 2
    IMAGE = 3
    RESTART = 4
    ENVIRONMENT = 5
    TEMPLATE = 6
    STRATEGY = 7
    METADATA = 8


class Field(NamedTuple):
    """One field of a workload; `container` is empty outside containers.

    A tuple, since every review sorts and hashes hundreds of them.
    """

    part: Part
    container: str
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """What a field holds: as shown to people, and as compared."""

    shown: object = field(compare=False)
    compared: object


Snapshot = Mapping[Field, Value]
REPLICAS = Field(Part.REPLICAS, "", "replicas")


def take_snapshot(body: Mapping[str, object], seal: Seal) -> Snapshot:
    """Return every field of a Deployment, StatefulSet or Scale that counts as its state."""
    return _take(body, _Readings(seal))


def take_snapshots(
    old: Mapping[str, object] | None, new: Mapping[str, object] | None, seal: Seal
) -> tuple[Snapshot | None, Snapshot | None]:
    """Return the snapshots of an object before and after a request, as far as it has them.

    The two objects are mostly alike, and so is the effort: what is the same is read and sealed
    once, and its values are the same objects in both.
    """
    readings = _Readings(seal)
    before = None if old is None else _take(old, readings)
    return before, None if new is None else _take(new, readings)


class _Readings:
    """What was read of the parts of objects, so that the same part is read once."""

    def __init__(self, seal: Seal) -> None:
        self.seal = seal
        self._known: dict[tuple[object, bytes], Snapshot] = {}

    def read(self, reader: "_Reader", part: object) -> Snapshot:
        """Return the fields of a part; parts are the same where their JSON is."""
        if not isinstance(part, dict):
            return {}
        key = (reader, encode(part))
        fields = self._known.get(key)
        if fields is None:
            fields = self._known[key] = dict(reader(part, self))
        return fields


_Fields = Iterator[tuple[Field, Value]]
_Reader = Callable[[Mapping[str, object], _Readings], _Fields]


def _take(body: Mapping[str, object], readings: _Readings) -> Snapshot:
    spec = _mapping(body.get("spec"))
    if body.get("kind") == "Scale":
        return {REPLICAS: _plain(_replicas(spec, absent=0))}
    rest = {name: value for name, value in spec.items() if name not in ("replicas", "template")}
    metadata = _mapping(body.get("metadata"))
    return {
        REPLICAS: _plain(_replicas(spec, absent=1)),
        **readings.read(_template_fields, spec.get("template")),
        **readings.read(_spec_fields, rest),
        **readings.read(_label_fields, metadata.get("labels")),
        **readings.read(_annotation_fields, metadata.get("annotations")),
    }


def amount_of(value: Value | None) -> Amount | None:
    """Return the cpu or memory amount a value stands for, if it stands for one."""
    return value.compared if value is not None and isinstance(value.compared, Amount) else None


def _replicas(spec: Mapping[str, object], *, absent: int) -> int:
    value = spec.get("replicas")
    return value if isinstance(value, int) and not isinstance(value, bool) else absent


def _spec_fields(spec: Mapping[str, object], readings: _Readings) -> _Fields:
    for name, value in spec.items():
        if value is not None:
            kept = _plain(value) if name in PLAIN_SPEC else _sealed(value, readings)
            yield Field(Part.STRATEGY, "", name), kept


def _label_fields(labels: Mapping[str, object], _: _Readings) -> _Fields:
    for name, value in labels.items():
        yield Field(Part.METADATA, "", f"labels.{name}"), _plain(value)


def _annotation_fields(annotations: Mapping[str, object], readings: _Readings) -> _Fields:
    for name, value in annotations.items():
        yield Field(Part.METADATA, "", f"annotations.{name}"), _sealed(value, readings)


def _template_fields(template: Mapping[str, object], readings: _Readings) -> _Fields:
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


def _container_list_fields(listing: str, value: object, readings: _Readings) -> _Fields:
    containers = [_mapping(item) for item in value] if isinstance(value, list) else []
    names = [_name_of(container) for container in containers]
    yield Field(Part.TEMPLATE, "", f"template.{listing}"), _plain(names)
    for container in containers:
        yield from readings.read(_container_fields, container).items()


def _container_fields(body: Mapping[str, object], readings: _Readings) -> _Fields:
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
    container: str, resources: Mapping[str, object], readings: _Readings
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


def _environment_fields(container: str, body: Mapping[str, object], readings: _Readings) -> _Fields:
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


def _sealed(value: object, readings: _Readings) -> Value:
    kept = readings.seal(value)
    return Value(kept, kept)


def _timestamp(value: object, readings: _Readings) -> Value:
    is_time = isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None
    return _plain(value) if is_time else _sealed(value, readings)


def _quantity(resource: str, value: object) -> Value:
    text = str(value)
    amount = parse_amount(resource, text)
    number = parse_quantity(text) if amount is None else None
    return Value(text, amount if amount is not None else number if number is not None else text)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
