"""The promise in a refusal of resources, its closed forms, and what may never be refused."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from gate.domain.capacity import capacity_fields
from gate.domain.detection import EvidenceKind, Response
from gate.domain.pattern import OnIncrease, Pattern, Thresholds
from gate.domain.penalty import Damping
from tests.edits import Edit
from tests.reviews import Body
from tests.timeline import minute
from tests.unit.resources import RESOURCE_THRASHING
from tests.unit.scene import Played, Scene, edited

_SECOND = timedelta(seconds=1)
_promised = settings(deadline=None, max_examples=100, derandomize=True)
_STRICT = Thresholds(on_increase=OnIncrease.REFUSE)
_VALUES: Mapping[str, list[str | int | None]] = {
    "limits.memory": [None, "256Mi", "270Mi", "512Mi", "1Gi"],
    "requests.memory": [None, "128Mi", "300Mi", "512Mi"],
    "limits.cpu": [None, "500m", "530m", "1", "2500m"],
    "replicas": [0, 2, 3, 5, 8],
}

Setting = Mapping[str, str | int | None]  # fields of the one container, and replicas


@dataclass(frozen=True, slots=True)
class Step:
    """An edit of some fields: by an agent, through gate, or by anybody else, past it."""

    minute: float
    setting: Setting
    by_agent: bool
    persists: bool
    approval: str | None


@dataclass(frozen=True, slots=True)
class Script:
    """A random history, and which refusal of it is looked at."""

    pattern: Pattern
    observes: bool
    steps: tuple[Step, ...]
    nth: int


def set_fields(setting: Setting) -> Edit:
    """Return the edit that sets some fields, and removes those without a value."""

    def edit(body: Body) -> None:
        resources = body["spec"]["template"]["spec"]["containers"][0]["resources"]
        for name, value in setting.items():
            if name == "replicas":
                body["spec"]["replicas"] = value
                continue
            group, _, resource = name.partition(".")
            held = resources.setdefault(group, {})
            held.pop(resource, None)
            if value is not None:
                held[resource] = value

    return edit


def make_pattern(dice: Random) -> Pattern:
    cooling = dice.choice([None, 1, 30, 200])
    return replace(
        RESOURCE_THRASHING,
        min_occurrences=dice.randint(3, 4),
        window=timedelta(minutes=dice.randint(60, 240)),
        own_end=None if cooling is None else timedelta(minutes=cooling),
        thresholds=Thresholds(
            on_increase=dice.choice(list(OnIncrease)), increase_cap=dice.choice([1.0, 1.5, 2.0])
        ),
    )


def make_steps(dice: Random, *, clock_goes_back: bool) -> Iterator[Step]:
    """Yield changes dense enough that most histories end in a refusal."""
    fields = dice.sample(list(_VALUES), dice.randint(1, 3))
    earlier: list[Setting] = []
    now = 0.0
    for number in range(dice.randint(6, 16)):
        now += dice.uniform(-5.0 if clock_goes_back else 0.0, 25.0)
        changed = fields if dice.random() < 0.5 else [fields[number % len(fields)]]
        earlier.append(
            earlier[-2]
            if len(earlier) > 1 and dice.random() < 0.5
            else {name: dice.choice(_VALUES[name]) for name in changed}
        )
        yield Step(
            minute=now,
            setting=earlier[-1],
            by_agent=dice.random() < 0.8,
            persists=dice.random() < 0.9,
            approval="an escalation" if dice.random() < 0.1 else None,
        )


def make_script(seed: int, *, clock_goes_back: bool = False) -> Script:
    """Return a random history, evenly spread where one that is drawn would be simple."""
    dice = Random(seed)  # noqa: S311  # nothing secret: histories for tests
    return Script(
        pattern=make_pattern(dice),
        observes=dice.random() < 0.5,
        steps=tuple(make_steps(dice, clock_goes_back=clock_goes_back)),
        nth=dice.randint(1, 3),
    )


_scripts = st.integers(0, 2**32).map(make_script)
_backward_scripts = st.integers(0, 2**32).map(lambda seed: make_script(seed, clock_goes_back=True))


def is_change(scene: Scene, setting: Setting) -> bool:
    body = scene.body_of("web")
    old, new = (each["spec"] for each in (body, edited(body, set_fields(setting))))
    return bool(old != new and capacity_in(old) != capacity_in(new))


def capacity_in(spec: Body) -> object:
    resources = spec["template"]["spec"]["containers"][0]["resources"]
    return spec["replicas"], {group: held for group, held in resources.items() if held}


def play_step(scene: Scene, step: Step) -> Played | None:
    if not is_change(scene, step.setting):
        return None
    if not step.by_agent:
        scene.let_others(set_fields(step.setting))
        return None
    return scene.edit(
        set_fields(step.setting),
        at=minute(step.minute),
        persists=step.persists,
        approval=step.approval,
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that a history ends in, and until when the change was refused."""

    scene: Scene
    setting: Setting
    at: datetime
    until: datetime

    def retry(self, at: datetime) -> Played:
        """Ask for the same change again, and leave no trace."""
        return self.scene.preview(set_fields(self.setting), at=at)


