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
    """The `threshold_config` of the patterns that fold reversals.

    What is too small to count, in replicas, millicores and bytes, and relative to the smaller of
    both values; what an increase out of a loop meets, and the multiple it may reach of the most
    that was held.
    """

    dead_absolute: int = 1
    dead_absolute_cpu: int = 50
    dead_absolute_memory: int = 32 * 1024 * 1024
    dead_relative: float = 0.10
    on_increase: OnIncrease = OnIncrease.WARN
    increase_cap: float = 2.0


@dataclass(frozen=True, slots=True)
class LoopThresholds:
    """The `threshold_config` of ineffective loops, one group for each of its rules."""

    effectiveness_threshold: float = 0.3
    alert_occurrences: int = 5
    alert_window: timedelta = timedelta(hours=4)
    identical_occurrences: int = 3
    identical_window: timedelta = timedelta(hours=1)
    ratchet_factor: float = 4.0
    ratchet_factor_unassessed: float = 8.0
    ratchet_replicas: bool = False
    churn_occurrences: int = 10
    churn_window: timedelta = timedelta(hours=1)
    churn_mode: Mode | None = Mode.AUDIT


@dataclass(frozen=True, slots=True)
class CascadeThresholds:
    """The `threshold_config` of cascading failures: how many workloads were left unhealthy."""

    unhealthy_workloads: int = 2


@dataclass(frozen=True, slots=True)
class Scope:
    """Which workloads a pattern watches; empty means all."""

    kinds: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None

    def covers(self, key: WorkloadKey, labels: Mapping[str, str]) -> bool:
        """Tell whether the pattern watches this workload."""
        return self.covers_place(key) and all(
            labels.get(name) == value for name, value in (self.labels or {}).items()
        )

    def covers_place(self, key: WorkloadKey) -> bool:
        """Tell whether the pattern watches workloads of this kind and namespace."""
        return (not self.kinds or key.kind in self.kinds) and (
            not self.namespaces or any(is_match(g, key.namespace) for g in self.namespaces)
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """One active pattern.

    `own_end` is the strategy's own time: a cooling period, or how long a block lasts if it says so;
    None where it has none. The `escalate_after`-th cooling in a row asks a person; None never does.
    `alternatives` are words of the operator's own; an escalation nobody decides ends after
    `escalation_lasts`.
    """

    id: int
    type: PatternType
    name: str
    min_occurrences: int
    window: timedelta
    strategy: Strategy
    thresholds: Thresholds = Thresholds()
    loop: LoopThresholds = LoopThresholds()
    cascade: CascadeThresholds = CascadeThresholds()
    own_end: timedelta | None = None
    escalate_after: int | None = None
    alternatives: tuple[str, ...] = ()
    escalation_lasts: timedelta = timedelta(hours=1)
    scope: Scope = Scope()
    mode: Mode | None = None
