"""Parts of a policy file: thresholds and strategies, with units, defaults and bounds."""

from collections.abc import Mapping, Sized
from typing import Annotated, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gate.domain.pattern import (
    CascadeThresholds,
    LoopThresholds,
    Mode,
    OnIncrease,
    Strategy,
    Thresholds,
)
from gate.domain.quantity import parse_amount
from gate.domain.trace import READ_AT_MOST
from gate.policy.meanings import add_meanings

_T = TypeVar("_T")

_REVERSALS, _LOOPS, _CASCADES = Thresholds(), LoopThresholds(), CascadeThresholds()
_A_YEAR = 365 * 24 * 60  # minutes; without a bound, an instant could lie beyond all calendars

FEW, MANY = 64, 256  # what is looked through for every change has an end


def at_most(number: int, *, of: str, instead: str) -> BeforeValidator:
    """Return a check that a list or mapping is short, made before anything in it is looked at.

    `of` is what it holds and `instead` what to do where there are too many, in words for people.
    """

    def check(value: object) -> object:
        if isinstance(value, Sized) and not isinstance(value, str) and len(value) > number:
            raise ValueError(f"at most {number} {of}, there are {len(value)}: {instead}")
        return value

    return BeforeValidator(check)


# What YAML can only write as text or a list is taken as such; numbers are never taken from text.
Word = Annotated[_T, Field(strict=False)]
ListOf = Annotated[
    tuple[_T, ...],
    Field(strict=False, max_length=FEW),
    at_most(FEW, of="entries", instead="leave some out, or write a glob that matches several"),
]
LongListOf = Annotated[
    tuple[_T, ...],
    Field(strict=False, max_length=MANY),
    at_most(MANY, of="entries", instead="write a glob that matches several"),
]
Glob = Annotated[str, Field(min_length=1, max_length=500)]
Minutes = Annotated[float, Field(ge=0, le=_A_YEAR, allow_inf_nan=False)]
Window = Annotated[int, Field(gt=0, le=_A_YEAR)]
Occurrences = Annotated[int, Field(ge=2, le=READ_AT_MOST)]
Multiple = Annotated[float, Field(ge=1, le=1_000_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


def _as_quantity(resource: str) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        amount = parse_amount(resource, value) if isinstance(value, str) else None
        if amount is None or amount.value < 0:
            example = "50m" if resource == "cpu" else "32Mi"
            raise ValueError(f"should be a quantity of {resource} such as {example}")
        return value

    return BeforeValidator(check, json_schema_input_type=str | float)


_Cpu = Annotated[str, _as_quantity("cpu")]
_Memory = Annotated[str, _as_quantity("memory")]


class Section(BaseModel):
    """A mapping of the file with keys of its own; others are wrong."""

    # Validators are built when the first policy is read, not by whatever imports this.
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        json_schema_extra=add_meanings,
        defer_build=True,
    )


def section_in(annotation: object) -> type[Section] | None:
    """Return the section that a field holds, or that the items of its list are."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


class ScaleSection(Section):
    """Thresholds of `scale-oscillation`."""

    dead_absolute: int = Field(default=_REVERSALS.dead_absolute, ge=0, le=1_000_000)
    """Replicas. A smaller step is noise. Default 1."""

    dead_relative: Share = _REVERSALS.dead_relative
    """Share of the smaller value. A smaller step is noise. Default 0.1."""

    on_increase: Word[OnIncrease] | None = None
    """What an increase out of a loop meets: `warn` admits it with a warning, `refuse` refuses it.
    Default: the file's own `on_increase`."""

    increase_cap: Multiple = _REVERSALS.increase_cap
    """Multiple of the most that was held within the window, up to which an increase is admitted.
    Default 2.0."""


class ResourceSection(Section):
    """Thresholds of `resource-thrashing`."""

    dead_absolute_cpu: _Cpu = "50m"
    """Quantity of cpu. A smaller step is noise. Default 50m."""

    dead_absolute_memory: _Memory = "32Mi"
    """Quantity of memory. A smaller step is noise. Default 32Mi."""

    dead_relative: Share = _REVERSALS.dead_relative
    """Share of the smaller value. A smaller step is noise. Default 0.1."""

    on_increase: Word[OnIncrease] | None = None
    """What an increase out of a loop meets: `warn` admits it with a warning, `refuse` refuses it.
    Default: the file's own `on_increase`."""

    increase_cap: Multiple = _REVERSALS.increase_cap
    """Multiple of the most that was held within the window, up to which an increase is admitted.
    Default 2.0."""


class LoopSection(Section):
    """Thresholds of `ineffective-loop`."""

    effectiveness_threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = (
        _LOOPS.effectiveness_threshold
    )
    """Score between 0 and 1 below which a change was ineffective. Default 0.3."""

    alert_occurrences: Occurrences = _LOOPS.alert_occurrences
    """Changes of one action type for one known alert that are too many. Default 5."""

    alert_window_minutes: Window = 240
    """Minutes within which they count. Default 240."""

    identical_occurrences: Occurrences = _LOOPS.identical_occurrences
    """Which identical change in a row is one too many. Default 3: the third."""

    identical_window_minutes: Window = 60
    """Minutes within which they count. Default 60."""

    ratchet_factor: Multiple = _LOOPS.ratchet_factor
    """Multiple that cpu or memory was raised to, step by step and without effect, that is too much.
    Default 4."""

    ratchet_factor_unassessed: Multiple = _LOOPS.ratchet_factor_unassessed
    """The same where no step could be assessed. Default 8."""

    ratchet_replicas: bool = _LOOPS.ratchet_replicas
    """Whether replicas count as well. Default false: canaries and ramps are replicas."""

    churn_occurrences: Occurrences = _LOOPS.churn_occurrences
    """Changes of any kind on one workload that are too many. Default 10."""

    churn_window_minutes: Window = 60
    """Minutes within which they count. Default 60."""

    churn_mode: Word[Mode] | None = _LOOPS.churn_mode
    """Mode of this rule: `audit`, or null for the pattern's. Default audit."""


class CascadeSection(Section):
    """Thresholds of `cascading-failure`."""

    unhealthy_workloads: int = Field(default=_CASCADES.unhealthy_workloads, ge=1, le=READ_AT_MOST)
    """Workloads that the actor's changes left unhealthy and that are too many. Default 2."""


class BlockAction(Section):
    """`block-action` refuses."""

    name: Literal["block-action"]
    """The strategy."""

    block_minutes: Minutes | None = None
    """Minutes for which it refuses at least. Default: as long as the pattern
    fires; 0 is the same."""


class CoolingPeriod(Section):
    """`cooling-period` refuses for a while."""

    name: Literal["cooling-period"]
    """The strategy."""

    cooling_period_minutes: Minutes = 30
    """Minutes for which it refuses at least. Default 30; 0 is as long as the pattern fires."""

    escalate_after: Annotated[int, Field(ge=1, le=READ_AT_MOST)] | None = None
    """Which cooling in a row asks a person instead. Default: never."""

    escalation_expires_minutes: Annotated[Minutes, Field(gt=0)] | None = None
    """Minutes after which a question nobody answered counts as denied. Default 60."""


class EscalateHuman(Section):
    """`escalate-human` refuses and asks a person, who may let exactly this change through."""

    name: Literal["escalate-human"]
    """The strategy."""

    cooling_period_minutes: Minutes = 30
    """Minutes for which it refuses at least. Default 30; 0 is as long as the pattern fires."""

    escalation_expires_minutes: Annotated[Minutes, Field(gt=0)] | None = None
    """Minutes after which a question nobody answered counts as denied. Default 60."""


class AlternativeAction(Section):
    """`alternative-action` refuses and says what to do instead."""

    name: Literal["alternative-action"]
    """The strategy."""

    cooling_period_minutes: Minutes = 30
    """Minutes for which it refuses at least. Default 30; 0 is as long as the pattern fires."""

    alternatives: ListOf[Annotated[str, Field(min_length=1, max_length=200)]] | None = None
    """What to do instead, in your own words. Default: what worked best before."""


StrategySection: TypeAlias = Annotated[
    BlockAction | CoolingPeriod | EscalateHuman | AlternativeAction, Field(discriminator="name")
]


STRATEGIES: Mapping[Strategy, type[Section]] = {
    Strategy.BLOCK_ACTION: BlockAction,
    Strategy.COOLING_PERIOD: CoolingPeriod,
    Strategy.ESCALATE_HUMAN: EscalateHuman,
    Strategy.ALTERNATIVE_ACTION: AlternativeAction,
}