def refuse(script: Script) -> Refusal:
    scene = Scene(patterns=(script.pattern,), observes=script.observes)
    left = script.nth
    for step in script.steps:
        played = play_step(scene, step)
        if played is None or not played.is_refused or step.approval is not None:
            continue
        left -= 1
        if left == 0:
            event(f"kinds {sorted(played.kinds)}")
            until = played.decision.until
            assert until is not None
            return Refusal(scene, step.setting, played.trace.seen.at, until)
    assume(condition=False)
    raise AssertionError


@_promised
@given(_scripts)
def test_same_change_is_refused_a_second_before_and_admitted_at_its_instant(
    script: Script,
) -> None:
    refusal = refuse(script)

    before, at_last = (refusal.retry(refusal.until + offset) for offset in (-_SECOND, 0 * _SECOND))

    assert before.is_refused
    assert before.decision.until == refusal.until
    assert not at_last.is_refused


@_promised
@given(_scripts, st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_refused_retries_do_not_move_the_instant(script: Script, shares: list[float]) -> None:
    refusal = refuse(script)
    last = refusal.until - _SECOND
    instants = [refusal.at + (last - refusal.at) * share for share in sorted(shares)]

    retries = [
        refusal.scene.edit(set_fields(refusal.setting), at=instant)
        for instant in instants
        if instant > refusal.at
    ]

    assert {(retry.is_refused, retry.decision.until) for retry in retries} <= {
        (True, refusal.until)
    }
    assert not refusal.retry(refusal.until).is_refused


@_promised
@given(_backward_scripts)
def test_promise_holds_where_the_clock_was_set_back_before(script: Script) -> None:
    refusal = refuse(script)

    assert refusal.retry(refusal.until - _SECOND).is_refused
    assert not refusal.retry(refusal.until).is_refused


def gives_only(played: Played, *, cap: float) -> bool:
    """Tell whether a change gives in every field, and within the cap of what was there."""
    trace = played.candidate.trace
    held = [(trace.before(f), trace.after(f)) for f in capacity_fields(trace.changed)]
    return all(
        before is not None and after is not None and before < after <= cap * before
        for before, after in held
    )


@_promised
@given(_scripts)
def test_pure_increase_within_the_cap_is_never_refused_for_reversals_or_turns(
    script: Script,
) -> None:
    thresholds = Thresholds(increase_cap=2.0)
    scene = Scene(patterns=(replace(script.pattern, thresholds=thresholds),))
    for step in script.steps:
        played = play_step(scene, step)
        if played is None or not gives_only(played, cap=thresholds.increase_cap):
            continue
        refusing = [f for f in played.findings if f.response is Response.REFUSE]
        event(f"warned {bool(played.findings)}")
        assert {f.evidence_kind for f in refusing} <= {EvidenceKind.CONTESTED}


def swing(pattern: Pattern, spacing: timedelta, *, count: int) -> Scene:
    """Return a workload whose memory swung at a steady pace until it was refused."""
    scene = Scene(patterns=(pattern,))
    scene.let_others(set_fields({"limits.memory": "512Mi"}))
    for number in range(count):
        setting = {"limits.memory": ("256Mi", "512Mi")[number % 2]}
        if scene.edit(set_fields(setting), at=minute(0) + number * spacing).is_refused:
            break
    return scene


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    st.integers(3, 5),
    st.integers(60, 240),
    st.sampled_from([0.9, 0.99, 1.01, 1.1]),
)
def test_steady_reversals_trip_if_and_only_if_they_are_faster_than_the_closed_form(
    occurrences: int, minutes: int, pace: float
) -> None:
    window = timedelta(minutes=minutes)
    damping = Damping(occurrences, window)
    threshold = damping.threshold
    limit = damping.half_life * math.log2(threshold / (threshold - 1))
    assume(pace * limit <= window)
    pattern = replace(
        RESOURCE_THRASHING, min_occurrences=occurrences, window=window, thresholds=_STRICT
    )

    scene = swing(pattern, pace * limit, count=60)

    assert scene.played[-1].is_refused is (pace < 1)


@pytest.mark.parametrize("spacing", [5, 10, 20, 40])
def test_wait_is_the_closed_form(spacing: int) -> None:
    scene = swing(RESOURCE_THRASHING, timedelta(minutes=spacing), count=3)

    refused = scene.played[-1]
    half_life = timedelta(minutes=45)
    penalty = 2 ** (-timedelta(minutes=spacing) / half_life)
    wait = half_life * math.log2(penalty / 0.5)
    assert refused.is_refused
    assert refused.decision.until is not None
    assert timedelta(0) < refused.decision.until - (refused.trace.seen.at + wait) <= _SECOND
