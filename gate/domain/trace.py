"""The record of one change, and what earlier records say about a workload."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from gate.domain.change import ActionType, Operation
from gate.domain.pattern import Mode
from gate.domain.quantity import parse_amount
from gate.domain.snapshot import REPLICAS, Field
from gate.domain.workload import WorkloadKey

READ_BACK = timedelta(days=7)
READ_AT_MOST = 64

State = Mapping[str, object]


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
    """One recorded change, as far as decisions read it back."""

    action_id: str
    version: int
    seen: Sighting
    actor: str
    action_type: ActionType
    subresource: str
    verdict: Verdict
    status: ExecutionStatus
    changed: frozenset[tuple[str, str]]
    state_after: State | None
    fingerprint: str
    request_fingerprint: str
    request_uid: str
    decision: Mapping[str, object] = field(default_factory=dict)

    def changes(self, field: Field) -> bool:
        """Tell whether this change touched the field."""
        return (field.container, field.name) in self.changed

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
    """A detection whose promise still binds: until when, on which fields, in which mode."""

    id: int
    pattern_id: int
    pattern_type: str
    evidence_kind: str
    fields: tuple[str, ...]
    until: datetime
    mode: Mode
    prevention_applied: bool
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Thresholds of one workload that replace the pattern's; None keeps the pattern's."""

    window: timedelta | None = None
    min_occurrences: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a workload at one version of its history, traces in order of version."""

    key: WorkloadKey
    version: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    traces: tuple[Trace, ...] = ()
    detections: tuple[OpenDetection, ...] = ()
    overrides: Overrides = Overrides()


def number_in(state: State, field: Field) -> int | None:
    """Return the number a state holds for replicas, cpu or memory."""
    if field == REPLICAS:
        value = state.get("replicas")
        return value if isinstance(value, int) else None
    containers = state.get("containers")
    container = containers.get(field.container) if isinstance(containers, dict) else None
    text = container.get(field.name) if isinstance(container, dict) else None
    amount = parse_amount(field.name.partition(".")[2], text) if isinstance(text, str) else None
    return None if amount is None else amount.value
