"""What agents rightly do, next to what the patterns look for, with all of them watching."""

from datetime import timedelta

import pytest

from gate.domain.trace import ExecutionStatus
from tests.edits import Edit, restart, scale_to, set_env, set_image, set_resources
from tests.timeline import minute
from tests.unit.scene import SEEDED, Played, Scene, answering

_SECOND = timedelta(seconds=1)
_STALLED = "rollout-stalled: 0 of 5 pods available for 10 min"


@pytest.fixture(params=[False, True], ids=["outcomes unknown", "outcomes known"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(patterns=SEEDED, observes=request.param)


def assert_untouched(scene: Scene) -> None:
    """Assert that no rule found anything, not even to warn about or to audit."""
    found = [(each.trace.action_type, each.kinds) for each in scene.played if each.findings]
    assert found == []


def test_canary_that_grows(scene: Scene) -> None:
    scene.let_others(scale_to(1), name="web-canary")
    for number, replicas in enumerate((2, 5, 10, 20)):
        scene.edit(scale_to(replicas), at=minute(10 * number), name="web-canary")

    assert_untouched(scene)


def test_canary_that_grows_without_being_known_to_help(scene: Scene) -> None:
    scene.let_others(scale_to(1), name="web-canary")
    for number, replicas in enumerate((2, 5, 10, 20)):
        played = scene.edit(scale_to(replicas), at=minute(10 * number), name="web-canary")
        scene.conclude(played, score=0.5)

    assert_untouched(scene)


def test_blue_green_shrink(scene: Scene) -> None:
    scene.let_others(scale_to(1), name="green")
    scene.let_others(scale_to(10), name="blue")
    for number, (blue, green) in enumerate(((8, 3), (5, 5), (2, 8), (0, 10))):
        scene.edit(scale_to(green), at=minute(10 * number), name="green")
        scene.edit(scale_to(blue), at=minute(10 * number + 5), name="blue")

    assert_untouched(scene)


def test_right_sizing_of_many_workloads(scene: Scene) -> None:
    for number in range(30):
        name = f"app-{number}"
        scene.let_others(set_resources(requests={"cpu": "1", "memory": "1Gi"}), name=name)
        smaller = set_resources(requests={"cpu": "300m", "memory": "512Mi"})
        played = scene.edit(smaller, at=minute(number), name=name)
        scene.conclude(played, score=0.9)

    assert_untouched(scene)


def test_right_sizing_in_two_passes_of_which_one_rollout_fails(scene: Scene) -> None:
    for number in range(20):
        name = f"app-{number % 10}"
        memory = "700Mi" if number < 10 else "500Mi"
        scene.let_others(set_resources(requests={"memory": "1Gi"}), name=f"app-{number}")
        edit = set_resources(requests={"memory": memory})
        played = scene.edit(edit, at=minute(2 * number), name=name)
        if number == 3:
            scene.conclude(played, status=ExecutionStatus.FAILED, error=_STALLED)

    assert_untouched(scene)


def test_image_bump_across_a_namespace(scene: Scene) -> None:
    for number in range(30):
        scene.edit(set_image("base:2.0"), at=minute(number), name=f"app-{number}")

    assert_untouched(scene)


def test_image_bump_that_is_rolled_back_once(scene: Scene) -> None:
    for number in range(5):
        for step, image in enumerate(("web:2.0", "web:1.0", "web:2.1")):
            scene.edit(set_image(image), at=minute(10 * number + step), name=f"app-{number}")

    assert_untouched(scene)


def test_installation_of_an_application(scene: Scene) -> None:
    for number in range(5):
        scene.create(f"app-{number}", at=minute(0) + number * _SECOND)
    for number in range(5):
        name = f"app-{number}"
        scene.edit(set_env("URL", f"http://app-{number}"), at=minute(5 + number), name=name)

    assert_untouched(scene)


def test_installation_whose_workloads_are_not_ready_at_first(scene: Scene) -> None:
    for number in range(5):
        created = scene.create(f"app-{number}", at=minute(0) + number * _SECOND)
        scene.conclude(created, status=ExecutionStatus.FAILED, error=_STALLED)
    for number in range(5):
        scene.edit(set_env("URL", "http://db"), at=minute(15 + number), name=f"app-{number}")

    assert_untouched(scene)


def test_load_job_that_empties_a_workload_and_fills_it_again(scene: Scene) -> None:
    for day in range(3):
        for hour, replicas in ((0, 0), (3, 5)):
            scene.edit(scale_to(replicas), at=minute(60 * (24 * day + hour)))

    assert_untouched(scene)


def test_surge_around_the_drain_of_nodes(scene: Scene) -> None:
    for number in range(6):
        scene.let_others(scale_to(3), name=f"app-{number}")
        scene.edit(scale_to(4), at=minute(2 * number), name=f"app-{number}")
    for number in range(6):
        scene.edit(scale_to(3), at=minute(30 + 2 * number), name=f"app-{number}")

    assert_untouched(scene)


def test_rolling_restart_of_a_namespace_after_a_secret_was_renewed(scene: Scene) -> None:
    for number in range(12):
        at = minute(number)
        scene.edit(restart(at), at=at, name=f"app-{number}")
    for number in range(12):
        at = minute(30 + number)
        scene.edit(restart(at), at=at, name=f"app-{number}")

    assert_untouched(scene)


def repair(scene: Scene, when: float, edit: Edit, *, score: float | None) -> Played:
    played = scene.edit(answering(edit, "PodCrashLooping"), at=minute(when))
    scene.conclude(played, score=score, is_alert_firing=None if score is None else score < 0.3)
    return played


def test_repair_of_an_incident_by_different_means(scene: Scene) -> None:
    scene.let_others(set_resources(requests={"memory": "256Mi"}))
    repair(scene, 0, restart(minute(0)), score=0.0)
    repair(scene, 10, set_resources(requests={"memory": "512Mi"}), score=0.1)
    repair(scene, 20, set_resources(requests={"memory": "768Mi"}), score=0.2)
    repair(scene, 30, set_image("web:0.9"), score=0.0)
    repair(scene, 40, restart(minute(40)), score=0.1)
    repair(scene, 50, scale_to(8), score=0.9)

    assert_untouched(scene)


def test_repair_that_goes_through_what_it_broke_itself(scene: Scene) -> None:
    names = ("cart", "search", "web")
    for number, name in enumerate(names):
        played = scene.edit(set_image("base:2.0"), at=minute(number), name=name)
        scene.conclude(played, status=ExecutionStatus.FAILED, error=_STALLED)
    for number, name in enumerate(names):
        played = scene.edit(set_image("web:1.0"), at=minute(15 + number), name=name)
        scene.conclude(played)
    scene.edit(set_image("base:2.1"), at=minute(25), name="mail")

    assert_untouched(scene)


def test_nine_steps_of_a_deployment_within_an_hour(scene: Scene) -> None:
    for number in range(9):
        scene.edit(set_env("STEP", str(number)), at=minute(5 * number))

    assert_untouched(scene)


def test_growth_that_helps_each_time(scene: Scene) -> None:
    scene.let_others(set_resources(requests={"memory": "128Mi"}))
    for number, size in enumerate((192, 256, 384, 512, 768, 1024, 1536)):
        edit = set_resources(requests={"memory": f"{size}Mi"})
        played = scene.edit(edit, at=minute(20 * number))
        scene.conclude(played, score=0.7)

    assert_untouched(scene)


def test_gentle_growth_that_nothing_is_known_of(scene: Scene) -> None:
    scene.let_others(set_resources(requests={"memory": "128Mi"}))
    for number, size in enumerate((192, 256, 384, 512, 768)):
        edit = set_resources(requests={"memory": f"{size}Mi"})
        scene.edit(edit, at=minute(20 * number))

    assert_untouched(scene)
