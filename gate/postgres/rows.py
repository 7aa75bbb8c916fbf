"""Rows of `read_histories` as histories."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from gate.domain.change import ActionType, Operation
from gate.domain.pattern import Mode
from gate.domain.trace import (
    ExecutionStatus,
    History,
    OpenDetection,
    Overrides,
    Sighting,
    State,
    Trace,
    Verdict,
)
from gate.domain.workload import WorkloadKey
from gate.errors import StorageUnavailableError

_Expected = TypeVar("_Expected")


def read_history(key: WorkloadKey, row: asyncpg.Record) -> History:
    """Return what one row says of a workload.

    Raises StorageUnavailableError, naming the workload and the column, where a value cannot be
    understood: a history with holes would let through what it should refuse.
    """
    try:
        traces = [_read_trace(_typed(item, dict)) for item in _items(row["traces"])]
        return History(
            key=key,
            version=_typed(row["version"], int),
            labels=_typed(row["labels"] or {}, dict),
            traces=tuple(sorted(traces, key=_order)),
            detections=tuple(
                _read_detection(_typed(item, dict)) for item in _items(row["detections"])
            ),
            overrides=Overrides(
                window=_minutes(row["oscillation_window_minutes"]),
                min_occurrences=row["pattern_min_occurrences"],
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageUnavailableError(
            f"the history of {key} cannot be read ({error}); a newer release may have written it"
        ) from error


def _order(trace: Trace) -> tuple[int, datetime, str]:
    """Order by version; only traces that did not move the version share one."""
    return trace.version, trace.seen.at, trace.action_id


def _read_trace(columns: Mapping[str, object]) -> Trace:
    def text(name: str) -> str:
        return _column(columns, name, str)

    return Trace(
        action_id=text("action_id"),
        version=_column(columns, "version", int),
        seen=Sighting(
            at=_instant(text("action_timestamp")),
            operation=Operation(text("operation")),
            state=_state(columns, "resource_state_before"),
            uid=_optional(columns, "resource_uid", str),
            resource_version=_optional(columns, "old_resource_version", str),
            generation=_optional(columns, "old_generation", int),
        ),
        actor=text("actor"),
        action_type=ActionType(text("action_type")),
        subresource=text("subresource"),
        verdict=Verdict(text("verdict")),
        status=ExecutionStatus(text("execution_status")),
        changed=frozenset(
            (str(change.get("container", "")), str(change["field"]))
            for change in _column(columns, "changes", list)
        ),
        state_after=_state(columns, "resource_state_after"),
        fingerprint=text("change_fingerprint"),
        request_fingerprint=text("request_fingerprint"),
        request_uid=text("request_uid"),
        decision=_column(columns, "decision", dict),
    )


def _read_detection(columns: Mapping[str, object]) -> OpenDetection:
    return OpenDetection(
        id=_column(columns, "id", int),
        pattern_id=_column(columns, "pattern_id", int),
        pattern_type=_column(columns, "pattern_type", str),
        evidence_kind=_column(columns, "evidence_kind", str),
        fields=tuple(map(str, _column(columns, "fields", list))),
        until=_instant(_column(columns, "until", str)),
        mode=Mode(_column(columns, "mode", str)),
        prevention_applied=_column(columns, "prevention_applied", bool),
        summary=_optional(columns, "summary", str) or "",
    )


def _state(columns: Mapping[str, object], name: str) -> State | None:
    return _optional(columns, name, dict)


def _column(columns: Mapping[str, object], name: str, expected: type[_Expected]) -> _Expected:
    value = columns[name]
    if not isinstance(value, expected):
        raise TypeError(f"{name} is {type(value).__name__} instead of {expected.__name__}")
    return value


def _optional(
    columns: Mapping[str, object], name: str, expected: type[_Expected]
) -> _Expected | None:
    return None if columns[name] is None else _column(columns, name, expected)


def _typed(value: object, expected: type[_Expected]) -> _Expected:
    return _column({"a column": value}, "a column", expected)


def _items(value: object) -> list[object]:
    return [] if value is None else _typed(value, list)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _minutes(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(minutes=value)
