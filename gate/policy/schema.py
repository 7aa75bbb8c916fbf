"""The policy file's schema: what people may declare, with units, defaults and bounds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from gate.domain.actor import AgentRules
from gate.domain.detection import Severity
from gate.domain.pattern import Mode, OnIncrease, PatternType
from gate.domain.policy import FailureMode
from gate.domain.trace import READ_AT_MOST
from gate.domain.workload import Kind
from gate.policy.sections import (
    FEW,
    MANY,
    AlternativeAction,
    BlockAction,
    CascadeSection,
    CoolingPeriod,
    EscalateHuman,
    Glob,
    ListOf,
    LongListOf,
    LoopSection,
    ResourceSection,
    ScaleSection,
    Section,
    StrategySection,
    Window,
    Word,
    at_most,
)

MOST_PATTERNS = FEW  # every change is judged by all of them


class ScopeSection(Section):
    """Which workloads a pattern watches; all three must hold, and an empty one always does."""

    kinds: ListOf[Word[Kind]] = (Kind.DEPLOYMENT, Kind.STATEFUL_SET)
    """Kinds. Default: both."""

    namespaces: ListOf[Glob] = ()
    """Globs of namespaces, of which one must match. Default: all namespaces."""

    labels: Annotated[
        Mapping[str, str],
        Field(max_length=FEW),
        at_most(FEW, of="labels", instead="leave some out"),
    ] = Field(default_factory=dict)
    """Labels of the workload, with the values they must have. Default: none."""


class Alerting(Section):
    """Whom a detection is told."""

    enabled: bool = True
    """Whether anybody is told. Default true."""

    severity: Word[Severity] = Severity.WARNING
    """What its alerts are: `info`, `warning` or `critical`. Default warning."""

    channels: ListOf[Annotated[str, Field(min_length=1, max_length=200)]] = ()
    """Names of channels. Default: the configured ones."""


_A_DAY = 24 * 60  # minutes; what happened around a workload is read no further back
_Description = Annotated[str, Field(max_length=1000)]


class PatternSection(Section):
    """What patterns of every type have."""

    min_occurrences: Annotated[int, Field(ge=3, le=READ_AT_MOST)] = 3
    """Which occurrence is refused, 3 to 64: 3 is the third. Default 3."""

    scope: ScopeSection = ScopeSection()
    """Which workloads it watches. Default: all."""

    mode: Word[Mode] | None = None
    """`enforce` or `audit`, for this pattern alone. Default: the namespace's, else the global
    one."""

    alerting: Alerting = Alerting()
    """Whom a detection is told. Default: the configured channels."""


class ScaleOscillation(PatternSection):
    """Replicas go up and down, or an agent is undone by somebody else again and again."""

    type: Literal["scale-oscillation"]
    """The kind of oscillation."""

    description: _Description = (
        "Replicas go up and down, or an agent is undone by somebody else again and again."
    )
    """What it is for, in words for people. Default: those of its type."""

    time_window_minutes: Window = 120
    """Minutes within which the occurrences count. Default 120."""

    thresholds: ScaleSection = ScaleSection()
    """Thresholds of this type."""

    strategy: StrategySection = CoolingPeriod(name="cooling-period", escalate_after=3)
    """What prevents it. Default: cooling-period of 30 minutes, the third in a row asks a person."""


class ResourceThrashing(PatternSection):
    """Requests or limits of a container go up and down, or replicas and resources in turn."""

    type: Literal["resource-thrashing"]
    """The kind of oscillation."""

    description: _Description = (
        "Requests or limits of a container go up and down, or replicas and resources in turn."
    )
    """What it is for, in words for people. Default: those of its type."""

    time_window_minutes: Window = 90
    """Minutes within which the occurrences count. Default 90."""

    thresholds: ResourceSection = ResourceSection()
    """Thresholds of this type."""

    strategy: StrategySection = AlternativeAction(name="alternative-action")
    """What prevents it. Default: alternative-action for 30 minutes."""


class IneffectiveLoop(PatternSection):
    """The same kind of change again and again, although it does not help."""

    type: Literal["ineffective-loop"]
    """The kind of oscillation."""

    description: _Description = (
        "The same kind of change again and again, although it does not help."
    )
    """What it is for, in words for people. Default: those of its type."""

    time_window_minutes: Window = 180
    """Minutes within which the occurrences count. Default 180."""

    thresholds: LoopSection = LoopSection()
    """Thresholds of this type."""

    strategy: StrategySection = EscalateHuman(name="escalate-human")
    """What prevents it. Default: escalate-human for 30 minutes."""


class CascadingFailure(PatternSection):
    """One agent moves on through a namespace and leaves unhealthy workloads behind."""

    type: Literal["cascading-failure"]
    """The kind of oscillation."""

    description: _Description = (
        "One agent moves on through a namespace and leaves unhealthy workloads behind."
    )
    """What it is for, in words for people. Default: those of its type."""

    time_window_minutes: Annotated[int, Field(gt=0, le=_A_DAY)] = 60
    """Minutes within which the occurrences count, at most a day. Default 60."""

    thresholds: CascadeSection = CascadeSection()
    """Thresholds of this type."""

    strategy: StrategySection = BlockAction(name="block-action", block_minutes=60)
    """What prevents it. Default: block-action for 60 minutes."""


PatternEntry: TypeAlias = Annotated[
    ScaleOscillation | ResourceThrashing | IneffectiveLoop | CascadingFailure,
    Field(discriminator="type"),
]


class NamespaceEntry(Section):
    """What holds in the namespaces that a glob matches; the first entry that says it wins."""

    match: Glob
    """Glob of namespaces; `*` matches any run of characters."""

    mode: Word[Mode] | None = None
    """`enforce` or `audit` there. Default: what the next entry that matches says, else the global
    one."""

    failure_mode: Word[FailureMode] | None = None
    """`open` or `closed` there. Default: what the next entry that matches says, else the global
    one."""

    @model_validator(mode="after")
    def _says_something(self) -> "NamespaceEntry":
        if self.mode is None and self.failure_mode is None:
            raise ValueError("should say mode, failure_mode or both")
        return self


class AgentsSection(Section):
    """Who is an AI agent, by at most 256 globs; `*` matches any run of characters, colons too."""

    users: LongListOf[Glob] = ()
    """Globs of user names."""

    groups: LongListOf[Glob] = ()
    """Globs of group names."""

    extra: Annotated[
        Mapping[str, LongListOf[Glob]],
        Field(max_length=FEW),
        at_most(FEW, of="keys", instead="leave some out"),
    ] = Field(default_factory=dict)
    """Globs of values by key of the caller's `extra`, for agents that borrow an identity."""

    @model_validator(mode="after")
    def _names_somebody(self) -> "AgentsSection":
        globs = len(self.users) + len(self.groups) + sum(map(len, self.extra.values()))
        if globs == 0:
            raise ValueError("should name at least one user, group or extra glob")
        if globs > MANY:
            raise ValueError(
                f"at most {MANY} globs in all, there are {globs}: write a glob that matches several"
            )
        return self

    def as_rules(self) -> AgentRules:
        """Return the globs as the rules that recognise agents."""
        return AgentRules(
            users=self.users,
            groups=self.groups,
            extra=tuple((key, glob) for key, globs in self.extra.items() for glob in globs),
        )


