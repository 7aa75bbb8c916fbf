"""Rows of `read_histories` as histories."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import asyncpg

from gate.domain.change import ActionType, Operation
from gate.domain.escalation import Escalation, EscalationState
from gate.domain.pattern import Mode, Strategy
from gate.domain.trace import (
    READ_BACK,
    Cooling,
    ExecutionStatus,
    History,
    Nearby,
    OpenDetection,
    Overrides,
    Sighting,
    Trace,
    Verdict,
)
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import UnusableRecordError
from gate.postgres.shapes import NEARBY, REMARKS, TRACE, take_values

_Member = TypeVar("_Member", bound=Enum)


class _ByValue(dict[object, _Member]):
    """The members of an enumeration, which to call takes many times as long as to look one up."""

    def __init__(self, members: type[_Member]) -> None:
        super().__init__({member.value: member for member in members})
        self._name = members.__name__

    def __missing__(self, value: object) -> _Member:
        raise ValueError(f"{value!r} is not a valid {self._name}")


_ACTION_TYPES, _STATUSES = _ByValue(ActionType), _ByValue(ExecutionStatus)
_OPERATIONS, _VERDICTS, _KINDS = _ByValue(Operation), _ByValue(Verdict), _ByValue(Kind)


_NO_OVERRIDES = Overrides()

_Expected = TypeVar("_Expected")


class Surroundings(NamedTuple):
    """Changes around a workload, oldest first; `complete_since` where older ones were cut off."""

    changes: tuple[Nearby, ...] = ()
    complete_since: datetime | None = None


def read_history(
    key: WorkloadKey, row: asyncpg.Record, *, now: datetime, around: Surroundings
) -> History:
    """Return what one row says of a workload to a decision at `now`, and what is around it.

    Raises UnusableRecordError, naming the workload and the column, where a value cannot be
    understood: a history with holes would let through what it should refuse.
    """
    with _explained("the history of", key):
        since = now - READ_BACK
        traces = [_read_trace(item) for item in _items(row["traces"])]
        return History(
            key=key,
            version=_typed(row["version"], int),
            labels=_typed(row["labels"] or {}, dict),
            traces=tuple(sorted([t for t in traces if t.seen.at >= since], key=_order)),
            detections=tuple(
                detection
                for detection in _each(row["detections"], _read_detection)
                if detection.until > now
            ),
            overrides=_read_overrides(row),
            coolings=tuple(_each(row["coolings"], _read_cooling)),
            escalations=tuple(
                escalation
                for escalation in _each(row["escalations"], _read_escalation)
                if escalation.expires_at > now
            ),
            nearby=around.changes,
            nearby_since=around.complete_since,
        )


def read_surroundings(key: WorkloadKey, row: asyncpg.Record) -> Surroundings:
    """Return what one row says of changes around a workload.

    Raises UnusableRecordError as `read_history` does.
    """
    with _explained("what happened around", key):
        keys: dict[tuple[str, str], WorkloadKey] = {}
        since, items = _items(row["nearby"]) or (None, None)
        found = [_read_nearby(key, item, keys) for item in _items(items)]
        return Surroundings(
            tuple(sorted(found, key=lambda change: (change.at, change.action_id))),
            None if since is None else _instant(_typed(since, str)),
        )


@contextmanager
def _explained(what: str, key: WorkloadKey) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableRecordError(
            f"{what} {key} cannot be read ({error}); a newer release may have written it"
        ) from error


def _order(trace: Trace) -> tuple[int, datetime, str]:
    """Order by version; only traces that did not move the version share one."""
    return trace.version, trace.seen.at, trace.action_id


def _read_trace(item: object) -> Trace:
    (
        action_id,
        version,
        at,
        operation,
        subresource,
        uid,
        resource_version,
        generation,
        actor,
        action_type,
        verdict,
        status,
        state_before,
        state_after,
        changes,
        fingerprint,
        request_fingerprint,
        request_uid,
        alert,
        correlation_id,
        remarks,
    ) = take_values(item, TRACE)
    return Trace(
        action_id=action_id,
        version=version,
        seen=Sighting(
            at=_instant(at),
            operation=_OPERATIONS[operation],
            state=state_before,
            uid=uid,
            resource_version=resource_version,
            generation=generation,
        ),
        actor=actor,
        action_type=_ACTION_TYPES[action_type],
        subresource=subresource,
        verdict=_VERDICTS[verdict],
        status=_STATUSES[status],
        changed={
            (change.get("container", ""), change["field"]): (
                change.get("before"),
                change.get("after"),
            )
            for change in changes
        },
        state_after=state_after,
        fingerprint=fingerprint,
        request_fingerprint=request_fingerprint,
        request_uid=request_uid,
        alert=alert,
        correlation_id=correlation_id,
        **({} if remarks is None else _read_remarks(remarks)),
    )


def _read_remarks(item: object) -> dict[str, Any]:
    """Return what most traces lack: an outcome, and parts of the decision that are read again."""
    score, alert_resolved, follow_ups, error, warnings, suggests, approval, is_undecided = (
        take_values(item, REMARKS)
    )
    return {
        "decision": _decision(warnings, suggests, approval, is_undecided=is_undecided),
        "score": None if score is None else float(score),
        "is_alert_firing": _is_firing(alert_resolved),
        "approval": None if approval is None else _column(approval, "escalation", str),
        "undone_by": _find_undoer(follow_ups),
        "error": error,
    }


def _decision(
    warnings: list[object] | None,
    suggests: list[object],
    approval: Mapping[str, object] | None,
    *,
    is_undecided: bool,
) -> dict[str, object]:
    """Return those parts of the `decision` column that later decisions look at."""
    decision: dict[str, object] = {}
    if warnings:
        decision["warnings"] = warnings
    if suggests:
        decision["objections"] = [{"suggests": action_type} for action_type in suggests]
    if approval is not None:
        decision["approval"] = approval
    if is_undecided:
        decision["undecided"] = True
    return decision


def _is_firing(alert_resolved: object) -> bool | None:
    """Tell whether the alert went on firing; None where that was not assessed."""
    return not alert_resolved if isinstance(alert_resolved, bool) else None


def _find_undoer(follow_ups: list[object] | None) -> str | None:
    """Return who was seen to undo a change."""
    for follow_up in follow_ups or ():
        if isinstance(follow_up, dict) and follow_up.get("type") == "undone":
            return _optional(follow_up, "by", str)
    return None


def _read_overrides(row: asyncpg.Record) -> Overrides:
    window, threshold = row["oscillation_window_minutes"], row["effectiveness_threshold"]
    min_occurrences = row["pattern_min_occurrences"]
    if window is None and threshold is None and min_occurrences is None:
        return _NO_OVERRIDES
    return Overrides(
        window=None if window is None else timedelta(minutes=window),
        min_occurrences=min_occurrences,
        effectiveness_threshold=None if threshold is None else float(threshold),
    )


def _read_detection(columns: Mapping[str, object]) -> OpenDetection:
    strategy = _optional(columns, "strategy", str)
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
        strategy=Strategy.COOLING_PERIOD if strategy is None else Strategy(strategy),
        action_type=_optional(columns, "action_type", str),
        actor=_optional(columns, "bound_actor", str),
        spares=tuple(map(str, _optional(columns, "touched", list) or ())),
    )


def _read_cooling(columns: Mapping[str, object]) -> Cooling:
    return Cooling(
        pattern_id=_column(columns, "pattern_id", int),
        detected_at=_instant(_column(columns, "detected_at", str)),
        until=_instant(_column(columns, "until", str)),
    )


def _read_escalation(columns: Mapping[str, object]) -> Escalation:
    return Escalation(
        id=_column(columns, "id", str),
        digest=_column(columns, "digest", str),
        state=EscalationState(_column(columns, "state", str)),
        expires_at=_instant(_column(columns, "expires_at", str)),
        decided_by=_optional(columns, "decided_by", str),
        reserved_by=_optional(columns, "reserved_by", str),
    )


def _read_nearby(
    around: WorkloadKey, item: object, keys: dict[tuple[str, str], WorkloadKey]
) -> Nearby:
    """Return one change around a workload; `keys` has those of the workloads that came before."""
    kind, name, action_id, at, actor, action_type, status, error, alert_resolved = take_values(
        item, NEARBY
    )
    key = keys.get((kind, name))
    if key is None:
        key = WorkloadKey(around.cluster, around.namespace, _KINDS[kind], name)
        keys[kind, name] = key
    return Nearby(
        key=key,
        action_id=action_id,
        at=_instant(at),
        actor=actor,
        action_type=_ACTION_TYPES[action_type],
        status=_STATUSES[status],
        error=error,
        is_alert_firing=_is_firing(alert_resolved),
    )


def _each(value: object, read: Callable[[Mapping[str, object]], _Expected]) -> list[_Expected]:
    return [read(_typed(item, dict)) for item in _items(value)]


def _column(columns: Mapping[str, object], name: str, expected: type[_Expected]) -> _Expected:
    return _typed(columns[name], expected, name)


def _optional(
    columns: Mapping[str, object], name: str, expected: type[_Expected]
) -> _Expected | None:
    return None if columns[name] is None else _column(columns, name, expected)


def _typed(value: object, expected: type[_Expected], name: str = "a column") -> _Expected:
    if not isinstance(value, expected):
        raise TypeError(f"{name} is {type(value).__name__} instead of {expected.__name__}")
    return value


def _items(value: object) -> list[object]:
    return [] if value is None else _typed(value, list)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
