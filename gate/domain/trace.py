"""The record of one change, and what earlier records say about a workload."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from gate.domain.change import ActionType, Operation
from gate.domain.escalation import Escalation
from gate.domain.pattern import Mode, Strategy
from gate.domain.quantity import parse_amount
from gate.domain.snapshot import REPLICAS, RESTARTED_AT, Field
from gate.domain.workload import WorkloadKey

READ_BACK = timedelta(days=7)
READ_AT_MOST = 64
COOLINGS_AT_MOST = 32
NEARBY_BACK = timedelta(days=1)
NEARBY_AT_MOST = 256  # of the actor, and as many with its correlation id
UNLIMITED = 2**62  # what an absent limit of cpu or memory amounts to
NOT_PERSISTED = "not-persisted"  # how the reason begins of a failure to be stored at all
METADATA = ("labels.", "annotations.")  # how the names of its fields begin
_METADATA_PATH = ("metadata",)
_REPLICAS = (REPLICAS.container, REPLICAS.name)
_REPLICAS_PATH = (REPLICAS.name,)

State = Mapping[str, object]
StatePath = tuple[str, ...]  # the names that lead to a value in a state


class Verdict(StrEnum):
    """What the API server is answered."""

    ALLOW = "allow"
    DENY = "deny"


class ExecutionStatus(StrEnum):
    """What became of a change."""

    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled-back"
    BLOCKED = "blocked"


# A failure with a reason is told by that.
_PERSISTED: Mapping[ExecutionStatus, bool | None] = {
    ExecutionStatus.PENDING: None,
    ExecutionStatus.EXECUTING: True,
    ExecutionStatus.COMPLETED: True,
    ExecutionStatus.ROLLED_BACK: True,
    ExecutionStatus.BLOCKED: False,
    ExecutionStatus.FAILED: False,
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one review showed of the object as it was stored before the change."""

    at: datetime
    operation: Operation
    state: State | None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None

    def holds(self, field: Field) -> int | None:
        """Return the number a field held; None where that is unknown or there was no object."""
        return None if self.state is None else number_in(self.state, field)


@dataclass(frozen=True, slots=True)
class Trace:
    """One recorded change, as far as decisions read it back.

    `changed` has the values before and after, as shown, by container and field. `score` and
    `is_alert_firing` are None where nothing was assessed. `approval` is the escalation by whose
    approval it was admitted; `undone_by` who was seen to undo it; `error` the reason of a failure.
    """

    action_id: str
    version: int
    seen: Sighting
    actor: str
    action_type: ActionType
    subresource: str
    verdict: Verdict
    status: ExecutionStatus
    changed: Mapping[tuple[str, str], tuple[object, object]]
    state_after: State | None
    fingerprint: str
    request_fingerprint: str
    request_uid: str
    decision: Mapping[str, object] = field(default_factory=dict)
    alert: str | None = None
    correlation_id: str | None = None
    score: float | None = None
    is_alert_firing: bool | None = None
    approval: str | None = None
    undone_by: str | None = None
    error: str | None = None

    @property
    def is_of_metadata(self) -> bool:
        """Tell whether it touched labels and annotations of the object, and nothing else."""
        return self.action_type is ActionType.UPDATE_METADATA

    def changes(self, field: Field) -> bool:
        """Tell whether this change touched the field."""
        return (field.container, field.name) in self.changed

    @property
    def paths(self) -> tuple[StatePath, ...]:
        """Return where in a state the fields are kept that it touched.

        Of metadata only where it touched nothing else: others write it at any time.
        """
        if len(self.changed) == 1 and _REPLICAS in self.changed:  # as it mostly is
            return (_REPLICAS_PATH,)
        paths = {path_of(container, name) for container, name in self.changed}
        if not self.is_of_metadata:
            paths.discard(_METADATA_PATH)
        return tuple(sorted(paths))

    def before(self, field: Field) -> int | None:
        """Return the number the field held before; None where the object did not exist."""
        return self.seen.holds(field)

    def after(self, field: Field) -> int | None:
        """Return the number the field was to hold; a deleted object has no replicas."""
        if self.state_after is None:
            return 0 if field == REPLICAS else None
        return number_in(self.state_after, field)


