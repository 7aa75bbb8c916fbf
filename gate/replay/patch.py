"""What a patch makes of an object, where the log holds no response that shows it.

An audit log does not tell the content type of a patch. A list is a JSON patch; an object is taken
as a strategic merge patch, which for a workload differs from a JSON merge patch only in lists whose
items have names. Server-side apply is taken as a merge too: what it drops without a word stays.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

_STRATEGY = "$patch"
_KEYS = {
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_NAME = ("name",)


# Parts of an object that are not kept, since nothing is decided by them.
_NOT_KEPT = ("/metadata/managedFields", "/metadata/resourceVersion", "/status")


class UnpatchableError(ValueError):
    """A patch does not fit what is known of the object."""


def apply_patch(body: Mapping[str, object], patch: object) -> dict[str, object]:
    """Return an object after a patch; raises UnpatchableError."""
    if isinstance(patch, list):
        document: dict[str, object] = copy.deepcopy(dict(body))
        for step in patch:
            if not _is_of_no_account(step):
                _take_step(document, step)
        return document
    if isinstance(patch, dict):
        return _merge(body, patch)
    raise UnpatchableError("it is neither a list nor an object")


def outline_patch(patch: object) -> dict[str, object]:
    """Return the fields that a patch sets, as the part of an object that they are.

    Raises UnpatchableError where it cannot be told without the object.
    """
    if isinstance(patch, dict):
        return _merge({}, patch)
    outline: dict[str, object] = {}
    for step in patch if isinstance(patch, list) else [None]:
        if _is_of_no_account(step):
            continue
        match step:
            case {"op": "add" | "replace", "path": str(path), "value": value}:
                _set(outline, path, value)
            case {"op": "test"}:
                pass
            case _:
                raise UnpatchableError("what it does depends on the object")
    return outline


def _set(outline: dict[str, object], path: str, value: object) -> None:
    *names, last = _split(path)
    if any(name == "-" or name.isdecimal() for name in (*names, last)):
        raise UnpatchableError("what it does depends on a list of the object")
    for name in names:
        inner = outline.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UnpatchableError("it sets a field of what has none")
        outline = inner
    outline[last] = value


def _merge(body: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, object]:
    if patch.get(_STRATEGY) == "replace":
        return {name: value for name, value in patch.items() if name != _STRATEGY}
    merged = dict(body)
    for name, value in patch.items():
        held = merged.get(name)
        if name.startswith("$"):
            continue
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merge(held if isinstance(held, dict) else {}, value)
        elif isinstance(value, list) and isinstance(held, list):
            merged[name] = _merge_list(held, value, _KEYS.get(name, _NAME))
        elif isinstance(value, list):
            merged[name] = _merge_list([], value, _KEYS.get(name, _NAME))
        else:
            merged[name] = value
    return merged


def _merge_list(held: list[Any], patch: list[Any], keys: Sequence[str]) -> list[Any]:
    """Merge lists whose items are told apart by their keys; any other list is replaced."""
    items = [item for item in patch if isinstance(item, dict) and _STRATEGY in item]
    if any(item[_STRATEGY] == "replace" for item in items):
        return [item for item in patch if item not in items]
    if not all(_has_keys(item, keys) for item in (*held, *patch)):
        return [item for item in patch if item not in items]
    merged = {_identity(item, keys): item for item in held}
    for item in patch:
        identity = _identity(item, keys)
        if item.get(_STRATEGY) == "delete":
            merged.pop(identity, None)
        else:
            merged[identity] = _merge(merged.get(identity, {}), item)
    return list(merged.values())


def _has_keys(item: object, keys: Sequence[str]) -> bool:
    return isinstance(item, dict) and all(key in item for key in keys)


def _identity(item: Mapping[str, object], keys: Sequence[str]) -> str:
    return repr([item[key] for key in keys])


def _is_of_no_account(step: object) -> bool:
    path = step.get("path") if isinstance(step, dict) else None
    return isinstance(path, str) and path.startswith(_NOT_KEPT)


def _take_step(document: dict[str, object], step: object) -> None:
    """Take one step of a JSON patch (RFC 6902) in place."""
    match step:
        case {"op": "add", "path": str(path), "value": value}:
            _add(document, path, copy.deepcopy(value))
        case {"op": "replace", "path": str(path), "value": value}:
            _replace(document, path, copy.deepcopy(value))
        case {"op": "remove", "path": str(path)}:
            _remove(document, path)
        case {"op": "move", "from": str(start), "path": str(path)}:
            _add(document, path, _remove(document, start))
        case {"op": "copy", "from": str(start), "path": str(path)}:
            parent, key = _find(document, start)
            _add(document, path, copy.deepcopy(_get(parent, key)))
        case {"op": "test"}:
            pass  # it held, else the API server had refused the patch
        case _:
            raise UnpatchableError("it holds a step that is none of RFC 6902")


def _find(document: object, path: str) -> tuple[Any, str]:
    """Return what holds the end of a path, and the name or index of that end."""
    *names, last = _split(path)
    parent = document
    for name in names:
        parent = _get(parent, name)
    return parent, last


def _split(path: str) -> list[str]:
    """Return the names in a JSON pointer (RFC 6901)."""
    if not path.startswith("/"):
        raise UnpatchableError("it replaces the whole object")
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _get(parent: Any, name: str) -> Any:
    if isinstance(parent, dict) and name in parent:
        return parent[name]
    if isinstance(parent, list):
        return parent[_index(name, len(parent) - 1)]
    raise UnpatchableError("it names a field that is not known")


def _add(document: object, path: str, value: object) -> None:
    parent, name = _find(document, path)
    if isinstance(parent, dict):
        parent[name] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if name == "-" else _index(name, len(parent)), value)
    else:
        raise UnpatchableError("it adds to what holds nothing")


def _replace(document: object, path: str, value: object) -> None:
    parent, name = _find(document, path)
    if isinstance(parent, dict):
        parent[name] = value
    elif isinstance(parent, list):
        parent[_index(name, len(parent) - 1)] = value
    else:
        raise UnpatchableError("it replaces what holds nothing")


def _remove(document: object, path: str) -> object:
    parent, name = _find(document, path)
    found: object = _get(parent, name)
    if isinstance(parent, dict):
        del parent[name]
    else:
        del parent[_index(name, len(parent) - 1)]
    return found


def _index(name: str, last: int) -> int:
    if not (name.isascii() and name.isdecimal() and len(name) < 9 and int(name) <= last):
        raise UnpatchableError("it names an item that is not known")
    return int(name)
