"""A workload's fields as flat values, in groups of what changes together.

Replicas, quantities, images, strategies and names are there as they are; whatever else may hold a
secret is sealed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from gate.domain.canonical import digest
from gate.domain.quantity import Amount

CONTEXT_PREFIX = "ai.prometheus-alerts-slm.io/"
RESTARTED_AT = ("kubectl.kubernetes.io/restartedAt", "robusta.kubernetes.io/restartedAt")


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


# Where the state of a trace keeps a field: by itself, or with its container's.
_ON_TOP = frozenset({Part.REPLICAS, Part.STRATEGY})
_IN_CONTAINERS = frozenset({Part.IMAGE, Part.RESOURCES})


class Field(NamedTuple):
    """One field of a workload; `container` is empty outside containers.

    A tuple, since reviews sort and hash hundreds of them.
    """

    part: Part
    container: str
    name: str


@dataclass(frozen=True, slots=True)
class Value:
    """What a field holds: as shown to people, and as compared."""

    shown: object = field(compare=False)
    compared: object


REPLICAS = Field(Part.REPLICAS, "", "replicas")


# Equal only to itself: a group that two snapshots share was read once.
@dataclass(frozen=True, eq=False)
class FieldGroup:
    """Fields of a workload that are read together; no two groups of a snapshot share one."""

    fields: Mapping[Field, Value]

    @cached_property
    def state(self) -> Mapping[str, object]:
        """Return what a trace's state keeps of these fields.

        Template and metadata have to be in one group each, for either is kept as one digest.
        """
        state: dict[str, object] = {}
        containers: dict[str, dict[str, object]] = {}
        restarted: dict[str, object] = {}
        rest: dict[str, dict[str, object]] = {}
        metadata: dict[str, object] = {}
        for (part, container, name), value in self.fields.items():
            if part in _ON_TOP:
                state[name] = value.shown
            elif part in _IN_CONTAINERS:
                containers.setdefault(container, {})[name] = value.shown
            elif part is Part.RESTART:
                restarted[name] = value.shown
            elif part is Part.METADATA:
                metadata[name] = value.shown
            else:
                rest.setdefault(container, {})[name] = value.shown
        if containers:
            state["containers"] = containers
        if restarted:
            state["restarted"] = restarted
        if rest:
            state["digest"] = digest(rest)
        if metadata:
            state["metadata"] = digest(metadata)
        return state


class Snapshot(Mapping[Field, Value]):
    """Every field of a workload that counts as its state."""

    __slots__ = ("groups",)

    def __init__(self, *groups: FieldGroup) -> None:
        self.groups = groups

    def __getitem__(self, field: Field) -> Value:
        """Return the value of a field, whichever group it is in."""
        for group in self.groups:
            if field in group.fields:
                return group.fields[field]
        raise KeyError(field)

    def __iter__(self) -> Iterator[Field]:
        """Yield the fields, one group after another."""
        return chain.from_iterable(group.fields for group in self.groups)

    def __len__(self) -> int:
        """Return how many fields there are."""
        return sum(len(group.fields) for group in self.groups)

    def beside(self, other: "Snapshot") -> Mapping[Field, Value]:
        """Return the fields of those groups that the other snapshot does not share."""
        own = [group.fields for group in self.groups if group not in other.groups]
        return own[0] if len(own) == 1 else dict(chain.from_iterable(f.items() for f in own))


def describe_state(snapshot: Snapshot) -> Mapping[str, object]:
    """Return the part of a snapshot kept as a trace's state: capacity, images and strategy.

    The rest is one digest of the template and one of the metadata, so that two states can still be
    told apart; the instants of restarts are kept out of them, so that states can be compared but
    for those.
    """
    state: dict[str, object] = {}
    for group in snapshot.groups:
        state.update(group.state)
    return state


def amount_of(value: Value | None) -> Amount | None:
    """Return the cpu or memory amount a value stands for, if it stands for one."""
    return value.compared if value is not None and isinstance(value.compared, Amount) else None
