"""One state of a workload as the cluster holds it, apart from any request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gate.domain.reading import Readings, take_snapshot
from gate.domain.request import Body, metadata_of, owners_of
from gate.domain.snapshot import describe_state
from gate.domain.trace import State
from gate.domain.workload import Kind, WorkloadKey

Item = tuple[str, str]  # a container, empty outside of them, and what it holds there

_DEFAULT_DEADLINE = timedelta(minutes=10)  # Kubernetes' own for Deployments
_OUT_OF_TIME = "ProgressDeadlineExceeded"
_ROLLED_OUT = "NewReplicaSetAvailable"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far the cluster has come with making pods as the object says.

    `is_held` where nobody replaces pods by themselves: paused, or OnDelete. `stuck_since` and
    `finished_at` are what a Deployment's own condition tells, to the second; `deadline` is how long
    it may go without progress.
    """

    observed_generation: int
    wanted: int
    to_update: int
    total: int
    updated: int
    available: int
    is_held: bool = False
    deadline: timedelta = _DEFAULT_DEADLINE
    stuck_since: datetime | None = None
    finished_at: datetime | None = None

    def is_complete(self, generation: int) -> bool:
        """Tell whether every pod is there, available and as that generation says."""
        return (
            self.observed_generation >= generation
            and self.total == self.wanted
            and self.available >= self.wanted
            and (self.is_held or self.updated >= self.to_update)
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """One state of a workload and when it was seen.

    `is_next` where nothing between this and the observation before it was missed; `is_leaving`
    where deletion has begun and `is_gone` where it is done: the state is then the last one.
    `owners` names the field manager that wrote an item last, where managedFields tell.
    """

    key: WorkloadKey
    at: datetime
    uid: str
    resource_version: str
    generation: int
    state: State
    rollout: Rollout
    owners: Mapping[Item, str] = field(default_factory=dict)
    is_next: bool = True
    is_leaving: bool = False
    is_gone: bool = False


def observe(
    body: Body, *, cluster: str, kind: Kind, at: datetime, readings: Readings, is_next: bool
) -> Observation:
    """Return what a Deployment or StatefulSet shows; values that may be secret are sealed."""
    metadata = metadata_of(body)
    return Observation(
        key=WorkloadKey(cluster, str(metadata.get("namespace")), kind, str(metadata.get("name"))),
        at=at,
        uid=str(metadata.get("uid")),
        resource_version=str(metadata.get("resourceVersion")),
        generation=_number(metadata, "generation"),
        state=describe_state(take_snapshot(body, readings)),
        rollout=_read_rollout(body, kind),
        owners=owners_of(body),
        is_next=is_next,
        is_leaving=metadata.get("deletionTimestamp") is not None,
    )


def ordinal(resource_version: str | None) -> int | None:
    """Return a resourceVersion as a number that grows; None where it is none."""
    is_number = resource_version is not None and resource_version.isdecimal()
    return int(resource_version or 0) if is_number else None


def _read_rollout(body: Body, kind: Kind) -> Rollout:
    spec, status = _mapping(body.get("spec")), _mapping(body.get("status"))
    wanted = _number(spec, "replicas", absent=1)
    condition = _find_condition(status, "Progressing")
    reason = condition.get("reason")
    changed_at = _instant(condition.get("lastUpdateTime"))
    return Rollout(
        observed_generation=_number(status, "observedGeneration"),
        wanted=wanted,
        to_update=max(wanted - _partition(spec), 0),
        total=_number(status, "replicas"),
        updated=_number(status, "updatedReplicas"),
        available=_number(status, "availableReplicas"),
        is_held=_is_held(spec, kind),
        deadline=_deadline(spec, kind),
        stuck_since=changed_at if reason == _OUT_OF_TIME else None,
        finished_at=changed_at if reason == _ROLLED_OUT else None,
    )


def _is_held(spec: Mapping[str, object], kind: Kind) -> bool:
    if kind is Kind.DEPLOYMENT:
        return spec.get("paused") is True
    return _mapping(spec.get("updateStrategy")).get("type") == "OnDelete"


def _deadline(spec: Mapping[str, object], kind: Kind) -> timedelta:
    """Return what a Deployment says, and for a StatefulSet, which cannot say, the usual."""
    if kind is not Kind.DEPLOYMENT:
        return _DEFAULT_DEADLINE
    usual = int(_DEFAULT_DEADLINE.total_seconds())
    return timedelta(seconds=_number(spec, "progressDeadlineSeconds", absent=usual))


def _partition(spec: Mapping[str, object]) -> int:
    """Return how many pods of a StatefulSet keep an older template on purpose."""
    strategy = _mapping(spec.get("updateStrategy"))
    return _number(_mapping(strategy.get("rollingUpdate")), "partition")


def _find_condition(status: Mapping[str, object], name: str) -> Mapping[str, object]:
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict) and condition.get("type") == name:
            return condition
    return {}


def _number(values: Mapping[str, object], name: str, *, absent: int = 0) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else absent


def _instant(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
