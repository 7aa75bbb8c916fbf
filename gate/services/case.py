"""One agent's change: what a request asks for, and what it becomes on record."""

from dataclasses import dataclass, replace

from gate.domain.actor import Actor
from gate.domain.change import Change, compare, digest_request
from gate.domain.context import Context, read_context
from gate.domain.decision import Decision
from gate.domain.detection import Candidate
from gate.domain.reading import Readings, take_snapshot
from gate.domain.record import Recording, build_detections, describe_decision
from gate.domain.request import Request, metadata_of, text_map
from gate.domain.snapshot import Part, Snapshot, Value, describe_state
from gate.domain.trace import ExecutionStatus, History, Sighting, Trace, Verdict
from gate.domain.words import clean
from gate.domain.workload import WorkloadKey
from gate.services.identifiers import time_of


@dataclass(frozen=True, slots=True)
class Case:
    """One agent's change, as far as it can be known before its history is read."""

    request: Request
    key: WorkloadKey
    actor: Actor
    change: Change
    before: Snapshot | None
    after: Snapshot | None
    context: Context

    @property
    def actor_name(self) -> str:
        """Return the actor's name as it is recorded."""
        return clean(self.actor.name)

    @property
    def labels(self) -> dict[str, str] | None:
        """Return the workload's labels; None for a Scale, which carries none."""
        if self.request.subresource == "scale":
            return None
        return text_map(metadata_of(self.request.latest).get("labels"))

    @property
    def label_sets(self) -> tuple[dict[str, str], ...]:
        """Return the labels before and after the change; none for a Scale."""
        if self.request.subresource == "scale":
            return ()
        bodies = (body for body in (self.request.old, self.request.new) if body is not None)
        return tuple(text_map(metadata_of(body).get("labels")) for body in bodies)


def open_case(request: Request, actor: Actor, *, cluster: str, readings: Readings) -> Case | None:
    """Return the change an agent's request makes, or None where it makes none."""
    before = None if request.old is None else take_snapshot(request.old, readings)
    after = None if request.new is None else take_snapshot(request.new, readings)
    change = compare(request.kind, request.operation, before=before, after=after)
    if change is None:
        return None
    old, new = (metadata_of(body).get("annotations") for body in (request.old, request.new))
    return Case(
        request=request,
        key=WorkloadKey(cluster, request.namespace, request.kind, request.name),
        actor=actor,
        change=change,
        before=before,
        after=after,
        context=(
            Context() if old == new else read_context(before=text_map(old), after=text_map(new))
        ),
    )


def make_trace(case: Case, history: History, *, action_id: str) -> Trace:
    """Return the trace that the change becomes if it is admitted."""
    request = case.request
    metadata = metadata_of(request.old)
    version = metadata.get("resourceVersion")
    actor = case.actor_name
    return Trace(
        action_id=action_id,
        version=history.version + 1,
        seen=Sighting(
            at=time_of(action_id),
            operation=request.operation,
            state=None if case.before is None else describe_state(case.before),
            uid=_text(metadata_of(request.latest).get("uid")),
            resource_version=_text(version),
            generation=_integer(metadata.get("generation")),
        ),
        actor=actor,
        action_type=case.change.action_type,
        subresource=request.subresource,
        verdict=Verdict.ALLOW,
        status=ExecutionStatus.PENDING,
        changed={
            (c.field.container, c.field.name): (_shown(c.before), _shown(c.after))
            for c in case.change.fields
        },
        state_after=None if case.after is None else describe_state(case.after),
        fingerprint=case.change.fingerprint,
        request_fingerprint=digest_request(
            case.change,
            operation=request.operation,
            subresource=request.subresource,
            actor=actor,
        ),
        request_uid=request.uid,
        alert=case.context.alert_name,
        correlation_id=case.context.correlation_id,
    )


def make_recording(
    case: Case, candidate: Candidate, decision: Decision, *, warnings: tuple[str, ...]
) -> Recording:
    """Return what is written of a change once it is decided."""
    is_denied = decision.verdict is Verdict.DENY
    request = case.request
    return Recording(
        key=case.key,
        expected_version=candidate.history.version,
        labels=case.labels,
        trace=_refused(candidate.trace) if is_denied else candidate.trace,
        actor=case.actor,
        mode=decision.mode,
        context=case.context,
        parameters={"changes": [change.as_json() for change in case.change.fields]},
        changes_capacity=_changes_capacity(case.change),
        decision=describe_decision(
            decision, problems=(*request.problems, *case.context.problems), warnings=warnings
        ),
        opens=build_detections(candidate, decision),
        enforces=decision.enforces,
        asks=decision.asks,
        reserves=None if decision.approval is None else decision.approval.id,
    )


def _refused(trace: Trace) -> Trace:
    return replace(trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED)


def _changes_capacity(change: Change) -> bool:
    """Tell whether replicas or resources change; every creation and deletion changes replicas."""
    return any(part.field.part in (Part.REPLICAS, Part.RESOURCES) for part in change.fields)


def _shown(value: Value | None) -> object:
    return None if value is None else value.shown


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: object) -> int | None:
    """Return a whole number that a database can hold."""
    return value if isinstance(value, int) and value.bit_length() <= 63 else None