PatternName = Annotated[str, Field(min_length=1, max_length=100)]
_Patterns = Annotated[
    Mapping[PatternName, PatternEntry],
    Field(max_length=MOST_PATTERNS),
    at_most(
        MOST_PATTERNS,
        of="patterns",
        instead="join those that differ only in their scope, for one scope may name 64 globs",
    ),
]


class PolicyFile(Section):
    """gate's policy: patterns, modes and agents."""

    model_config = ConfigDict(title="gate policy")

    mode: Word[Mode] | None = None
    """`enforce` refuses, `audit` only says what would have been refused. Default: the setting
    `mode`."""

    failure_mode: Word[FailureMode] | None = None
    """`open` admits what gate cannot decide, `closed` refuses it. Default: the setting
    `failure_mode`."""

    on_increase: Word[OnIncrease] = OnIncrease.WARN
    """`on_increase` of the patterns that have none of their own. Default warn."""

    namespaces: LongListOf[NamespaceEntry] = ()
    """Modes and failure modes by namespace, at most 256 entries. Default: none."""

    agents: AgentsSection | None = None
    """Who is an AI agent; taken at the start. Default: the setting `agents`."""

    patterns: _Patterns | None = None
    """Patterns by name, at most 64. Default: one of each type, with its defaults. A pattern that is
    left out where others are named is not looked for."""


def seeded_patterns() -> dict[str, PatternEntry]:
    """Return the patterns that hold where a file names none: one of each type."""
    return {
        PatternType.SCALE_OSCILLATION.value: ScaleOscillation(type="scale-oscillation"),
        PatternType.RESOURCE_THRASHING.value: ResourceThrashing(type="resource-thrashing"),
        PatternType.INEFFECTIVE_LOOP.value: IneffectiveLoop(type="ineffective-loop"),
        PatternType.CASCADING_FAILURE.value: CascadingFailure(type="cascading-failure"),
    }


def make_json_schema() -> dict[str, Any]:
    """Return the schema by which editors and pipelines check a policy file."""
    schema = PolicyFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


ENTRIES: Mapping[PatternType, type[PatternSection]] = {
    PatternType.SCALE_OSCILLATION: ScaleOscillation,
    PatternType.RESOURCE_THRASHING: ResourceThrashing,
    PatternType.INEFFECTIVE_LOOP: IneffectiveLoop,
    PatternType.CASCADING_FAILURE: CascadingFailure,
}
