"""What is known of an admitted change: whether it was persisted, and how its rollout ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gate.domain.change import Operation
from gate.domain.observation import Item
from gate.domain.trace import ExecutionStatus, State
from gate.domain.undoing import Undoing, find_items
from gate.domain.workload import WorkloadKey

GRACE = timedelta(seconds=45)  # the API server retries one request for at most 34 s
UNDONE_WITHIN = timedelta(hours=2)
SLACK = timedelta(minutes=1)  # a Deployment's own verdict comes first
OUT_OF_TIME = "progress-deadline-exceeded"
STALLED = "rollout-stalled"

_METADATA: Item = ("", "metadata")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a change so far; None is unknown.

    `generation` is the object's with the change, `state` the one it was last seen in; `error` is
    NOT_PERSISTED, OUT_OF_TIME or STALLED, a colon, and what was seen.
    """

    status: ExecutionStatus = ExecutionStatus.PENDING
    error: str | None = None
    generation: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    state: State | None = None
    undoing: Undoing | None = None

    @property
    def duration(self) -> timedelta | None:
        """Return how long the rollout took; None where an end was not seen or a clock went back."""
        if self.started_at is None or self.ended_at is None or self.ended_at < self.started_at:
            return None
        return self.ended_at - self.started_at


@dataclass(frozen=True, slots=True)
class Progress:
    """How many pods were updated and available when either last grew, and how long it may take."""

    updated: int
    available: int
    at: datetime
    deadline: timedelta


@dataclass(frozen=True, slots=True)
class Awaited:
    """An admitted change on record, and what has become of it so far.

    `uid`, `resource_version` and `base`, its generation, are of the object as the last review saw
    it before the change; a Scale carries no generation, so that one is found out by watching.
    """

    action_id: str
    key: WorkloadKey
    version: int
    at: datetime
    actor: str
    operation: Operation
    uid: str | None
    resource_version: str | None
    base: int | None
    before: State | None
    after: State | None
    outcome: Outcome = Outcome()
    progress: Progress | None = None

    @property
    def is_pending(self) -> bool:
        """Tell whether it is still unknown whether the change was persisted."""
        return self.outcome.status is ExecutionStatus.PENDING

    @property
    def is_executing(self) -> bool:
        """Tell whether the change is there and its rollout under way."""
        return self.outcome.status is ExecutionStatus.EXECUTING

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing that happens later can change the outcome."""
        if self.outcome.status is ExecutionStatus.COMPLETED:
            return self.outcome.undoing is not None
        return not (self.is_pending or self.is_executing)

    @property
    def may_keep_generation(self) -> bool:
        """Tell whether only metadata changes, which the generation need not count."""
        return self.items == [_METADATA]

    @property
    def items(self) -> list[Item]:
        """Return what the change was to alter."""
        return find_items(self.before, self.after)


@dataclass(frozen=True, slots=True)
class AwaitedChanges:
    """Changes whose outcome may still change; `is_cut` where there may be more than were read."""

    changes: Sequence[Awaited]
    is_cut: bool = False


def is_overdue(
    change: Awaited, *, waited: timedelta, now: datetime, grace: timedelta = GRACE
) -> bool:
    """Tell whether the object has to be read again, since nothing may be coming any more.

    `waited` is how long the change has been known of, by a clock that nobody sets; `grace` how long
    its request may be retried.
    """
    if change.is_pending:
        return waited >= grace
    progress = change.progress
    if progress is None:
        return False
    return change.is_executing and now - progress.at >= progress.deadline + SLACK
