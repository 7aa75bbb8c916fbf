"""Rows become a policy; a wrong one is named and disables no other."""

from datetime import timedelta

import pytest

from gate.domain.pattern import Mode, OnIncrease, Pattern, PatternType, Scope, Strategy, Thresholds
from gate.ports.policy import UnusablePattern
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import Pool

KINDS = ("Deployment", "StatefulSet")


async def test_the_seeded_patterns_are_usable(pool: Pool) -> None:
    listing = await PostgresPolicy(pool).read()

    assert listing.problems == ()
    assert listing.patterns[0] == Pattern(
        id=1,
        type=PatternType.SCALE_OSCILLATION,
        name="scale-oscillation",
        min_occurrences=3,
        window=timedelta(hours=2),
        strategy=Strategy.COOLING_PERIOD,
        thresholds=Thresholds(
            dead_absolute=1, dead_relative=0.1, on_increase=OnIncrease.WARN, increase_cap=2.0
        ),
        own_end=timedelta(minutes=30),
        escalate_after=3,
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

    listing = await PostgresPolicy(pool).read()

    pattern = listing.patterns[0]
    assert pattern.mode is Mode.AUDIT
    assert pattern.scope == Scope((), ("shop", "team-*"), {"tier": "web"})
    assert (pattern.min_occurrences, pattern.window) == (4, timedelta(minutes=45))
    assert pattern.thresholds == Thresholds(
        dead_absolute=2, dead_relative=0.1, on_increase=OnIncrease.REFUSE, increase_cap=2.0
    )
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

    listing = await PostgresPolicy(pool).read()

    assert listing.problems == ()
    assert listing.patterns[0].own_end is None


async def test_an_inactive_pattern_is_not_listed(pool: Pool) -> None:
    await pool.execute("UPDATE oscillation_patterns SET active = false WHERE id <> 2")

    listing = await PostgresPolicy(pool).read()

    assert [pattern.id for pattern in listing.patterns] == [2]


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        (
            "threshold_config = '{\"dead_relative\": 7}'",
            "threshold_config.dead_relative: should be less than 1, not 7",
        ),
        (
            'threshold_config = \'{"on_increase": "maybe"}\'',
            "threshold_config.on_increase: should be 'warn' or 'refuse', not 'maybe'",
        ),
        (
            'prevention_parameters = \'{"cooling_period_minutes": "soon"}\'',
            "prevention_parameters.cooling_period_minutes: should be a valid number, not 'soon'",
        ),
        (
            "prevention_parameters = '{\"cooling_period_minutes\": 1e300}'",
            "prevention_parameters.cooling_period_minutes: should be less than or equal to 525600,"
            " not 1e+300",
        ),
        (
            "min_occurrences = 1000000",
            "min_occurrences: should be less than or equal to 64, not 1000000",
        ),
        (
            "label_selectors = '{\"tier\": 1}'",
            "label_selectors.tier: should be text, in quotes, not 1",
        ),
    ],
)
async def test_a_wrong_pattern_is_named_and_the_others_are_used(
    pool: Pool, assignment: str, problem: str
) -> None:
    await pool.execute(f"UPDATE oscillation_patterns SET {assignment} WHERE id = 1")  # noqa: S608 - of this file

    listing = await PostgresPolicy(pool).read()

    assert [pattern.id for pattern in listing.patterns] == [2, 3, 4]
    assert listing.problems == (
        UnusablePattern(1, f"pattern 'scale-oscillation' (id 1): {problem}"),
    )


async def test_patterns_beyond_the_most_are_left_out_and_named(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO oscillation_patterns (pattern_type, pattern_name, description,"
        " min_occurrences, time_window_minutes, threshold_config, prevention_strategy)"
        " SELECT 'scale-oscillation', 'more-' || n, '', 3, 60, '{}', 'block-action'"
        " FROM generate_series(1, 1000) AS n"
    )

    listing = await PostgresPolicy(pool).read()

    assert [pattern.name for pattern in listing.patterns[4:]] == [f"more-{n}" for n in range(1, 61)]
    assert listing.problems == ()
    assert listing.left_out == 940
    assert listing.left_out_problem is not None
    assert listing.left_out_problem.startswith(
        "at most 64 patterns are looked for, and 1004 are active: the newest are left out"
        " ('more-61', 'more-62', "
    )
    assert "'more-70', 930 more); set active = false" in listing.left_out_problem


async def test_as_many_patterns_as_there_may_be_leave_none_out(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO oscillation_patterns (pattern_type, pattern_name, description,"
        " min_occurrences, time_window_minutes, threshold_config, prevention_strategy)"
        " SELECT 'scale-oscillation', 'more-' || n, '', 3, 60, '{}', 'block-action'"
        " FROM generate_series(1, 60) AS n"
    )

    listing = await PostgresPolicy(pool).read()

    assert len(listing.patterns) == 64
    assert (listing.left_out, listing.left_out_problem) == (0, None)