@dataclass(frozen=True, slots=True)
class OpenDetection:
    """A detection whose promise still binds: until when, on which fields, in which mode.

    `action_type` is what it binds instead of fields, where it does; `actor` is set where it binds
    that actor in the whole namespace, but for the workloads that it `spares`, as text. `id` is None
    where it is known from memory alone.
    """

    id: int | None
    pattern_id: int
    pattern_type: str
    evidence_kind: str
    fields: tuple[str, ...]
    until: datetime
    mode: Mode
    prevention_applied: bool
    summary: str = ""
    strategy: Strategy = Strategy.COOLING_PERIOD
    action_type: str | None = None
    actor: str | None = None
    spares: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cooling:
    """A refusal of the past: when it began, and until when it bound."""

    pattern_id: int
    detected_at: datetime
    until: datetime


class Nearby(NamedTuple):
    """An admitted change in the namespace, by the same actor or with its correlation id.

    Only the actor is proven: a correlation id is what an agent says. `error` is the reason of a
    failure; `is_alert_firing` is None where that is not stored. A tuple, since every review reads
    dozens of them.
    """

    key: WorkloadKey
    action_id: str
    at: datetime
    actor: str
    action_type: ActionType
    status: ExecutionStatus
    error: str | None = None
    is_alert_firing: bool | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """Thresholds of one workload that replace the pattern's; None keeps the pattern's."""

    window: timedelta | None = None
    min_occurrences: int | None = None
    effectiveness_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a workload at one version of its history, traces in order of version.

    `detections` are the open ones that bind the workload, or the actor in its namespace; `nearby`
    are changes around it, oldest first: of each workload the newest of each outcome, complete since
    `nearby_since`, where there were more than are read.
    """

    key: WorkloadKey
    version: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    traces: tuple[Trace, ...] = ()
    detections: tuple[OpenDetection, ...] = ()
    overrides: Overrides = Overrides()
    coolings: tuple[Cooling, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    nearby: tuple[Nearby, ...] = ()
    nearby_since: datetime | None = None


def was_persisted(status: ExecutionStatus, error: str | None) -> bool | None:
    """Tell from an observed outcome whether a change took effect; None while that is not known.

    A rollout that failed took effect: the object was changed. A failure without a reason did not.
    """
    if error is not None and status is ExecutionStatus.FAILED:
        return not error.startswith(NOT_PERSISTED)
    return _PERSISTED[status]


def path_of(container: str, name: str) -> StatePath:
    """Return the way to what a state keeps of a field: a value of its own, or a digest."""
    if name == "image" or name.startswith(("requests.", "limits.")):
        return ("containers", container, name)
    if container or name.startswith("template."):
        return ("digest",)
    if name in RESTARTED_AT:
        return ("restarted", name)
    return _METADATA_PATH if name.startswith(METADATA) else (name,)


def values_at(state: State, paths: tuple[StatePath, ...]) -> tuple[object, ...] | None:
    """Return what a state holds at some paths; None where it cannot tell.

    A Scale cannot tell of anything but replicas.
    """
    is_of_scale = len(state) <= 1 and paths != (_REPLICAS_PATH,)
    return None if is_of_scale or not paths else tuple([_look_up(state, path) for path in paths])


def _look_up(state: State, path: StatePath) -> object:
    held: object = state
    for name in path:
        held = held.get(name) if isinstance(held, dict) else None
    return held


def number_in(state: State, field: Field) -> int | None:
    """Return the number a state holds for replicas, cpu or memory.

    An absent request is 0, an absent limit UNLIMITED; a container that is not there holds nothing.
    """
    if field == REPLICAS:
        value = state.get("replicas")
        return value if isinstance(value, int) else None
    containers = state.get("containers")
    container = containers.get(field.container) if isinstance(containers, dict) else None
    if not isinstance(container, dict):
        return None
    group, _, resource = field.name.partition(".")
    text = container.get(field.name)
    if text is None:
        return UNLIMITED if group == "limits" else 0
    amount = parse_amount(resource, text) if isinstance(text, str) else None
    return None if amount is None else amount.value
