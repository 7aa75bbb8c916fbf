"""Writes as the arrays of `write_traces`, one element for each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

from gate.domain.change import Operation
from gate.domain.escalation import NewEscalation
from gate.domain.record import NewDetection, Recording, Repetition, Write
from gate.domain.trace import Verdict
from gate.domain.words import clean
from gate.domain.workload import WorkloadKey
from gate.ports import Question

_ANY_VERSION = 0
_RESOURCES = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


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
    first = {place_of(question): index for index, question in reversed([*enumerate(questions)])}
    return {
        **arrange_keys([question.key for question in questions]),
        "actors": [clean(question.actor) for question in questions],
        "correlation_ids": [_storable(question.correlation_id) for question in questions],
        "look_around": [
            first[place_of(question)] == index for index, question in enumerate(questions)
        ],
    }


def place_of(question: Question) -> tuple[str, str, str, str | None]:
    """Return what tells whose changes, and where, are around a workload."""
    key = question.key
    return key.cluster, key.namespace, question.actor, question.correlation_id


def arrange_writes(writes: Sequence[Write]) -> dict[str, object]:
    """Return the arguments of `write_traces`."""
    items = [_describe(write) for write in writes]
    return {
        **arrange_keys([write.key for write in writes]),
        **{
            array: [_storable(item.get(column)) for item in items]
            for array, column in (
                ("next_versions", "next_version"),
                ("seen_at", "seen_at"),
                ("resource_uids", "resource_uid"),
                ("presences", "presence"),
                ("labels", "labels"),
                ("traces", "trace"),
                ("spooled_at", "spooled_at"),
                ("detections", "detections"),
                ("escalations", "escalation"),
                ("reserves", "reserves"),
                ("repeated_ids", "repeated_id"),
                ("repeated_at", "repeated_at"),
                ("resource_versions", "resource_version"),
            )
        },
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


def _storable(value: object) -> object:
    return clean(value) if isinstance(value, str) else value


def _describe(write: Write) -> dict[str, object]:
    match write:
        case Recording():
            return _describe_recording(write)
        case Repetition():
            return {
                "next_version": write.expected_version + 1,
                "seen_at": write.seen_at,
                "presence": "unknown",
                "repeated_id": write.action_id,
                "repeated_at": write.recorded_at,
                "resource_version": write.resource_version,
            }
        case _:
            assert_never(write)


def _describe_recording(recording: Recording) -> dict[str, object]:
    presence = _presence(recording)
    expected = recording.expected_version
    return {
        "next_version": _ANY_VERSION if expected is None else expected + 1,
        "seen_at": recording.trace.seen.at,
        # A refused creation leaves no object behind whose uid or labels could be known.
        "resource_uid": None if presence == "unknown" else recording.trace.seen.uid,
        "presence": presence,
        "labels": None if presence == "unknown" else recording.labels,
        "trace": _trace(recording),
        "spooled_at": recording.spooled_at,
        "detections": {
            "opens": [_detection(detection) for detection in recording.opens],
            "enforces": list(recording.enforces),
        },
        "escalation": None if recording.asks is None else _escalation(recording, recording.asks),
        "reserves": recording.reserves,
    }


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
    """Return the columns of a trace by name; what is absent stays NULL."""
    trace, seen, context = recording.trace, recording.trace.seen, recording.context
    columns = {
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
    return {name: value for name, value in columns.items() if value is not None}


def _operation(recording: Recording) -> dict[str, str]:
    operation = {
        "operation": recording.trace.seen.operation.lower(),
        "resource": f"{_RESOURCES[recording.key.kind]}/{recording.key.name}",
    }
    if recording.trace.subresource:
        operation["subresource"] = recording.trace.subresource
    return operation


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
