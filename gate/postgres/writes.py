"""Writes as the arrays of `write_traces`, one element for each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, assert_never

from gate.domain.change import Operation
from gate.domain.escalation import NewEscalation
from gate.domain.record import NewDetection, Recording, Repetition, Write
from gate.domain.trace import Verdict
from gate.domain.words import clean
from gate.domain.workload import WorkloadKey
from gate.ports.histories import Question

_ANY_VERSION = 0
_RESOURCES = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


class _Item(NamedTuple):
    """One element of each of the arrays that `write_traces` takes besides the keys."""

    next_versions: int
    seen_at: datetime
    presences: str
    resource_uids: str | None = None
    labels: Mapping[str, str] | None = None
    traces: Mapping[str, object] | None = None
    spooled_at: datetime | None = None
    detections: Mapping[str, object] | None = None
    escalations: Mapping[str, object] | None = None
    reserves: str | None = None
    repeated_ids: str | None = None
    repeated_at: datetime | None = None
    resource_versions: str | None = None


def arrange_keys(keys: Sequence[WorkloadKey]) -> dict[str, object]:
    """Return the parts of workload keys as arrays, and how many there are."""
    return {
        "count": len(keys),
        "clusters": [clean(key.cluster) for key in keys],
        "namespaces": [clean(key.namespace) for key in keys],
        "kinds": [str(key.kind) for key in keys],
        "names": [clean(key.name) for key in keys],
    }


def arrange_questions(questions: Sequence[Question]) -> dict[str, object]:
    """Return what is asked as arrays; what several ask of their surroundings is asked once."""
    first = {
        surroundings_key(question): index for index, question in reversed([*enumerate(questions)])
    }
    return {
        **arrange_keys([question.key for question in questions]),
        "actors": [clean(question.actor) for question in questions],
        "correlation_ids": [_storable(question.correlation_id) for question in questions],
        "look_around": [
            first[surroundings_key(question)] == index for index, question in enumerate(questions)
        ],
    }


def surroundings_key(question: Question) -> tuple[str, str, str, str | None]:
    """Return what tells whose changes, and where, are around a workload."""
    key = question.key
    return key.cluster, key.namespace, question.actor, question.correlation_id


def arrange_writes(writes: Sequence[Write]) -> dict[str, object]:
    """Return the arguments of `write_traces`."""
    items = [_describe(write) for write in writes]
    return {
        **arrange_keys([write.key for write in writes]),
        **dict(zip(_Item._fields, zip(*items, strict=True), strict=True)),
    }


def arrange_correction(recording: Recording) -> dict[str, object]:
    """Return the arguments of `correct_trace`."""
    trace = recording.trace
    return {
        "action_id": trace.action_id,
        "recorded_at": trace.seen.at,
        "verdict": str(trace.verdict),
        "mode": str(recording.mode),
        "decision": recording.decision,
        "execution_status": str(trace.status),
        "spooled_at": recording.spooled_at,
    }


def time_of_write(write: Write) -> datetime:
    """Return the instant of the trace that a write makes or counts an attempt at."""
    return write.trace.seen.at if isinstance(write, Recording) else write.recorded_at


def _storable(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _describe(write: Write) -> _Item:
    match write:
        case Recording():
            return _describe_recording(write)
        case Repetition():
            return _Item(
                next_versions=write.expected_version + 1,
                seen_at=write.seen_at,
                presences="unknown",
                repeated_ids=write.action_id,
                repeated_at=write.recorded_at,
                resource_versions=_storable(write.resource_version),
            )
        case _:
            assert_never(write)


def _describe_recording(recording: Recording) -> _Item:
    presence = _presence(recording)
    expected = recording.expected_version
    # A refused creation leaves no object behind whose uid or labels could be known.
    is_known = presence != "unknown"
    return _Item(
        next_versions=_ANY_VERSION if expected is None else expected + 1,
        seen_at=recording.trace.seen.at,
        presences=presence,
        resource_uids=_storable(recording.trace.seen.uid) if is_known else None,
        labels=recording.labels if is_known else None,
        traces=_trace(recording),
        spooled_at=recording.spooled_at,
        detections=_detections(recording),
        escalations=None if recording.asks is None else _escalation(recording, recording.asks),
        reserves=recording.reserves,
    )


def _presence(recording: Recording) -> str:
    """Tell whether the workload exists after this request, as far as it is known."""
    is_admitted = recording.trace.verdict is Verdict.ALLOW
    match recording.trace.seen.operation:
        case Operation.DELETE:
            return "deleted" if is_admitted else "present"
        case Operation.CREATE:
            return "present" if is_admitted else "unknown"
        case Operation.UPDATE:
            return "present"


def _trace(recording: Recording) -> Mapping[str, object]:
    """Return the columns of a trace by name."""
    trace, seen, context = recording.trace, recording.trace.seen, recording.context
    return {
        "action_id": trace.action_id,
        "correlation_id": context.correlation_id,
        "action_timestamp": seen.at.isoformat(),
        "cluster": recording.key.cluster,
        "resource_uid": seen.uid,
        "actor": trace.actor,
        "actor_rule": recording.actor.rule,
        "actor_certainty": recording.actor.certainty,
        "alert_name": context.alert_name,
        "alert_severity": context.alert_severity,
        "model_used": context.model,
        "model_confidence": context.confidence,
        "model_reasoning": context.reasoning,
        "operation": seen.operation,
        "subresource": trace.subresource,
        "action_type": trace.action_type,
        "action_parameters": recording.parameters,
        "resource_state_before": seen.state,
        "resource_state_after": trace.state_after,
        "changes_capacity": recording.changes_capacity,
        "change_fingerprint": trace.fingerprint,
        "request_uid": trace.request_uid,
        "request_fingerprint": trace.request_fingerprint,
        "old_resource_version": seen.resource_version,
        "old_generation": seen.generation,
        "verdict": trace.verdict,
        "mode": recording.mode,
        "decision": recording.decision,
        "execution_status": trace.status,
        "kubernetes_operations": [_operation(recording)],
    }


def _operation(recording: Recording) -> dict[str, str]:
    operation = {
        "operation": recording.trace.seen.operation.lower(),
        "resource": f"{_RESOURCES[recording.key.kind]}/{recording.key.name}",
    }
    if recording.trace.subresource:
        operation["subresource"] = recording.trace.subresource
    return operation


def _detections(recording: Recording) -> dict[str, object] | None:
    if not recording.opens and not recording.enforces:
        return None
    return {
        "opens": [_detection(detection) for detection in recording.opens],
        "enforces": recording.enforces,
    }


def _detection(detection: NewDetection) -> dict[str, object]:
    return {
        "pattern_id": detection.pattern_id,
        "detected_at": detection.detected_at.isoformat(),
        "until": detection.until.isoformat(),
        "mode": detection.mode,
        "severity": detection.severity,
        "confidence": detection.confidence,
        "action_count": detection.action_count,
        "time_span_minutes": round(detection.time_span.total_seconds() / 60),
        "matching_actions": list(detection.matching_actions),
        "pattern_evidence": detection.evidence,
        "prevention_applied": detection.prevention_applied,
        "prevention_action": detection.prevention_action,
        "prevention_details": detection.prevention_details,
        "bound_actor": detection.bound_actor,
    }


def _escalation(recording: Recording, asks: NewEscalation) -> dict[str, object]:
    return {
        "id": asks.id,
        "pattern_id": asks.pattern_id,
        "action_id": recording.trace.action_id,
        "digest": asks.digest,
        "actor": asks.actor,
        "change": asks.change,
        "summary": asks.summary,
        "requested_at": asks.requested_at.isoformat(),
        "expires_at": asks.expires_at.isoformat(),
    }
