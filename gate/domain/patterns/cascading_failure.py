"""One actor moves on through a namespace and leaves unhealthy workloads behind.

Confidence is u / (u + v), u workloads left unhealthy where v trip: 0.5 where it just trips, growing
with the evidence. Changes of others with the same correlation id add to the evidence, and take none
of it away: an agent says itself what it belongs to. A finding is always critical, for workloads are
down. Changes that are admitted at the same moment do not see each other, so as many workloads more
may be touched.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gate.domain.change import ActionType
from gate.domain.detection import (
    NOTHING,
    Binding,
    Candidate,
    EvidenceKind,
    Examination,
    Finding,
    Response,
    Severity,
)
from gate.domain.pattern import Pattern
from gate.domain.trace import ExecutionStatus, Nearby, OpenDetection, was_persisted
from gate.domain.window import find_end
from gate.domain.words import describe_span, escape
from gate.domain.workload import WorkloadKey

NO_OUTCOME = "no-outcome"
HISTORY_CUT = "history-cut"
_HARMLESS = (ActionType.CREATE_WORKLOAD, ActionType.UPDATE_METADATA)
_WORKLOADS_AT_LEAST = 3
_NAMES_AT_MOST = 3
_NAME_AT_MOST = 63


@dataclass(frozen=True, slots=True)
class _Trail:
    """The workloads that were changed within the window, each with its latest change.

    `unhealthy` has those that were left so, each with the change that tells; `unknown` are those
    of which an outcome is still to come; `own` those that the actor changed itself.
    """

    touched: dict[WorkloadKey, Nearby]
    unhealthy: dict[WorkloadKey, Nearby]
    unknown: frozenset[WorkloadKey]
    own: frozenset[WorkloadKey]


def examine(candidate: Candidate, pattern: Pattern) -> Examination:
    """Judge a change of a workload that its actor did not change within the window.

    Creations and changes of metadata are neither counted nor judged.
    """
    if candidate.trace.action_type in _HARMLESS:
        return NOTHING
    since = candidate.now - pattern.window
    if _has_own(candidate, since):
        return NOTHING
    recent = [
        change for change in candidate.history.nearby if change.at >= since and _counts(change)
    ]
    complete_since = candidate.history.nearby_since
    lacks = (HISTORY_CUT,) if complete_since is not None and complete_since > since else ()
    if not _are_of_many(recent, _many(pattern)):
        return Examination(incomplete=lacks)
    recent.sort(key=lambda change: (change.at, change.action_id))
    trail = _join(recent, actor=candidate.trace.actor)
    bearable = pattern.cascade.unhealthy_workloads
    if len(trail.unhealthy) < bearable:
        is_blind = len(trail.unhealthy.keys() | trail.unknown) >= bearable
        return Examination(incomplete=(*lacks, NO_OUTCOME) if is_blind else lacks)
    return Examination((_build(candidate, pattern, trail, recent),))


def respond_to_open(
    candidate: Candidate, pattern: Pattern, detection: OpenDetection
) -> Binding | None:
    """Refuse the actor that a detection binds every workload that it has not changed yet."""
    del pattern
    is_bound = (
        detection.actor == candidate.trace.actor
        and candidate.trace.action_type not in _HARMLESS
        and str(candidate.history.key) not in detection.spares
        and not _has_own(candidate)
    )
    if not is_bound:
        return None
    return Binding(
        detection=detection,
        response=Response.REFUSE,
        summary=(
            f"one more workload, {candidate.history.key.name}, while an earlier detection binds "
            f"this agent: {detection.summary}"
        ),
    )


def _build(candidate: Candidate, pattern: Pattern, trail: _Trail, recent: list[Nearby]) -> Finding:
    bearable, many = pattern.cascade.unhealthy_workloads, _many(pattern)
    unhealthy = len(trail.unhealthy)
    span = max(candidate.now - recent[0].at, timedelta(0))
    named = sorted(trail.unhealthy)[:_NAMES_AT_MOST]
    names = ", ".join(escape(key.name, limit=_NAME_AT_MOST) for key in named)
    more = f" and {unhealthy - _NAMES_AT_MOST} more" if unhealthy > _NAMES_AT_MOST else ""
    return Finding(
        pattern=pattern,
        evidence_kind=EvidenceKind.CASCADE,
        response=Response.REFUSE,
        fields=tuple(dict.fromkeys(name for _, name in sorted(candidate.trace.changed))),
        until=min(
            find_end(_times(trail.unhealthy), needed=bearable, window=pattern.window),
            find_end(_times(trail.touched), needed=many, window=pattern.window),
        ),
        confidence=round(unhealthy / (unhealthy + bearable), 3),
        severity=Severity.CRITICAL,
        summary=(
            f"{len(trail.touched)} workloads changed in {describe_span(span)}, {unhealthy} left "
            f"unhealthy ({names}{more}), and {candidate.history.key.name} would be one more"
        ),
        describe=lambda: {
            "unhealthy_workloads": bearable,
            "workloads": many,
            "window_seconds": pattern.window.total_seconds(),
            "touched": [str(key) for key in sorted(trail.own)],
            "related": [str(key) for key in sorted(trail.touched.keys() - trail.own)],
            "unhealthy": [str(key) for key in sorted(trail.unhealthy)],
            "series": [
                *map(_describe, recent),
                {
                    "workload": str(candidate.history.key),
                    "time": candidate.now.isoformat(),
                    "action_type": candidate.trace.action_type,
                    "action_id": candidate.trace.action_id,
                },
            ],
        },
        action_ids=tuple(change.action_id for change in recent),
        span=span,
        binds_actor=True,
    )


def _join(recent: list[Nearby], *, actor: str) -> _Trail:
    """Return what the actor left behind, and what others did beside it."""
    own = _follow(change for change in recent if change.actor == actor)
    every = _follow(recent)
    return _Trail(
        every.touched,
        own.unhealthy | every.unhealthy,  # of two of a workload, the latter holds the later
        own.unknown | every.unknown,
        frozenset(own.touched),
    )


def _follow(recent: Iterable[Nearby]) -> _Trail:
    """Return what the changes left behind; a later one whose outcome is known corrects a former."""
    touched: dict[WorkloadKey, Nearby] = {}
    unhealthy: dict[WorkloadKey, Nearby] = {}
    unknown: set[WorkloadKey] = set()
    for change in recent:
        touched[change.key] = change
        unknown.discard(change.key)
        is_unhealthy = _is_unhealthy(change)
        if is_unhealthy is None:
            unknown.add(change.key)
        elif is_unhealthy:
            unhealthy[change.key] = change
        else:
            unhealthy.pop(change.key, None)
    return _Trail(touched, unhealthy, frozenset(unknown), frozenset(touched))


def _has_own(candidate: Candidate, since: datetime | None = None) -> bool:
    """Tell whether the actor changed this very workload before."""
    key, actor = candidate.history.key, candidate.trace.actor
    name = key.name  # tells most keys apart, at less than the whole of them
    for change in candidate.history.nearby:
        is_own = change.key.name == name and change.actor == actor and change.key == key
        if is_own and (since is None or change.at >= since) and _counts(change):
            return True
    return False


def _are_of_many(changes: Iterable[Nearby], many: int) -> bool:
    """Tell whether changes are of so many workloads at least."""
    keys = set()
    for change in changes:
        keys.add(change.key)
        if len(keys) >= many:
            return True
    return False


def _counts(change: Nearby) -> bool:
    is_harmless = change.action_type in _HARMLESS
    return not is_harmless and was_persisted(change.status, change.error) is not False


def _is_unhealthy(change: Nearby) -> bool | None:
    """Tell whether a change left its workload unhealthy; None while that is not known."""
    if change.is_alert_firing is True:
        return True
    match change.status:
        case ExecutionStatus.COMPLETED | ExecutionStatus.ROLLED_BACK:
            return False
        case ExecutionStatus.FAILED:
            return True
        case ExecutionStatus.PENDING | ExecutionStatus.EXECUTING | ExecutionStatus.BLOCKED:
            return None


def _many(pattern: Pattern) -> int:
    return max(pattern.min_occurrences, _WORKLOADS_AT_LEAST)


def _times(latest: Mapping[WorkloadKey, Nearby]) -> list[datetime]:
    return [change.at for change in latest.values()]


def _describe(change: Nearby) -> dict[str, object]:
    return {
        "workload": str(change.key),
        "time": change.at.isoformat(),
        "actor": change.actor,
        "action_type": change.action_type,
        "action_id": change.action_id,
        "status": change.status,
        "error": change.error,
        "is_alert_firing": change.is_alert_firing,
    }
