"""Recordings and repetitions as tests need them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from gate.domain.actor import Actor, Certainty
from gate.domain.change import ActionType, Operation
from gate.domain.context import Context
from gate.domain.detection import Severity
from gate.domain.escalation import NewEscalation
from gate.domain.pattern import Mode
from gate.domain.record import NewDetection, Recording, Repetition
from gate.domain.trace import ExecutionStatus, Sighting, Trace, Verdict
from gate.domain.workload import Kind, WorkloadKey
from gate.ports.histories import Question
from gate.services.identifiers import make_action_id, time_of
from tests.fakes.stored import kept_decision, stored_changes

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
WEB = WorkloadKey("prod", "shop", Kind.DEPLOYMENT, "web")
DATABASE = WorkloadKey("prod", "shop", Kind.STATEFUL_SET, "database")
AGENT = Actor("system:serviceaccount:ai-agents:scaler", "user system:*", Certainty.PROVEN)
_numbers = count(1)


def make_trace(
    *,
    at: datetime = NOW,
    replicas: tuple[int, int] = (5, 3),
    operation: Operation = Operation.UPDATE,
    verdict: Verdict = Verdict.ALLOW,
    version: int = 1,
    resource_version: str | None = "100",
    uid: str | None = "0a9f0a52-3a34-4d63-8d1f-93a9d1e0f7c1",
    actor: str = AGENT.name,
    action_type: ActionType = ActionType.SCALE_DEPLOYMENT,
) -> Trace:
    before, after = replicas
    number = next(_numbers)
    action_id = make_action_id(at, number.to_bytes(10))
    return Trace(
        action_id=action_id,
        version=version,
        seen=Sighting(
            at=time_of(action_id),
            operation=operation,
            state=None if operation is Operation.CREATE else {"replicas": before},
            uid=uid,
            resource_version=resource_version,
            generation=7,
        ),
        actor=actor,
        action_type=action_type,
        subresource="",
        verdict=verdict,
        status=ExecutionStatus.BLOCKED if verdict is Verdict.DENY else ExecutionStatus.PENDING,
        changed={("", "replicas"): (before, after), ("web", "image"): ("web:1", "web:2")},
        state_after=None if operation is Operation.DELETE else {"replicas": after},
        fingerprint=f"fingerprint {after}",
        request_fingerprint=f"request {before} {after}",
        request_uid=f"uid {number}",
    )


def make_recording(
    expected_version: int | None = 0,
    *,
    key: WorkloadKey = WEB,
    trace: Trace | None = None,
    labels: Mapping[str, str] | None = None,
    opens: tuple[NewDetection, ...] = (),
    enforces: tuple[int, ...] = (),
    context: Context | None = None,
    decision: Mapping[str, object] | None = None,
    changes_capacity: bool = True,
    asks: NewEscalation | None = None,
    reserves: str | None = None,
    spooled_at: datetime | None = None,
) -> Recording:
    trace = make_trace() if trace is None else trace
    before = None if trace.seen.state is None else trace.seen.state["replicas"]
    after = None if trace.state_after is None else trace.state_after["replicas"]
    return Recording(
        key=key,
        expected_version=expected_version,
        labels=labels,
        trace=trace,
        actor=AGENT,
        mode=Mode.ENFORCE,
        context=context or Context(),
        parameters={
            "changes": [
                {"field": "replicas", "before": before, "after": after},
                {"container": "web", "field": "image", "before": "web:1", "after": "web:2"},
            ]
        },
        changes_capacity=changes_capacity,
        decision={"verdict": str(trace.verdict)} if decision is None else decision,
        opens=opens,
        enforces=enforces,
        asks=asks,
        reserves=reserves,
        spooled_at=spooled_at,
    )


def make_repetition(
    trace: Trace, expected_version: int, *, key: WorkloadKey = WEB, resource_version: str | None
) -> Repetition:
    return Repetition(
        key=key,
        expected_version=expected_version,
        action_id=trace.action_id,
        recorded_at=trace.seen.at,
        seen_at=trace.seen.at + timedelta(seconds=1),
        resource_version=resource_version,
    )


def make_detection(
    *,
    until: datetime = NOW + timedelta(minutes=30),
    prevention_applied: bool = True,
    pattern_id: int = 1,
    matching: tuple[str, ...] = (),
    detected_at: datetime = NOW,
    mode: Mode = Mode.ENFORCE,
    bound_actor: str | None = None,
) -> NewDetection:
    return NewDetection(
        pattern_id=pattern_id,
        detected_at=detected_at,
        confidence=0.571,
        severity=Severity.WARNING,
        action_count=3,
        time_span=timedelta(minutes=20),
        matching_actions=matching,
        evidence={"kind": "reversal", "fields": ["replicas"], "summary": "replicas went 5 → 3 → 5"},
        prevention_applied=prevention_applied,
        prevention_action="blocked" if prevention_applied else None,
        prevention_details={"strategy": "cooling-period", "response": "refuse"},
        until=until,
        mode=mode,
        bound_actor=bound_actor,
    )


def make_escalation(
    *,
    requested_at: datetime = NOW,
    expires_at: datetime = NOW + timedelta(hours=1),
    digest: str = "digest of the change",
    pattern_id: int = 1,
) -> NewEscalation:
    return NewEscalation(
        id=make_action_id(requested_at, next(_numbers).to_bytes(10)),
        pattern_id=pattern_id,
        digest=digest,
        actor=AGENT.name,
        change={"action_type": "scale_deployment", "fields": []},
        summary="replicas went 5 → 3 → 5",
        requested_at=requested_at,
        expires_at=expires_at,
    )


def ask(
    key: WorkloadKey = WEB, *, actor: str = AGENT.name, correlation_id: str | None = None
) -> Question:
    return Question(key, actor, correlation_id)


def as_stored(recording: Recording, version: int) -> Trace:
    """Return the trace of a recording as it is read back."""
    return replace(
        recording.trace,
        version=version,
        changed=stored_changes(recording.parameters),
        decision=kept_decision(recording.decision),
        alert=recording.context.alert_name,
        correlation_id=recording.context.correlation_id,
    )
