"""What the arrays of `read_histories` hold, in their order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The columns of an array by their order, each with the types that it may have."""

    columns: Mapping[str, type | tuple[type, ...]]


_NOTHING = type(None)
_TEXT = (str, _NOTHING)
_LIST = (list, _NOTHING)
_DICT = (dict, _NOTHING)
TRACE = Shape(
    {
        "action_id": str,
        "version": int,
        "action_timestamp": str,
        "operation": str,
        "subresource": str,
        "resource_uid": _TEXT,
        "old_resource_version": _TEXT,
        "old_generation": (int, _NOTHING),
        "actor": str,
        "action_type": str,
        "verdict": str,
        "execution_status": str,
        "resource_state_before": _DICT,
        "resource_state_after": _DICT,
        "changes": list,
        "change_fingerprint": str,
        "request_fingerprint": str,
        "request_uid": str,
        "alert_name": _TEXT,
        "correlation_id": _TEXT,
        "remarks": _LIST,
    }
)
REMARKS = Shape(
    {
        "effectiveness_score": (int, float, _NOTHING),
        "alert_resolved": object,
        "follow_up_actions": _LIST,
        "execution_error": _TEXT,
        "warnings": _LIST,
        "suggests": list,
        "approval": _DICT,
        "is_undecided": bool,
    }
)
NEARBY = Shape(
    {
        "kind": str,
        "name": str,
        "action_id": str,
        "action_timestamp": str,
        "actor": str,
        "action_type": str,
        "execution_status": str,
        "execution_error": _TEXT,
        "alert_resolved": object,
    }
)


def take_values(item: object, shape: Shape) -> list[Any]:
    """Return the values of an array; raises TypeError where one is not of its column's types."""
    if not isinstance(item, list):
        raise TypeError(f"an array is {type(item).__name__}")
    _require(shape, tuple(map(type, item)))
    return item


# There are few combinations of types, and many thousand arrays.
@lru_cache(maxsize=1024)
def _require(shape: Shape, found: tuple[type, ...]) -> None:
    for (name, expected), actual in zip(shape.columns.items(), found, strict=True):
        if not issubclass(actual, expected):
            raise TypeError(f"{name} is {actual.__name__}")
