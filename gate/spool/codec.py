"""Recordings as JSON and back, exactly, whatever fields they come to have.

What is written follows from the types of the fields. A field that a record does not hold takes its
default, so that a release reads what the one before it wrote.
"""

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from gate.domain.record import Recording
from gate.domain.workload import WorkloadKey

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a recording without reading it."""

    number: int
    key: WorkloadKey
    spooled_at: datetime


def encode_recording(recording: Recording, label: Label) -> bytes:
    """Return a label and a recording, each as JSON on a line of its own.

    What a JSON column holds becomes what that would store. Raises TypeError where it cannot.
    """
    return _dump(label) + b"\n" + _dump(recording)


def decode_label(payload: bytes) -> Label:
    """Return the label; raises ValueError where there is none."""
    return cast("Label", _load(Label, payload.partition(b"\n")[0]))


def decode_recording(payload: bytes) -> Recording:
    """Return the recording; raises ValueError where this release cannot read it."""
    return cast("Recording", _load(Recording, payload.partition(b"\n")[2]))


def _dump(value: object) -> bytes:
    return json.dumps(_plain(value), separators=(",", ":"), default=_refuse).encode("ascii")


def _load(kind: type, text: bytes) -> object:
    try:
        return _reader(kind)(json.loads(text))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"no {kind.__name__} that this release can read: {error}") from error


def _plain(value: object) -> object:
    """Return what JSON knows; a mapping whose names are no text becomes a list of pairs."""
    kind: Any = type(value)
    if parts := _parts(kind):
        return {name: _plain(getattr(value, name)) for name in parts}
    if isinstance(value, Mapping):
        pairs = [(_plain(name), _plain(item)) for name, item in value.items()]
        return dict(pairs) if all(isinstance(name, str) for name in value) else pairs
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return _scalar(value)


def _scalar(value: object) -> object:
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case timedelta():
            return value // _MICROSECOND
        case _:
            return value


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no place in a recording")


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a value of a type from its JSON."""
    if kind is datetime:
        return datetime.fromisoformat
    if kind is timedelta:
        return lambda value: value * _MICROSECOND
    if _parts(kind):
        return _record_reader(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _generic_reader(kind, get_origin(kind), get_args(kind))


def _generic_reader(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    if origin in (Union, types.UnionType):
        (other,) = (part for part in arguments if part is not types.NoneType)
        read = _reader(other)
        return lambda value: None if value is None else read(value)
    if origin is tuple and arguments[-1] is not ...:
        readers = tuple(map(_reader, arguments))
        return lambda value: tuple(read(item) for read, item in zip(readers, value, strict=True))
    if origin in (tuple, frozenset):
        read = _reader(arguments[0])
        return lambda value: origin(read(item) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(*arguments)
    if kind is object:
        return lambda value: value
    return lambda value: _checked(value, kind)


def _mapping_reader(name: Any, item: Any) -> Callable[[Any], Any]:
    read_name, read_item = _reader(name), _reader(item)
    if name is str:
        return lambda value: {key: read_item(part) for key, part in value.items()}
    return lambda value: {read_name(key): read_item(part) for key, part in value}


def _record_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    readers = [
        (name, is_optional, _reader(hints[name])) for name, is_optional in _parts(kind).items()
    ]

    def read_all(value: Mapping[str, Any]) -> Any:
        return kind(
            **{
                name: read(value[name])
                for name, is_optional, read in readers
                if name in value or not is_optional
            }
        )

    return read_all


@cache
def _parts(kind: Any) -> Mapping[str, bool]:
    """Return the fields of a dataclass or named tuple, and whether each has a default."""
    if is_dataclass(kind):
        return {part.name: _has_default(part) for part in fields(kind) if part.init}
    return {name: name in kind._field_defaults for name in getattr(kind, "_fields", ())}


def _has_default(part: "Field[Any]") -> bool:
    return part.default is not MISSING or part.default_factory is not MISSING


def _checked(value: object, kind: Any) -> object:
    is_number = kind is float and isinstance(value, int)
    if not isinstance(value, kind) and not is_number:
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value
