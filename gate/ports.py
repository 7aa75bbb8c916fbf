"""What services need from the outside; adapters satisfy these, the composition root wires them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from gate.domain.effectiveness import EffectivenessTable
from gate.domain.observation import Observation
from gate.domain.outcome import Awaited, AwaitedChanges
from gate.domain.pattern import Mode, Pattern
from gate.domain.policy import FailureMode
from gate.domain.record import Recording, Write
from gate.domain.trace import History, OpenDetection
from gate.domain.workload import Kind, WorkloadKey


@dataclass(frozen=True, slots=True)
class Question:
    """Whose history a decision needs, and whose changes around it."""

    key: WorkloadKey
    actor: str
    correlation_id: str | None = None


class Histories(Protocol):
    """The histories of workloads, read and written on the admission path.

    `deadline` is a time of the event loop's clock, in seconds. Both raise StorageUnavailableError
    no later than that, also when the database neither answers nor closes the connection.
    """

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        """Return a workload's history; an unknown one is empty.

        Traces reach 7 days back, at most the newest 64 of each sort: admitted or refused, of
        capacity or of anything else. Detections are those that are unresolved and bind beyond
        `now`, escalations those that are open or approved and do not expire before it. Changes
        around it reach a day back, at most the newest 64 of the actor and as many of others with
        the correlation id; creations and changes of metadata are not among them.
        """
        ...

    async def record(self, write: Write, *, deadline: float) -> bool:
        """Write where the history is still at the expected version, and tell whether it was.

        A spooled trace that is recorded already counts as written, and is corrected to what was
        answered. Raises MissingPartitionError where no partition takes the trace.
        """
        ...


class PolicySource(Protocol):
    """The rows that say what is looked for, and what happens then."""

    async def read(self) -> "PolicyListing":
        """Return what the rows say, and what is wrong with those that cannot be used."""
        ...


class PolicyRows(Protocol):
    """The same rows, as a policy file makes them."""

    async def is_declared(self) -> bool:
        """Tell whether a file was ever applied to them."""
        ...

    async def apply(self, declaration: "Declaration") -> "Application":
        """Make the rows equal to what a policy file declares, and tell which were not.

        Nothing else of a row is touched; a pattern that is not declared is no longer looked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class UnusablePattern:
    """An active pattern whose row makes no sense; `problem` names the row and what is wrong."""

    id: int
    problem: str


@dataclass(frozen=True, slots=True)
class NamespaceModes:
    """Modes where a glob matches the namespace; None where this entry says nothing."""

    match: str
    mode: Mode | None = None
    failure_mode: FailureMode | None = None


