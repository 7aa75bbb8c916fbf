"""What a pattern found in a change and its history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from gate.domain.change import ActionType, Change
from gate.domain.corroboration import is_stale
from gate.domain.pattern import Mode, Pattern
from gate.domain.trace import History, OpenDetection, Trace


class EvidenceKind(StrEnum):
    """Which rule of a pattern tripped."""

    REVERSAL = "reversal"
    CONTESTED = "contested"
    LEVER_ALTERNATION = "lever-alternation"
    INEFFECTIVE = "ineffective"
    SAME_ALERT = "same-alert"
    IDENTICAL = "identical"
    RATCHET = "ratchet"
    RETURN = "return"
    CHURN = "churn"
    CASCADE = "cascade"


class Response(StrEnum):
    """What a finding asks for, before the mode is looked at."""

    REFUSE = "refuse"
    WARN = "warn"


class Severity(StrEnum):
    """How much a finding should worry a person."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Candidate:
    """The change under judgement: as a trace that may come to be, with the history before it.

    `find_owners` names field managers, by container and field, where the object tells; few rules
    ask. `labels` are those before and after the change; where there are none, those last seen
    count.
    """

    trace: Trace
    change: Change
    history: History
    find_owners: Callable[[], Mapping[tuple[str, str], str]] = field(
        default=dict, repr=False, compare=False
    )
    labels: tuple[Mapping[str, str], ...] = ()

    @property
    def now(self) -> datetime:
        """Return the instant of the judgement."""
        return self.trace.seen.at

    @cached_property
    def is_stale(self) -> bool:
        """Tell whether its review saw an older state than one before it: it cannot persist."""
        return is_stale(self.trace.seen, (trace.seen for trace in self.history.traces))


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule of one pattern that tripped.

    `until` is the first second at which the rule no longer fires if nothing more takes effect: for
    the change itself where it is refused, for the next reduction where it is only warned about.
    `confidence` is between 0 and 1; `summary` says in words what was seen; `increase_up_to` is the
    most that an increase may still reach, where one is admitted at all. What binds later changes is
    `fields`, or instead of them `action_type`, or with `binds_actor` new workloads of that actor in
    the namespace. `mode` is the rule's own, where it has one. `describe` makes the evidence, which
    is asked for only where the finding is stored.
    """

    pattern: Pattern
    evidence_kind: EvidenceKind
    response: Response
    fields: tuple[str, ...]
    until: datetime
    confidence: float
    severity: Severity
    summary: str
    describe: Callable[[], Mapping[str, object]] = field(repr=False, compare=False)
    action_ids: tuple[str, ...]
    span: timedelta
    increase_up_to: int | None = None
    action_type: ActionType | None = None
    binds_actor: bool = False
    mode: Mode | None = None

    @property
    def evidence(self) -> Mapping[str, object]:
        """Return what it rests on, as it is stored."""
        return self.describe()


@dataclass(frozen=True, slots=True)
class Binding:
    """What an open detection has to say to a change, in words too."""

    detection: OpenDetection
    response: Response
    summary: str
    increase_up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What examining one pattern gave: the findings, weightiest first, and what input was missing.

    The words in `incomplete` come from a closed set, one for each rule that went without.
    """

    findings: tuple[Finding, ...] = ()
    incomplete: tuple[str, ...] = ()


NOTHING = Examination()
