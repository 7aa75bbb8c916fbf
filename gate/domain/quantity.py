"""Kubernetes quantities (`250m`, `1.5Gi`, `1e3`) as integers that compare.

Grammar: k8s.io/apimachinery/pkg/api/resource, `Quantity`.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))"
    r"(?:(?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?\d{1,3}))?",
    re.ASCII,
)
_FACTORS: dict[str | None, Decimal] = {
    None: Decimal(1),
    **{suffix: Decimal(10) ** (3 * (i - 3)) for i, suffix in enumerate("num")},
    **{suffix: Decimal(10) ** (3 * (i + 1)) for i, suffix in enumerate("kMGTPE")},
    **{f"{suffix}i": Decimal(1024) ** (i + 1) for i, suffix in enumerate("KMGTPE")},
}
_LONGEST = 64
_LARGEST = Decimal(10) ** 30


class Unit(StrEnum):
    """What an amount counts."""

    MILLICORES = "millicores"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity as an integer number of units, rounded up as Kubernetes does."""

    value: int
    unit: Unit


def parse_quantity(text: str) -> Decimal | None:
    """Return the number a quantity stands for, or None when it is not a quantity."""
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    number = Decimal(match["number"]) * _FACTORS[match["suffix"]]
    scaled = number.scaleb(int(match["exponent"] or 0))
    return scaled.normalize() if abs(scaled) < _LARGEST else None


def parse_amount(resource: str, text: str) -> Amount | None:
    """Return a cpu or memory quantity in its unit; None for other resources and nonsense."""
    scale, unit = {
        "cpu": (1000, Unit.MILLICORES),
        "memory": (1, Unit.BYTES),
    }.get(resource, (0, Unit.BYTES))
    number = parse_quantity(text) if scale else None
    if number is None:
        return None
    return Amount(int((number * scale).to_integral_value(ROUND_CEILING)), unit)
