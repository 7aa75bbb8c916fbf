"""Scenarios of requests and limits: those that must trip, and those that must stay silent."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.detection import EvidenceKind
from gate.domain.pattern import OnIncrease, Thresholds
from tests.edits import Edit, scale_to, set_resources
from tests.timeline import Outcome, minute
from tests.unit.resources import RESOURCE_THRASHING
from tests.unit.scenarios import SILENT, TRIPPING, Scenario
from tests.unit.scene import SEEDED, Played, Scene, edited

_SLOW = replace(RESOURCE_THRASHING, window=timedelta(minutes=120))  # the scenarios' own
_STRICT = replace(_SLOW, thresholds=Thresholds(on_increase=OnIncrease.REFUSE))
_CAPACITY = SEEDED[:2]  # replicas and resources

Resize = Callable[[int], Edit]

# What one replica of a scenario amounts to in each field, so that deadbands come out alike.
_FIELDS: dict[str, Resize] = {
    "limits.memory": lambda n: set_resources(limits={"memory": f"{64 * n}Mi"}),
    "requests.memory": lambda n: set_resources(requests={"memory": f"{64 * n}Mi"}),
    "limits.cpu": lambda n: set_resources(limits={"cpu": f"{100 * n}m"}),
    "requests.cpu": lambda n: set_resources(requests={"cpu": f"{100 * n}m"}),
    "all": lambda n: set_resources(
        requests={"cpu": f"{50 * n}m", "memory": f"{32 * n}Mi"},
        limits={"cpu": f"{100 * n}m", "memory": f"{64 * n}Mi"},
    ),
}
_all_scenarios = pytest.mark.parametrize("scenario", [*TRIPPING, *SILENT], ids=lambda s: s.name)
_all_fields = pytest.mark.parametrize("resize", _FIELDS.values(), ids=_FIELDS)
_with_and_without_outcomes = pytest.mark.parametrize("observes", [True, False])


def outcome_of(played: Played) -> Outcome:
    """Return how a person would tell what became of a change."""
    if played.is_refused:
        return Outcome.REFUSED
    return Outcome.WARNED if played.decision.objections else Outcome.ADMITTED


def first_minute(played: Iterable[Played], outcome: Outcome) -> float | None:
    """Return the minute of the first change with an outcome."""
    found = (each.trace.seen.at for each in played if outcome_of(each) is outcome)
    first = next(found, None)
    return None if first is None else (first - minute(0)) / timedelta(minutes=1)


def play(scene: Scene, *edits: tuple[float, Edit]) -> list[Outcome]:
    """Let an agent make some edits, and return what became of them."""
    return [outcome_of(scene.edit(edit, at=minute(when))) for when, edit in edits]


def play_scenario(scene: Scene, scenario: Scenario, resize: Resize) -> list[Played]:
    scene.let_others(resize(scenario.start))
    for step in scenario.steps:
        edit = resize(step.replicas)
        if not step.by_agent:
            scene.let_others(edit)
        elif edited(scene.body_of("web"), edit)["spec"] != scene.body_of("web")["spec"]:
            scene.edit(edit, at=minute(step.minute))
    return scene.played


@_all_scenarios
@_all_fields
@_with_and_without_outcomes
def test_scenario_meets_its_first_warning_and_refusal_as_replicas_do(
    scenario: Scenario, resize: Resize, *, observes: bool
) -> None:
    scene = Scene(patterns=(_SLOW,), observes=observes)

    played = play_scenario(scene, scenario, resize)

    assert first_minute(played, Outcome.WARNED) == scenario.warned
    assert first_minute(played, Outcome.REFUSED) == scenario.refused


@_all_scenarios
def test_scenario_is_refused_at_its_minute_where_increases_are_refused_too(
    scenario: Scenario,
) -> None:
    scene = Scene(patterns=(_STRICT,))

    played = play_scenario(scene, scenario, _FIELDS["all"])

    assert first_minute(played, Outcome.REFUSED) == scenario.strict
    assert first_minute(played, Outcome.WARNED) is None


def memory(text: str | None) -> Edit:
    return set_resources(limits={"memory": text} if text else None)


def cpu(text: str | None) -> Edit:
    return set_resources(requests={"cpu": text} if text else None)


@_with_and_without_outcomes
def test_repair_gets_its_memory_back_with_a_warning(*, observes: bool) -> None:
    scene = Scene(patterns=_CAPACITY, observes=observes)
    scene.let_others(memory("256Mi"))

    outcomes = play(
        scene,
        (0, memory("512Mi")),
        (20, memory("256Mi")),
        (30, memory("512Mi")),
        (40, memory("256Mi")),
    )

    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.WARNED, Outcome.REFUSED]


def test_swings_of_10_millicores_are_noise() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(cpu("100m"))

    outcomes = play(scene, *((10 * n, cpu(("110m", "100m")[n % 2])) for n in range(12)))

    assert set(outcomes) == {Outcome.ADMITTED}


def test_limit_that_is_removed_and_set_again_and_again_is_refused_when_it_takes() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(memory("512Mi"))

    outcomes = play(
        scene, (0, memory(None)), (10, memory("512Mi")), (20, memory(None)), (30, memory("512Mi"))
    )

    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.WARNED, Outcome.REFUSED]


def test_request_that_is_removed_and_set_again_and_again_is_refused_when_it_takes() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(cpu("500m"))

    outcomes = play(scene, (0, cpu(None)), (10, cpu("500m")), (20, cpu(None)))

    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REFUSED]


def test_autoscaler_that_takes_gently_and_gives_at_once_is_left_alone() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(cpu("1"))
    downs = [(15 * n, cpu(f"{1000 - 60 * n}m")) for n in range(1, 11)]

    outcomes = play(scene, *downs, (160, cpu("1")), (300, cpu("900m")), (315, cpu("800m")))

    assert set(outcomes) == {Outcome.ADMITTED}


def test_rightsizing_of_many_workloads_is_left_alone() -> None:
    scene = Scene(patterns=_CAPACITY)
    for number in range(20):
        scene.let_others(_FIELDS["all"](8), name=f"service-{number}")

    for number in range(20):
        for pass_, size in enumerate((6, 5)):  # once by the figures, once more by a closer look
            scene.edit(
                _FIELDS["all"](size), at=minute(2 * number + 45 * pass_), name=f"service-{number}"
            )

    assert {outcome_of(played) for played in scene.played} == {Outcome.ADMITTED}


def test_swing_of_one_container_of_several_is_refused_and_the_others_stay_free() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(memory("512Mi"))
    scene.let_others(
        lambda body: body["spec"]["template"]["spec"]["containers"].append(
            {"name": "proxy", "image": "proxy:1.0", "resources": {"limits": {"memory": "256Mi"}}}
        )
    )

    outcomes = play(
        scene,
        (0, memory("256Mi")),
        (5, set_resources(limits={"memory": "128Mi"}, container="proxy")),
        (10, memory("512Mi")),
        (20, memory("256Mi")),
        (21, set_resources(limits={"memory": "64Mi"}, container="proxy")),
    )

    assert outcomes == [Outcome.ADMITTED] * 3 + [Outcome.REFUSED, Outcome.ADMITTED]
    (objection,) = scene.played[3].decision.objections
    assert objection.finding is not None
    assert objection.finding.fields == ("app limits.memory",)


def test_requests_and_limits_that_swing_together_are_refused_once_for_both() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(_FIELDS["all"](8))

    outcomes = play(scene, *((10 * n, _FIELDS["all"]((4, 8)[n % 2])) for n in range(3)))

    (objection,) = scene.played[-1].decision.objections
    assert outcomes[-1] is Outcome.REFUSED
    assert objection.finding is not None
    assert sorted(objection.finding.fields) == [
        "app limits.cpu",
        "app limits.memory",
        "app requests.cpu",
        "app requests.memory",
    ]


def test_amounts_are_compared_and_not_their_notation() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(memory("1Gi"))

    outcomes = play(
        scene,
        (0, memory("512Mi")),
        (10, memory("1024Mi")),
        (20, memory("536870912")),
    )

    assert outcomes == [Outcome.ADMITTED, Outcome.ADMITTED, Outcome.REFUSED]


@_with_and_without_outcomes
def test_changes_that_never_took_effect_add_no_reversal(*, observes: bool) -> None:
    scene = Scene(patterns=_CAPACITY, observes=observes)
    scene.let_others(memory("512Mi"))

    for number in range(6):
        scene.edit(memory("256Mi"), at=minute(10 * number), persists=False)
        scene.edit(memory("1Gi"), at=minute(10 * number + 5), persists=False)

    assert {outcome_of(played) for played in scene.played} == {Outcome.ADMITTED}


@_with_and_without_outcomes
def test_levers_pulled_in_turn_are_refused_at_the_third_turn(*, observes: bool) -> None:
    scene = Scene(patterns=_CAPACITY, observes=observes)
    scene.let_others(memory("2Gi"))

    scene.scale(4, at=minute(0))
    scene.edit(memory("1800Mi"), at=minute(10))
    scene.scale(3, at=minute(20))
    last = scene.edit(memory("1500Mi"), at=minute(30))

    assert [outcome_of(played) for played in scene.played[:3]] == [Outcome.ADMITTED] * 3
    assert outcome_of(last) is Outcome.REFUSED
    assert last.kinds == [EvidenceKind.LEVER_ALTERNATION]
    assert outcome_of(scene.edit(scale_to(2), at=minute(31))) is Outcome.ADMITTED


def test_incident_that_needs_both_levers_is_left_alone() -> None:
    scene = Scene(patterns=_CAPACITY)
    scene.let_others(memory("512Mi"))

    surge = [scene.scale(8, at=minute(0)), scene.edit(memory("1Gi"), at=minute(15))]
    calm = [scene.scale(5, at=minute(80)), scene.edit(memory("800Mi"), at=minute(120))]

    assert {outcome_of(played) for played in (*surge, *calm)} == {Outcome.ADMITTED}
