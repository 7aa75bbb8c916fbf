"""Rows of patterns become patterns; a wrong one is named and disables no other."""

from datetime import timedelta

import pytest

from gate.domain.pattern import Mode, OnIncrease, Pattern, PatternType, Scope, Strategy, Thresholds
from gate.ports import UnusablePattern
from gate.postgres.patterns import PostgresPatterns
from gate.postgres.pool import Pool

KINDS = ("Deployment", "StatefulSet")


async def test_the_seeded_patterns_are_usable(pool: Pool) -> None:
    listing = await PostgresPatterns(pool).list_active()

    assert listing.problems == ()
    assert listing.patterns[0] == Pattern(
        id=1,
        type=PatternType.SCALE_OSCILLATION,
        name="scale-oscillation",
        min_occurrences=3,
        window=timedelta(hours=2),
        strategy=Strategy.COOLING_PERIOD,
        thresholds=Thresholds(1, 0.1, OnIncrease.WARN, 2.0),
        own_end=timedelta(minutes=30),
        scope=Scope(KINDS),
    )
    assert [(p.type, p.strategy, p.own_end) for p in listing.patterns[1:]] == [
        (PatternType.RESOURCE_THRASHING, Strategy.ALTERNATIVE_ACTION, timedelta(minutes=30)),
        (PatternType.INEFFECTIVE_LOOP, Strategy.ESCALATE_HUMAN, timedelta(minutes=30)),
        (PatternType.CASCADING_FAILURE, Strategy.BLOCK_ACTION, timedelta(minutes=60)),
    ]


async def test_every_column_that_decides_is_read(pool: Pool) -> None:
    await pool.execute(
        "UPDATE oscillation_patterns SET mode = 'audit', namespaces = '{shop,team-*}',"
        ' resource_types = NULL, label_selectors = \'{"tier": "web"}\', min_occurrences = 4,'
        " time_window_minutes = 45, prevention_strategy = 'block-action',"
        ' threshold_config = \'{"dead_absolute": 2, "on_increase": "refuse"}\','
        " prevention_parameters = '{\"cooling_period_minutes\": 30}' WHERE id = 1"
    )

    listing = await PostgresPatterns(pool).list_active()

    pattern = listing.patterns[0]
    assert pattern.mode is Mode.AUDIT
    assert pattern.scope == Scope((), ("shop", "team-*"), {"tier": "web"})
    assert (pattern.min_occurrences, pattern.window) == (4, timedelta(minutes=45))
    assert pattern.thresholds == Thresholds(2, 0.1, OnIncrease.REFUSE, 2.0)
    assert pattern.own_end is None


@pytest.mark.parametrize(
    ("strategy", "parameter"),
    [("cooling-period", "cooling_period_minutes"), ("block-action", "block_minutes")],
)
async def test_no_minutes_are_no_time_of_its_own(pool: Pool, strategy: str, parameter: str) -> None:
    await pool.execute(
        "UPDATE oscillation_patterns SET prevention_strategy = $1,"
        " prevention_parameters = jsonb_build_object($2::text, 0) WHERE id = 1",
        strategy,
        parameter,
    )

    listing = await PostgresPatterns(pool).list_active()

    assert listing.problems == ()
    assert listing.patterns[0].own_end is None


async def test_an_inactive_pattern_is_not_listed(pool: Pool) -> None:
    await pool.execute("UPDATE oscillation_patterns SET active = false WHERE id <> 2")

    listing = await PostgresPatterns(pool).list_active()

    assert [pattern.id for pattern in listing.patterns] == [2]


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        (
            "threshold_config = '{\"dead_relative\": 7}'",
            "threshold_config.dead_relative: Input should be less than 1",
        ),
        (
            'threshold_config = \'{"on_increase": "maybe"}\'',
            "threshold_config.on_increase: Input should be 'warn' or 'refuse'",
        ),
        (
            'prevention_parameters = \'{"cooling_period_minutes": "soon"}\'',
            "prevention_parameters.cooling_period_minutes: Input should be a valid number",
        ),
        (
            "prevention_parameters = '{\"cooling_period_minutes\": 1e300}'",
            "prevention_parameters.cooling_period_minutes: Input should be less than or equal to"
            " 525600",
        ),
        (
            "min_occurrences = 1000000",
            "min_occurrences: Input should be less than or equal to 64",
        ),
        (
            "label_selectors = '{\"tier\": 1}'",
            "label_selectors.tier: Input should be a valid string",
        ),
    ],
)
async def test_a_wrong_pattern_is_named_and_the_others_are_used(
    pool: Pool, assignment: str, problem: str
) -> None:
    await pool.execute(f"UPDATE oscillation_patterns SET {assignment} WHERE id = 1")  # noqa: S608 - of this file

    listing = await PostgresPatterns(pool).list_active()

    assert [pattern.id for pattern in listing.patterns] == [2, 3, 4]
    assert listing.problems == (
        UnusablePattern(1, f"pattern 'scale-oscillation' (id 1): {problem}"),
    )
