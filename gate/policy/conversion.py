"""Entries of a policy file as patterns that decide."""

from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from gate.domain.pattern import (
    CascadeThresholds,
    LoopThresholds,
    OnIncrease,
    Pattern,
    PatternType,
    Scope,
    Strategy,
    Thresholds,
)
from gate.domain.quantity import parse_amount
from gate.policy.schema import (
    CascadingFailure,
    IneffectiveLoop,
    PatternEntry,
    ResourceThrashing,
    ScaleOscillation,
    ScopeSection,
)
from gate.policy.sections import (
    AlternativeAction,
    BlockAction,
    CoolingPeriod,
    EscalateHuman,
    LoopSection,
    ResourceSection,
    ScaleSection,
    StrategySection,
)

_LASTS = timedelta(hours=1)


def make_pattern(name: str, entry: PatternEntry, *, pattern_id: int) -> Pattern:
    """Return the pattern that an entry declares."""
    strategy = entry.strategy
    return Pattern(
        id=pattern_id,
        type=PatternType(entry.type),
        name=name,
        min_occurrences=entry.min_occurrences,
        window=timedelta(minutes=entry.time_window_minutes),
        strategy=Strategy(strategy.name),
        thresholds=_thresholds(entry),
        loop=_loop(entry.thresholds) if isinstance(entry, IneffectiveLoop) else LoopThresholds(),
        cascade=CascadeThresholds(entry.thresholds.unhealthy_workloads)
        if isinstance(entry, CascadingFailure)
        else CascadeThresholds(),
        own_end=_own_end(strategy),
        escalate_after=strategy.escalate_after if isinstance(strategy, CoolingPeriod) else None,
        alternatives=(strategy.alternatives or ())
        if isinstance(strategy, AlternativeAction)
        else (),
        escalation_lasts=_escalation_lasts(strategy),
        scope=_scope(entry.scope),
        mode=entry.mode,
    )


def _thresholds(entry: PatternEntry) -> Thresholds:
    if isinstance(entry, ScaleOscillation | ResourceThrashing):
        return _reversals(entry.thresholds)
    return Thresholds()


def _reversals(section: ScaleSection | ResourceSection) -> Thresholds:
    common = Thresholds(
        dead_relative=section.dead_relative,
        on_increase=section.on_increase or OnIncrease.WARN,
        increase_cap=section.increase_cap,
    )
    if isinstance(section, ScaleSection):
        return replace(common, dead_absolute=section.dead_absolute)
    return replace(
        common,
        dead_absolute_cpu=_count("cpu", section.dead_absolute_cpu),
        dead_absolute_memory=_count("memory", section.dead_absolute_memory),
    )


def _count(resource: str, quantity: str) -> int:
    amount = parse_amount(resource, quantity)
    if amount is None:
        raise ValueError(f"{quantity!r} is no quantity of {resource}")
    return amount.value


def _loop(section: LoopSection) -> LoopThresholds:
    return LoopThresholds(
        effectiveness_threshold=section.effectiveness_threshold,
        alert_occurrences=section.alert_occurrences,
        alert_window=timedelta(minutes=section.alert_window_minutes),
        identical_occurrences=section.identical_occurrences,
        identical_window=timedelta(minutes=section.identical_window_minutes),
        ratchet_factor=section.ratchet_factor,
        ratchet_factor_unassessed=section.ratchet_factor_unassessed,
        ratchet_replicas=section.ratchet_replicas,
        churn_occurrences=section.churn_occurrences,
        churn_window=timedelta(minutes=section.churn_window_minutes),
        churn_mode=section.churn_mode,
    )


def _own_end(strategy: StrategySection) -> timedelta | None:
    match strategy:
        case BlockAction():
            minutes = strategy.block_minutes
        case CoolingPeriod() | EscalateHuman() | AlternativeAction():
            minutes = strategy.cooling_period_minutes
        case _:
            assert_never(strategy)
    return timedelta(minutes=minutes) if minutes else None


def _escalation_lasts(strategy: StrategySection) -> timedelta:
    if not isinstance(strategy, CoolingPeriod | EscalateHuman):
        return _LASTS
    minutes = strategy.escalation_expires_minutes
    return _LASTS if minutes is None else timedelta(minutes=minutes)


def _scope(section: ScopeSection) -> Scope:
    return Scope(tuple(map(str, section.kinds)), section.namespaces, dict(section.labels) or None)
