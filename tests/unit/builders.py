"""Traces, histories and candidates of replicas, made by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from gate.domain.change import Operation, compare, digest_request
from gate.domain.decision import Decision, decide
from gate.domain.detection import Candidate, EvidenceKind, Response
from gate.domain.pattern import Mode, Pattern
from gate.domain.policy import PerNamespace, Policy
from gate.domain.snapshot import REPLICAS, FieldGroup, Snapshot, Value
from gate.domain.trace import ExecutionStatus, History, OpenDetection, Sighting, Trace, Verdict
from gate.domain.workload import Kind, WorkloadKey
from tests.reviews import AGENT, next_uid
from tests.timeline import SCALE_OSCILLATION, minute

KEY = WorkloadKey("test", "shop", Kind.DEPLOYMENT, "web")
OPEN_UNTIL = minute(100)


def hold(replicas: int | None) -> Snapshot | None:
    """Return the snapshot of an object with these replicas; None is no object."""
    return None if replicas is None else Snapshot(FieldGroup({REPLICAS: Value(replicas, replicas)}))


def make_trace(
    before: int | None,
    after: int | None,
    *,
    at: datetime,
    version: int = 1,
    resource_version: str | None = None,
    uid: str | None = "one",
    generation: int | None = None,
    subresource: str = "",
    actor: str = AGENT,
    verdict: Verdict = Verdict.ALLOW,
    status: ExecutionStatus = ExecutionStatus.PENDING,
    request_uid: str | None = None,
    decision: Mapping[str, object] | None = None,
) -> Trace:
    """Return the trace of a change of replicas; no value before is CREATE, none after DELETE."""
    operation = (
        Operation.CREATE
        if before is None
        else Operation.DELETE
        if after is None
        else Operation.UPDATE
    )
    change = compare(KEY.kind, operation, before=hold(before), after=hold(after))
    assert change is not None
    return Trace(
        action_id=f"trace {version}",
        version=version,
        seen=Sighting(
            at=at,
            operation=operation,
            state=None if before is None else {"replicas": before},
            uid=uid,
            resource_version=resource_version,
            generation=generation,
        ),
        actor=actor,
        action_type=change.action_type,
        subresource=subresource,
        verdict=verdict,
        status=status,
        changed={
            (c.field.container, c.field.name): (
                None if c.before is None else c.before.shown,
                None if c.after is None else c.after.shown,
            )
            for c in change.fields
        },
        state_after=None if after is None else {"replicas": after},
        fingerprint=change.fingerprint,
        request_fingerprint=digest_request(
            change, operation=operation, subresource=subresource, actor=actor
        ),
        request_uid=request_uid or next_uid(),
        decision=decision or {},
    )


def make_candidate(
    trace: Trace,
    *earlier: Trace,
    detections: tuple[OpenDetection, ...] = (),
    labels: Mapping[str, str] | None = None,
    owner: str | None = None,
    key: WorkloadKey = KEY,
) -> Candidate:
    """Return a change under judgement after some earlier ones."""
    change = compare(
        key.kind,
        trace.seen.operation,
        before=hold(trace.before(REPLICAS)),
        after=hold(None if trace.state_after is None else trace.after(REPLICAS)),
    )
    assert change is not None
    history = History(
        key,
        version=len(earlier),
        labels=labels or {},
        traces=earlier,
        detections=detections,
    )
    owners = {("", "replicas"): owner} if owner else {}
    return Candidate(trace, change, history, find_owners=lambda: owners)


def series(*moves: tuple[float, int | None, int | None]) -> tuple[Trace, ...]:
    """Return traces of moves (minute, before, after), each from an object of its own version."""
    return tuple(
        make_trace(
            before,
            after,
            at=minute(when),
            version=number,
            resource_version=str(number),
            generation=2 * number,  # somebody else may have changed it in between
        )
        for number, (when, before, after) in enumerate(moves, 1)
    )


def make_detection(number: int = 7, **given: object) -> OpenDetection:
    """Return a warned detection of reversals, open until minute 100."""
    found = OpenDetection(
        id=number,
        pattern_id=SCALE_OSCILLATION.id,
        pattern_type=SCALE_OSCILLATION.type,
        evidence_kind=EvidenceKind.REVERSAL,
        fields=("replicas",),
        until=OPEN_UNTIL,
        mode=Mode.ENFORCE,
        prevention_applied=False,
        summary=f"what detection {number} saw",
    )
    return replace(found, **given)  # type: ignore[arg-type]  # fields of the detection


def judge(
    *moves: tuple[float, int | None, int | None],
    detections: tuple[OpenDetection, ...] = (),
    patterns: tuple[Pattern, ...] = (SCALE_OSCILLATION,),
    mode: Mode = Mode.ENFORCE,
) -> Decision:
    """Decide about the last of some moves."""
    *earlier, trace = series(*moves)
    candidate = make_candidate(trace, *earlier, detections=detections)
    return decide(candidate, policy_of(*patterns, mode=mode))


def policy_of(*patterns: Pattern, mode: Mode = Mode.ENFORCE) -> Policy:
    """Return the policy of these patterns, in one mode for everything."""
    return Policy(patterns, modes=PerNamespace(mode), version="a policy")


def shape(decision: Decision) -> tuple[Verdict, list[tuple[Response, bool, list[int | None]]]]:
    """Return the verdict, and each objection with whether it opens and what it cites."""
    return decision.verdict, [
        (o.response, o.opens, [bound.id for bound in o.bound_by]) for o in decision.objections
    ]
