"""Rows of `oscillation_patterns` as patterns; one that cannot be used leaves the others be."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import asyncpg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.domain.pattern import Mode, OnIncrease, Pattern, PatternType, Scope, Strategy, Thresholds
from gate.domain.trace import READ_AT_MOST
from gate.ports import PatternListing, UnusablePattern
from gate.postgres.pool import Pool, fetch
from gate.postgres.statements import load_statement

_LIST = load_statement("list_patterns")
_PATIENCE = timedelta(seconds=5)
_DEFAULTS = Thresholds()
_A_YEAR = 365 * 24 * 60  # minutes; without a bound, an instant could lie beyond all calendars


class PostgresPatterns:
    """Reads the active patterns."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_active(self) -> PatternListing:
        """Return the usable active patterns, and what is wrong with the others.

        Raises StorageUnavailableError when PostgreSQL does not answer within 5 s.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        patterns: list[Pattern] = []
        problems: list[UnusablePattern] = []
        for row in await fetch(self._pool, _LIST, deadline=deadline):
            try:
                patterns.append(_Row.model_validate(dict(row)).as_pattern())
            except ValidationError as error:
                problems.append(UnusablePattern(row["id"], _describe(row, error)))
        return PatternListing(tuple(patterns), tuple(problems))


class _Json(BaseModel):
    """Keys of a JSONB column; foreign ones are left to the release that knows them."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _ThresholdConfig(_Json):
    dead_absolute: int = Field(_DEFAULTS.dead_absolute, ge=0)
    dead_relative: float = Field(_DEFAULTS.dead_relative, ge=0, lt=1)
    on_increase: OnIncrease = Field(_DEFAULTS.on_increase, strict=False)
    increase_cap: float = Field(_DEFAULTS.increase_cap, ge=1, le=1_000_000)


class _PreventionParameters(_Json):
    cooling_period_minutes: float | None = Field(None, ge=0, le=_A_YEAR)
    block_minutes: float | None = Field(None, ge=0, le=_A_YEAR)


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: int
    pattern_type: PatternType
    pattern_name: str
    min_occurrences: int = Field(ge=3, le=READ_AT_MOST)  # more are never read back
    time_window_minutes: int = Field(gt=0)
    threshold_config: _ThresholdConfig | None
    resource_types: tuple[str, ...] | None
    namespaces: tuple[str, ...] | None
    label_selectors: Mapping[str, str] | None
    prevention_strategy: Strategy
    prevention_parameters: _PreventionParameters | None
    mode: Mode | None

    def as_pattern(self) -> Pattern:
        """Return the pattern this row declares."""
        config = self.threshold_config or _ThresholdConfig()
        return Pattern(
            id=self.id,
            type=self.pattern_type,
            name=self.pattern_name,
            min_occurrences=self.min_occurrences,
            window=timedelta(minutes=self.time_window_minutes),
            strategy=self.prevention_strategy,
            thresholds=Thresholds(
                config.dead_absolute,
                config.dead_relative,
                config.on_increase,
                config.increase_cap,
            ),
            own_end=self._own_end(),
            scope=Scope(self.resource_types or (), self.namespaces or (), self.label_selectors),
            mode=self.mode,
        )

    def _own_end(self) -> timedelta | None:
        parameters = self.prevention_parameters or _PreventionParameters()
        is_block = self.prevention_strategy is Strategy.BLOCK_ACTION
        minutes = parameters.block_minutes if is_block else parameters.cooling_period_minutes
        return timedelta(minutes=minutes) if minutes else None


def _describe(row: asyncpg.Record, error: ValidationError) -> str:
    wrong = "; ".join(
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()
    )
    return f"pattern {row['pattern_name']!r} (id {row['id']}): {wrong}"
