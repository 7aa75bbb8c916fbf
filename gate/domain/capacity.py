"""The numbers that a workload's capacity is made of: replicas, and what its containers ask for.

For people and on record, such a field reads `replicas` or `web limits.memory`.
"""

from collections.abc import Iterable

from gate.domain.quantity import UNITS, Amount, describe_amount
from gate.domain.snapshot import REPLICAS, Field, Part
from gate.domain.trace import UNLIMITED

RESOURCE_NAMES = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
ABSENT = "none"


def capacity_fields(changed: Iterable[tuple[str, str]]) -> tuple[Field, ...]:
    """Return the fields of capacity among those that a change touches, by container and name."""
    return tuple(
        [
            REPLICAS if name == REPLICAS.name else Field(Part.RESOURCES, container, name)
            for container, name in sorted(changed)
            if (container, name) == ("", REPLICAS.name) or name in RESOURCE_NAMES
        ]
    )


def resource_fields(changed: Iterable[tuple[str, str]]) -> tuple[Field, ...]:
    """Return the requests and limits of cpu and memory among those that a change touches."""
    return tuple([field for field in capacity_fields(changed) if field != REPLICAS])


def field_text(field: Field) -> str:
    """Return how a field reads, such as `replicas` or `web limits.memory`."""
    return f"{field.container} {field.name}" if field.container else field.name


def parse_field(text: str) -> Field:
    """Return the field that a text of `field_text` stands for."""
    if text == REPLICAS.name:
        return REPLICAS
    container, _, name = text.rpartition(" ")
    return Field(Part.RESOURCES, container, name)


def describe_number(field: Field, number: int) -> str:
    """Return what a field holds as people write it, such as `5`, `512Mi` or `250m`.

    A request or limit that is not there is `none`.
    """
    group, _, resource = field.name.partition(".")
    unit = UNITS.get(resource)
    if unit is None:
        return str(number)
    if (group == "limits" and number >= UNLIMITED) or (group == "requests" and number == 0):
        return ABSENT
    return describe_amount(Amount(number, unit))


def describe_holding(field: Field, number: int) -> str:
    """Return a number with what it is of, such as `5 replicas` or `512Mi of web limits.memory`."""
    if field == REPLICAS:
        return f"{number} replicas"
    return f"{describe_number(field, number)} of {field_text(field)}"
