"""Traces of cpu, memory and replicas, made by hand from whole objects."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from gate.domain.change import Operation, compare, digest_request
from gate.domain.decision import Decision, decide
from gate.domain.detection import Candidate, EvidenceKind
from gate.domain.pattern import Pattern
from gate.domain.reading import Readings, take_snapshot
from gate.domain.snapshot import describe_state
from gate.domain.trace import ExecutionStatus, History, OpenDetection, Sighting, Trace, Verdict
from tests.reviews import AGENT, Body, make_body, next_uid
from tests.timeline import SEAL, minute
from tests.unit import scene
from tests.unit.builders import KEY, make_detection, policy_of

RESOURCE_THRASHING = replace(scene.RESOURCE_THRASHING, own_end=None)
LIMIT = "app limits.memory"
REQUEST = "app requests.memory"
CPU_LIMIT = "app limits.cpu"
CPU_REQUEST = "app requests.cpu"

Held = Mapping[str, str | int]  # what fields hold, by their text; what is not there is absent
Turn = tuple[float, Held | None, Held | None]  # a minute, and what is held before and after


def hold(held: Held) -> Body:
    """Return a Deployment that holds these values, 3 replicas where none are given."""
    body = make_body(replicas=held.get("replicas", 3))
    containers: dict[str, Body] = {"app": {"name": "app", "image": "web:1.0"}}
    for text, value in held.items():
        if text == "replicas":
            continue
        container, _, name = text.rpartition(" ")
        group, _, resource = name.partition(".")
        entry = containers.setdefault(container, {"name": container, "image": "side:1.0"})
        entry.setdefault("resources", {}).setdefault(group, {})[resource] = value
    body["spec"]["template"]["spec"]["containers"] = list(containers.values())
    return body


def make_change(
    turn: Turn,
    *,
    version: int = 1,
    generation: int | None = None,
    status: ExecutionStatus = ExecutionStatus.PENDING,
) -> tuple[Trace, Candidate]:
    """Return the trace of a change, and the change as a candidate without a history."""
    when, before, after = turn
    operation = (
        Operation.CREATE
        if before is None
        else Operation.DELETE
        if after is None
        else Operation.UPDATE
    )
    old = None if before is None else take_snapshot(hold(before), Readings(SEAL))
    new = None if after is None else take_snapshot(hold(after), Readings(SEAL))
    change = compare(KEY.kind, operation, before=old, after=new)
    assert change is not None
    trace = Trace(
        action_id=f"trace {version}",
        version=version,
        seen=Sighting(
            at=minute(when),
            operation=operation,
            state=None if old is None else describe_state(old),
            uid="one",
            resource_version=str(version),
            generation=generation,
        ),
        actor=AGENT,
        action_type=change.action_type,
        subresource="",
        verdict=Verdict.ALLOW,
        status=status,
        changed={
            (c.field.container, c.field.name): (
                None if c.before is None else c.before.shown,
                None if c.after is None else c.after.shown,
            )
            for c in change.fields
        },
        state_after=None if new is None else describe_state(new),
        fingerprint=change.fingerprint,
        request_fingerprint=digest_request(
            change, operation=operation, subresource="", actor=AGENT
        ),
        request_uid=next_uid(),
    )
    return trace, Candidate(trace, change, History(KEY, version=version - 1))


def make_history(
    *turns: Turn,
    status: ExecutionStatus = ExecutionStatus.PENDING,
    detections: tuple[OpenDetection, ...] = (),
) -> Candidate:
    """Return the last of some changes as a candidate, after the others.

    Each starts from a state of its own: somebody else may have changed it in between.
    """
    *earlier, last = [
        make_change(turn, version=number, generation=2 * number, status=status)
        for number, turn in enumerate(turns, 1)
    ]
    trace, candidate = last
    traces = tuple(trace for trace, _ in earlier)
    history = replace(candidate.history, traces=traces, detections=detections)
    return replace(candidate, trace=replace(trace, status=ExecutionStatus.PENDING), history=history)


def with_traces(candidate: Candidate, *traces: Trace) -> Candidate:
    """Return a candidate after other traces."""
    return replace(candidate, history=replace(candidate.history, traces=traces))


def judge_turns(
    *turns: Turn,
    pattern: Pattern = RESOURCE_THRASHING,
    status: ExecutionStatus = ExecutionStatus.PENDING,
    detections: tuple[OpenDetection, ...] = (),
) -> Decision:
    """Decide about the last of some changes by one pattern."""
    candidate = make_history(*turns, status=status, detections=detections)
    return decide(candidate, policy_of(pattern))


def path(field: str, *values: str | int | None, pace: float = 10) -> tuple[Turn, ...]:
    """Return the changes of one field through some values, one every `pace` minutes."""
    held: list[Held] = [{} if value is None else {field: value} for value in values]
    return tuple(
        (number * pace, before, after) for number, (before, after) in enumerate(pairwise(held))
    )


def bind(*fields: str, kind: EvidenceKind = EvidenceKind.REVERSAL) -> OpenDetection:
    """Return a detection of resources, open until minute 100."""
    return make_detection(
        pattern_id=RESOURCE_THRASHING.id,
        pattern_type=RESOURCE_THRASHING.type,
        evidence_kind=kind,
        fields=fields,
    )
