"""A kind of oscillation with its thresholds and strategy, as one row of `oscillation_patterns`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from gate.domain.actor import is_match
from gate.domain.workload import WorkloadKey


class PatternType(StrEnum):
    """The four kinds of oscillation."""

    SCALE_OSCILLATION = "scale-oscillation"
    RESOURCE_THRASHING = "resource-thrashing"
    INEFFECTIVE_LOOP = "ineffective-loop"
    CASCADING_FAILURE = "cascading-failure"


class Strategy(StrEnum):
    """What prevents a pattern, strictest first."""

    BLOCK_ACTION = "block-action"
    ESCALATE_HUMAN = "escalate-human"
    COOLING_PERIOD = "cooling-period"
    ALTERNATIVE_ACTION = "alternative-action"


class Mode(StrEnum):
    """Whether gate refuses, or only says what it would have refused."""

    ENFORCE = "enforce"
    AUDIT = "audit"


class OnIncrease(StrEnum):
    """What a reversal that gives capacity meets."""

    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The `threshold_config` of the patterns that fold reversals."""

    dead_absolute: int = 1
    dead_relative: float = 0.10
    on_increase: OnIncrease = OnIncrease.WARN
    increase_cap: float = 2.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which workloads a pattern watches; empty means all."""

    kinds: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None

    def covers(self, key: WorkloadKey, labels: Mapping[str, str]) -> bool:
        """Tell whether the pattern watches this workload."""
        return (
            (not self.kinds or key.kind in self.kinds)
            and (not self.namespaces or any(is_match(g, key.namespace) for g in self.namespaces))
            and all(labels.get(name) == value for name, value in (self.labels or {}).items())
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """One active pattern.

    `own_end` is the strategy's own time: a cooling period, or how long a block lasts if it says so;
    None where it has none.
    """

    id: int
    type: PatternType
    name: str
    min_occurrences: int
    window: timedelta
    strategy: Strategy
    thresholds: Thresholds = Thresholds()
    own_end: timedelta | None = None
    scope: Scope = Scope()
    mode: Mode | None = None
