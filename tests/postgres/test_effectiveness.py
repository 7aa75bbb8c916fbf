"""What is known to have worked, as the table of metrics has it, and what is suggested from it."""

from datetime import UTC, datetime, timedelta

import pytest

from gate.domain.change import ActionType
from gate.domain.effectiveness import Effectiveness, EffectivenessScope, suggest_alternative
from gate.domain.workload import Kind
from gate.postgres.effectiveness import PostgresEffectiveness
from gate.postgres.pool import Pool

_INSERT = """
INSERT INTO action_effectiveness_metrics (
    scope_type, scope_value, metric_period, period_start, period_end, action_type, sample_size,
    average_score, confidence_interval_lower
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
# The query looks back from the database's own clock.
_END = datetime.now(UTC)


@pytest.fixture
def effectiveness(pool: Pool) -> PostgresEffectiveness:
    return PostgresEffectiveness(pool)


async def assess(
    pool: Pool,
    action_type: str,
    *,
    scope: tuple[str, str] = ("alert-type", "HighMemory"),
    period: str = "30d",
    ended: timedelta = timedelta(0),
    mean: float | None = 0.8,
    lower: float | None = 0.6,
) -> None:
    """Store what an assessment amounts to."""
    end = _END - ended
    start = end - timedelta(days=1)
    await pool.execute(_INSERT, *scope, period, start, end, action_type, 12, mean, lower)


async def test_figures_come_by_alert_and_by_kind(
    effectiveness: PostgresEffectiveness, pool: Pool
) -> None:
    await assess(pool, "increase_resources")
    await assess(pool, "restart_deployment", scope=("resource-type", "Deployment"), mean=0.5)
    await assess(pool, "restart_deployment", scope=("model", "a model"))

    assert await effectiveness.list_effectiveness() == {
        (EffectivenessScope.ALERT, "HighMemory"): (
            Effectiveness(ActionType.INCREASE_RESOURCES, mean=0.8, lower=0.6, sample_size=12),
        ),
        (EffectivenessScope.KIND, "Deployment"): (
            Effectiveness(ActionType.RESTART_DEPLOYMENT, mean=0.5, lower=0.6, sample_size=12),
        ),
    }


async def test_the_longest_period_counts_and_of_that_the_latest(
    effectiveness: PostgresEffectiveness, pool: Pool
) -> None:
    await assess(pool, "increase_resources", period="24h", mean=0.1)
    await assess(pool, "increase_resources", ended=timedelta(days=9), mean=0.2)
    await assess(pool, "increase_resources", ended=timedelta(days=2), mean=0.9)

    ((known,),) = (await effectiveness.list_effectiveness()).values()

    assert known.mean == 0.9


async def test_what_says_nothing_certain_is_left_out(
    effectiveness: PostgresEffectiveness, pool: Pool
) -> None:
    await assess(pool, "update_image", lower=None)
    await assess(pool, "update_strategy", mean=None)
    await assess(pool, "delete_workload", ended=timedelta(days=100))
    await assess(pool, "an_action_of_a_newer_release")

    assert await effectiveness.list_effectiveness() == {}


async def test_a_suggestion_comes_from_what_is_stored(
    effectiveness: PostgresEffectiveness, pool: Pool
) -> None:
    await assess(pool, "scale_deployment", lower=0.2)
    await assess(pool, "increase_resources", lower=0.6)

    suggestion = suggest_alternative(
        await effectiveness.list_effectiveness(),
        ActionType.SCALE_DEPLOYMENT,
        alert="HighMemory",
        kind=Kind.DEPLOYMENT,
    )

    assert suggestion is not None
    assert suggestion.effectiveness.action_type is ActionType.INCREASE_RESOURCES
    assert suggestion.scope_value == "HighMemory"
