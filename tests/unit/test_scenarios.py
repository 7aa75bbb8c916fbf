"""The scenarios that must trip, and those that must stay silent, to the minute."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.move import Move
from gate.domain.pattern import Mode, OnIncrease, Thresholds
from gate.domain.penalty import Damping, Deadband, Fold
from gate.domain.workload import Kind
from tests.timeline import (
    SCALE_OSCILLATION,
    Outcome,
    first_minute,
    minute,
    start_timeline,
)
from tests.unit.scenarios import SILENT, TRIPPING, Scenario

_REFUSING = replace(SCALE_OSCILLATION, thresholds=Thresholds(on_increase=OnIncrease.REFUSE))
_MEBI = 1024**2


_WAYS = (
    (Kind.DEPLOYMENT, ""),
    (Kind.DEPLOYMENT, "scale"),
    (Kind.STATEFUL_SET, ""),
    (Kind.STATEFUL_SET, "scale"),
)
_all_scenarios = pytest.mark.parametrize("scenario", [*TRIPPING, *SILENT], ids=lambda s: s.name)
_all_ways = pytest.mark.parametrize(("kind", "subresource"), _WAYS)


@_all_scenarios
@_all_ways
async def test_scenario_meets_its_first_warning_and_refusal(
    scenario: Scenario, kind: Kind, subresource: str
) -> None:
    timeline = await start_timeline(replicas=scenario.start, kind=kind, subresource=subresource)

    events = await timeline.play(scenario.steps)

    assert first_minute(events, Outcome.WARNED) == scenario.warned
    assert first_minute(events, Outcome.REFUSED) == scenario.refused


@_all_scenarios
@_all_ways
async def test_scenario_is_refused_at_its_minute_where_increases_are_refused_too(
    scenario: Scenario, kind: Kind, subresource: str
) -> None:
    timeline = await start_timeline(
        replicas=scenario.start, kind=kind, subresource=subresource, patterns=(_REFUSING,)
    )

    events = await timeline.play(scenario.steps)

    assert first_minute(events, Outcome.REFUSED) == scenario.strict
    assert first_minute(events, Outcome.WARNED) is None


@_all_scenarios
async def test_audit_refuses_nothing_and_warns_when_enforcement_would_have_objected(
    scenario: Scenario,
) -> None:
    timeline = await start_timeline(replicas=scenario.start, mode=Mode.AUDIT)

    events = await timeline.play(scenario.steps)

    objected = [when for when in (scenario.warned, scenario.refused) if when is not None]
    assert first_minute(events, Outcome.REFUSED) is None
    assert first_minute(events, Outcome.WARNED) == min(objected, default=None)


@pytest.mark.parametrize(
    ("values", "tripped"),
    [
        ([(0, 256, 512), (20, 512, 256), (30, 256, 512)], [30]),
        ([(0, 512, 256), (10, 256, 512), (20, 512, 256)], [20]),
        ([(0, 256, 280), (10, 280, 256), (20, 256, 280)], []),  # below 32Mi
        ([(0, 1024, 1056), (10, 1056, 1024), (20, 1024, 1056)], []),  # below 10 %
    ],
)
def test_memory_folds_as_replicas_do(
    values: list[tuple[int, int, int]], tripped: list[int]
) -> None:
    damping = Damping(3, timedelta(minutes=120))
    fold = Fold(damping, Deadband(32 * _MEBI, 0.10))

    fold = fold.take(
        Move(minute(when), before * _MEBI, after * _MEBI) for when, before, after in values
    )

    assert [
        (folded.move.at - minute(0)) / timedelta(minutes=1)
        for folded in fold.moves
        if folded.is_reversal and damping.trips(folded.penalty)
    ] == tripped