@dataclass(frozen=True, slots=True)
class DeclaredModes:
    """Modes as a policy file declares them; None where the settings hold."""

    mode: Mode | None = None
    failure_mode: FailureMode | None = None
    namespaces: tuple[NamespaceModes, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyListing:
    """The usable active patterns in the order of their ids, the unusable ones, and the modes.

    `modes` is None where its row cannot be used, and `modes_problem` then says why. `left_out` are
    active patterns that are too many to be looked for, and `left_out_problem` then names them.
    """

    patterns: tuple[Pattern, ...]
    problems: tuple[UnusablePattern, ...] = ()
    modes: DeclaredModes | None = DeclaredModes()
    modes_problem: str | None = None
    left_out: int = 0
    left_out_problem: str | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the rows are to say: columns by name, those of each pattern and those of the modes.

    Rows named in `spared` are left as they are, for their declaration cannot be used; `digest` is
    of all that is declared.
    """

    patterns: tuple[Mapping[str, object], ...]
    modes: Mapping[str, object]
    digest: str
    spared: tuple[str, ...] = ()


class RowFate(StrEnum):
    """What was done about a row that was not as declared."""

    ADDED = "added"
    CHANGED = "changed"
    RETIRED = "retired"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that was not as declared, and what it said before by column, where it was changed.

    It is kept where its pattern is of another type: what it detected could not be understood.
    """

    name: str
    fate: RowFate
    before: Mapping[str, object]
    after: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Application:
    """The rows that were not as declared; `is_drift` where they were, and were edited since."""

    changes: tuple[RowChange, ...] = ()
    is_drift: bool = False


class Partitions(Protocol):
    """The monthly partitions of traces."""

    async def ensure(self, *, now: datetime, months_ahead: int) -> list[str]:
        """Make the partitions of this month and those ahead; return the names of the new ones."""
        ...


class EffectivenessReader(Protocol):
    """What the assessments of past actions amount to."""

    async def list_effectiveness(self) -> EffectivenessTable:
        """Return the latest figures of each action type by alert and by kind of workload.

        Those without a lower bound are left out: nothing is known of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One trace as people read it: the columns by name, in the order of the query."""

    columns: dict[str, object]


class TraceReader(Protocol):
    """The traces of a workload for people and reports."""

    async def list_traces(self, key: WorkloadKey, *, since: datetime) -> list[HistoryRow]:
        """Return a workload's traces since an instant, oldest first.

        An empty `cluster` in the key means any cluster.
        """
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """What people want to know of the certificate that is being served."""

    names: tuple[str, ...]
    serial: str
    expires_at: datetime


class ServedPair(Protocol):
    """A certificate and key in files, and the TLS context that serves them."""

    def reload(self, *, now: datetime) -> Leaf | None:
        """Serve what the files hold; None where that is being served already.

        Raises CertificateError, and goes on serving the earlier pair, where they hold no
        certificate that is valid now with the key that fits it.
        """
        ...


class SpoolReason(StrEnum):
    """Why the spool did not do what it is for."""

    ABSENT = "absent"
    FULL = "full"
    UNWRITABLE = "unwritable"
    LATE = "late"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class SpoolProblem:
    """What is wrong with the spool, where, and what to do."""

    reason: SpoolReason
    message: str


@dataclass(frozen=True, slots=True)
class SpooledEntry:
    """A recording that waits on the disk; numbers grow in the order of the answers.

    `recording` is None where this release cannot read it, or, with a `problem`, where the disk does
    not give it now.
    """

    number: int
    key: WorkloadKey
    recording: Recording | None
    problem: SpoolProblem | None = None


@dataclass(frozen=True, slots=True)
class SpoolSize:
    """How much waits on the disk, or is on its way there; `oldest` is None where nothing waits."""

    entries: int
    bytes: int
    oldest: datetime | None


class Spool(Protocol):
    """Recordings that the database could not take, kept on the disk until it can.

    One process holds it. Nothing here raises for a disk that fails: problems are values.
    """

    async def open(self) -> tuple[SpoolProblem, ...]:
        """Take hold of it where that is not done yet, and tell what could not be read."""
        ...

    async def append(self, recording: Recording, *, deadline: float) -> SpoolProblem | None:
        """Keep a recording; it survives a loss of power once None is returned."""
        ...

    def holds(self, key: WorkloadKey) -> bool:
        """Tell whether something of a workload waits."""
        ...

    def list_keys(self) -> tuple[WorkloadKey, ...]:
        """Return the workloads of which something waits, those that waited first before others."""
        ...

    def measure(self) -> SpoolSize:
        """Tell how much waits."""
        ...

    async def read(
        self, key: WorkloadKey, *, after: int = 0, at_most: int = 64
    ) -> list[SpooledEntry]:
        """Return what waits of a workload with numbers beyond `after`, in order."""
        ...

    async def read_latest(self, key: WorkloadKey, *, at_most: int = 64) -> list[SpooledEntry]:
        """Return the newest of what waits of a workload, in order."""
        ...

    async def remove(self, key: WorkloadKey, numbers: Collection[int]) -> None:
        """Forget entries that are recorded."""
        ...

    async def set_aside(self, entry: SpooledEntry) -> SpoolProblem:
        """Put an entry that can never be recorded into a file for people, and forget it.

        Where that cannot be done the entry stays, and the reason is not REFUSED.
        """
        ...

    async def expire(self, *, before: datetime) -> SpoolProblem | None:
        """Forget entries that were spooled before an instant; tell where there were any."""
        ...

    async def close(self, *, deadline: float) -> None:
        """Let go of it by the deadline; what waits is still there at the next start."""
        ...


@dataclass(frozen=True, slots=True)
class KnownDetection:
    """A detection that binds, and the workload it was made on."""

    key: WorkloadKey
    detection: OpenDetection


class Detections(Protocol):
    """The detections of a cluster, for the time when the database is away."""

    async def list_open_detections(self, cluster: str, *, now: datetime) -> list[KnownDetection]:
        """Return the enforced detections that bind beyond `now`, those that end last first.

        At most 10 000. Raises StorageUnavailableError where PostgreSQL does not answer within 5 s.
        """
        ...


class Outcomes(Protocol):
    """Admitted changes on record, and what became of them."""

    async def list_awaited(
        self, cluster: str, *, since: datetime, completed_since: datetime, at_most: int
    ) -> AwaitedChanges:
        """Return the changes since an instant whose outcome may still change, oldest first.

        Completed ones may still be undone; they reach back to `completed_since` only. At most
        `at_most` of them, the newest, and as many that are not settled, the oldest.
        """
        ...

    async def mark(self, changes: Sequence[Awaited]) -> set[str]:
        """Write outcomes where nobody else has, and return the ids of those written.

        An approval is used up by a change that is there, and freed by one that was not persisted.
        """
        ...


class WorkloadReader(Protocol):
    """The workloads of a cluster, one at a time."""

    async def read(self, key: WorkloadKey) -> Observation | None:
        """Return the present state of a workload, None where there is none; ClusterError if not."""
        ...


class Observer(Protocol):
    """Who is told what a watch of the cluster sees."""

    def see(self, seen: Observation) -> None:
        """Take in one state of a workload."""
        ...

    def see_all(self, kind: Kind, listed: Sequence[Observation], *, at: datetime) -> None:
        """Take in all workloads of a kind, after a gap; what is not among them is gone."""
        ...

    def confirm(self, kind: Kind, *, at: datetime) -> None:
        """Note that up to an instant nothing of a kind was missed."""
        ...


class Leases(Protocol):
    """Leases by the clock of the database: a name is held by one at a time."""

    async def claim(self, name: str, *, holder: str, length: timedelta) -> bool:
        """Take a lease, or keep it, for so long from now; False where another holds it."""
        ...

    async def release(self, name: str, *, holder: str) -> None:
        """Give a lease back, if it is held."""
        ...


class Tallies(Protocol):
    """What is summed up and brought to its end beside admissions; each returns how many."""

    async def sum_detections(self) -> int:
        """Add new detections to the sums of their patterns, each exactly once."""
        ...

    async def resolve_detections(self) -> int:
        """Resolve detections that bind nobody any more."""
        ...

    async def expire_escalations(self) -> int:
        """Expire what nobody answered or used in time, and move the versions of its workloads."""
        ...
