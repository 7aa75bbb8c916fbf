"""A workload's fields as flat values: the secret ones sealed, the quantities comparable.

Replicas, quantities, images, strategies and names are kept as they are. Everything else an object
carries (environment, arguments, annotations, volumes, …) is sealed before anything can store it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from gate.domain.quantity import Amount, parse_amount, parse_quantity
from gate.domain.seal import Seal

CONTEXT_PREFIX = "ai.prometheus-alerts-slm.io/"
RESTARTED_AT = ("kubectl.kubernetes.io/restartedAt", "robusta.kubernetes.io/restartedAt")
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
    spec = _mapping(body.get("spec"))
    if body.get("kind") == "Scale":
        return {REPLICAS: _plain(_replicas(spec, absent=0))}
    return {
        REPLICAS: _plain(_replicas(spec, absent=1)),
        **dict(_template_fields(_mapping(spec.get("template")), seal)),
        **{
            Field(Part.STRATEGY, "", name): _plain(value)
            if name in _PLAIN_SPEC
            else _sealed(value, seal)
            for name, value in spec.items()
            if name not in ("replicas", "template") and value is not None
        },
        **dict(_metadata_fields(_mapping(body.get("metadata")), seal)),
    }


def amount_of(value: Value | None) -> Amount | None:
    """Return the cpu or memory amount a value stands for, if it stands for one."""
    return value.compared if value is not None and isinstance(value.compared, Amount) else None


def _replicas(spec: Mapping[str, object], *, absent: int) -> int:
    value = spec.get("replicas")
    return value if isinstance(value, int) and not isinstance(value, bool) else absent


def _template_fields(template: Mapping[str, object], seal: Seal) -> Iterator[tuple[Field, Value]]:
    metadata = _mapping(template.get("metadata"))
    for name, value in _mapping(metadata.get("labels")).items():
        yield Field(Part.TEMPLATE, "", f"template.labels.{name}"), _plain(value)
    for name, value in _mapping(metadata.get("annotations")).items():
        if name in RESTARTED_AT:
            yield Field(Part.RESTART, "", name), _timestamp(value, seal)
        else:
            yield Field(Part.TEMPLATE, "", f"template.annotations.{name}"), _sealed(value, seal)
    pod = _mapping(template.get("spec"))
    for name, value in pod.items():
        if name in ("containers", "initContainers"):
            yield from _container_list_fields(name, value, seal)
        elif name == "resources":
            yield from _resource_fields("", _mapping(value), seal)
        elif value is not None:
            kept = _plain(value) if name in _PLAIN_POD else _sealed(value, seal)
            yield Field(Part.TEMPLATE, "", f"template.{name}"), kept


def _container_list_fields(
    listing: str, value: object, seal: Seal
) -> Iterator[tuple[Field, Value]]:
    containers = [_mapping(item) for item in value] if isinstance(value, list) else []
    names = [str(container.get("name", "")) for container in containers]
    yield Field(Part.TEMPLATE, "", f"template.{listing}"), _plain(names)
    for name, container in zip(names, containers, strict=True):
        yield from _container_fields(name, container, seal)


def _container_fields(
    container: str, body: Mapping[str, object], seal: Seal
) -> Iterator[tuple[Field, Value]]:
    yield Field(Part.IMAGE, container, "image"), _plain(body.get("image", ""))
    yield from _resource_fields(container, _mapping(body.get("resources")), seal)
    yield from _environment_fields(container, body, seal)
    for name, value in body.items():
        if name not in _OWN_FIELDS and value is not None:
            yield Field(Part.TEMPLATE, container, name), _sealed(value, seal)


def _resource_fields(
    container: str, resources: Mapping[str, object], seal: Seal
) -> Iterator[tuple[Field, Value]]:
    for group, entries in resources.items():
        if group in ("requests", "limits"):
            for name, value in _mapping(entries).items():
                yield Field(Part.RESOURCES, container, f"{group}.{name}"), _quantity(name, value)
        elif entries is not None:
            yield Field(Part.TEMPLATE, container, f"resources.{group}"), _sealed(entries, seal)


def _environment_fields(
    container: str, body: Mapping[str, object], seal: Seal
) -> Iterator[tuple[Field, Value]]:
    variables: dict[str, list[object]] = {}
    listed = body.get("env")
    for item in listed if isinstance(listed, list) else []:
        entry = _mapping(item)
        rest = {key: value for key, value in entry.items() if key != "name"}
        variables.setdefault(str(entry.get("name", "")), []).append(rest)
    for name, definitions in variables.items():
        yield Field(Part.ENVIRONMENT, container, f"env.{name}"), _sealed(definitions, seal)
    if body.get("envFrom"):
        yield Field(Part.ENVIRONMENT, container, "envFrom"), _sealed(body["envFrom"], seal)


def _metadata_fields(metadata: Mapping[str, object], seal: Seal) -> Iterator[tuple[Field, Value]]:
    for name, value in _mapping(metadata.get("labels")).items():
        yield Field(Part.METADATA, "", f"labels.{name}"), _plain(value)
    for name, value in _mapping(metadata.get("annotations")).items():
        yield Field(Part.METADATA, "", f"annotations.{name}"), _sealed(value, seal)


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


def _sealed(value: object, seal: Seal) -> Value:
    return _plain(seal(value))


def _timestamp(value: object, seal: Seal) -> Value:
    is_time = isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None
    return _plain(value) if is_time else _sealed(value, seal)


def _quantity(resource: str, value: object) -> Value:
    text = str(value)
    amount = parse_amount(resource, text)
    number = parse_quantity(text)
    return Value(text, amount if amount is not None else number if number is not None else text)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
