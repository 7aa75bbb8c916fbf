"""Whether a change was undone later: its values back where they were before it, or half way."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from gate.domain.observation import Item, Observation
from gate.domain.quantity import parse_quantity
from gate.domain.trace import State

REPLICAS_ITEM: Item = ("", "replicas")
_IRREVERSIBLE = "restarted"  # a restart has happened, whatever its annotation says later


@dataclass(frozen=True, slots=True)
class Undoing:
    """That values of a change were moved back by at least half; `by` is who, where that is known.

    `action_id` is the agent's change that did it; without one it was somebody else, and `by` the
    field manager. `is_whole` where everything is as it was before the change.
    """

    at: datetime
    items: tuple[Item, ...]
    is_whole: bool
    by: str | None = None
    action_id: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return the entry of a trace's `follow_up_actions`."""
        kind = {"type": "undone"} if self.action_id is None else {"type": "reverted"}
        fields = [
            {"container": container, "field": name} if container else {"field": name}
            for container, name in self.items
        ]
        return {
            **kind,
            "by": self.by,
            "at": self.at.isoformat(),
            "fields": fields,
            "whole": self.is_whole,
            **({} if self.action_id is None else {"action_id": self.action_id}),
        }


def find_undoing(before: State | None, after: State | None, seen: Observation) -> Undoing | None:
    """Return how far a later state has undone a change; None where none of its values is back."""
    old, new, now = flatten(before), flatten(after), flatten(None if seen.is_gone else seen.state)
    items = [item for item in find_items(before, after) if item[1] != _IRREVERSIBLE]
    back = [item for item in items if _is_back(item, old.get(item), new.get(item), now.get(item))]
    if not back:
        return None
    is_whole = all(is_equal(item, old.get(item), now.get(item)) for item in items)
    owners = (seen.owners[item] for item in back if item in seen.owners)
    return Undoing(at=seen.at, items=tuple(back), is_whole=is_whole, by=next(owners, None))


def find_items(before: State | None, after: State | None) -> list[Item]:
    """Return what differs between two states of one workload, in a stable order.

    A Scale shows replicas alone. Metadata is left out where anything else differs: others write it
    at any time.
    """
    old, new = flatten(before), flatten(after)
    different = [
        item for item in sorted({**old, **new}) if not is_equal(item, old.get(item), new.get(item))
    ]
    return [item for item in different if item != ("", "metadata")] or different


def flatten(state: State | None) -> dict[Item, object]:
    """Return the values of a state by container and name; no object holds no replicas."""
    return {REPLICAS_ITEM: 0} if state is None else dict(_items(state))


def is_equal(item: Item, one: object, other: object) -> bool:
    """Tell whether two values of an item are the same amount, or else alike in every respect."""
    if one == other:
        return True
    first, second = _as_number(item, one), _as_number(item, other)
    return first is not None and first == second


def _items(state: State) -> Iterator[tuple[Item, object]]:
    for name, value in state.items():
        if name != "containers":
            yield ("", name), value
            continue
        for container, entries in value.items() if isinstance(value, dict) else ():
            for field, held in entries.items() if isinstance(entries, dict) else ():
                yield (container, field), held


def _is_back(item: Item, before: object, after: object, now: object) -> bool:
    old, new, present = (_as_number(item, value) for value in (before, after, now))
    if old is None or new is None or present is None:
        return is_equal(item, before, now)
    return 2 * abs(present - new) >= abs(new - old) and (present - new) * (old - new) > 0


def _as_number(item: Item, value: object) -> float | None:
    if item == REPLICAS_ITEM:
        return value if isinstance(value, int) else None
    is_quantity = item[1].startswith(("requests.", "limits."))
    number = parse_quantity(value) if is_quantity and isinstance(value, str) else None
    return None if number is None else float(number)
