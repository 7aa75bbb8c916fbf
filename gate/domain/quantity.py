"""Kubernetes quantities (`250m`, `1.5Gi`, `1e3`) as integers that compare.

Grammar: k8s.io/apimachinery/pkg/api/resource, `Quantity`.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from functools import lru_cache

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
_BYTE_SUFFIXES = [
    *((f"{suffix}i", 1024 ** (i + 1)) for i, suffix in reversed(list(enumerate("KMGTPE")))),
    *((suffix, 1000 ** (i + 1)) for i, suffix in reversed(list(enumerate("kMGTPE")))),
]
_LONGEST = 64
_LARGEST = Decimal(10) ** 30
# The same few quantities come again and again, in every object and every state of every trace.
_REMEMBERED = 4096


class Unit(StrEnum):
    """What an amount counts."""

    MILLICORES = "millicores"
    BYTES = "bytes"


UNITS = {"cpu": Unit.MILLICORES, "memory": Unit.BYTES}
_SCALES = {"cpu": 1000, "memory": 1}


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity as an integer number of units, rounded up as Kubernetes does."""

    value: int
    unit: Unit


def parse_quantity(text: str) -> Decimal | None:
    """Return the number a quantity stands for, or None when it is not a quantity."""
    return _parse(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=_REMEMBERED)
def _parse(text: str) -> Decimal | None:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number = Decimal(match["number"]) * _FACTORS[match["suffix"]]
    scaled = number.scaleb(int(match["exponent"] or 0))
    return scaled.normalize() if abs(scaled) < _LARGEST else None


def parse_amount(resource: str, text: str) -> Amount | None:
    """Return a cpu or memory quantity in its unit; None for other resources and nonsense."""
    is_amount = resource in UNITS and len(text) <= _LONGEST
    return _parse_amount(resource, text) if is_amount else None


@lru_cache(maxsize=_REMEMBERED)
def _parse_amount(resource: str, text: str) -> Amount | None:
    number = _parse(text)
    if number is None:
        return None
    scaled = number * _SCALES[resource]
    return Amount(int(scaled.to_integral_value(ROUND_CEILING)), UNITS[resource])


def describe_amount(amount: Amount) -> str:
    """Return an amount as a quantity in its largest whole unit, such as `512Mi`, `250m` or `2`."""
    if amount.unit is Unit.MILLICORES:
        cores, rest = divmod(amount.value, 1000)
        return f"{amount.value}m" if rest else str(cores)
    if amount.value:
        for suffix, factor in _BYTE_SUFFIXES:
            if amount.value % factor == 0:
                return f"{amount.value // factor}{suffix}"
    return str(amount.value)
