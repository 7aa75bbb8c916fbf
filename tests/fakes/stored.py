"""What the JSON columns of a trace read back as."""

from collections.abc import Mapping

import orjson


def through_json(value: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Return what a JSON column makes of a value."""
    stored: dict[str, object] | None = orjson.loads(orjson.dumps(value))
    return stored


def kept_decision(decision: Mapping[str, object]) -> Mapping[str, object]:
    """Return those parts of a decision that are read back."""
    stored = through_json(decision) or {}
    objections = stored.get("objections")
    suggestions = [
        {"suggests": objection["suggests"]}
        for objection in (objections if isinstance(objections, list) else ())
        if "suggests" in objection
    ]
    kept: dict[str, object] = {"objections": suggestions} if suggestions else {}
    kept |= {name: stored[name] for name in ("warnings", "approval") if name in stored}
    is_undecided = "contention" in stored or "outage" in stored
    return kept | ({"undecided": True} if is_undecided else {})


def stored_changes(
    parameters: Mapping[str, object],
) -> Mapping[tuple[str, str], tuple[object, object]]:
    """Return the values before and after that the parameters of a trace hold."""
    stored = through_json(parameters) or {}
    changes = stored["changes"]
    assert isinstance(changes, list)
    return {
        (change.get("container", ""), change["field"]): (change["before"], change["after"])
        for change in changes
    }
