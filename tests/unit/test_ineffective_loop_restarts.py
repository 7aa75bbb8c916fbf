"""The identical change again: restarts with nothing else changed in between."""

from datetime import timedelta

import pytest

from tests.edits import Edit, label, restart, saying, scale_to, set_env
from tests.timeline import minute
from tests.unit.scene import INEFFECTIVE_LOOP, Played, Scene

_SECOND = timedelta(seconds=1)
_ALONE = (INEFFECTIVE_LOOP,)


@pytest.fixture(params=[False, True], ids=["outcomes unknown", "outcomes known"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(patterns=_ALONE, observes=request.param)


def restart_at(scene: Scene, when: float, **given: str) -> Played:
    edit = restart(minute(when))
    return scene.edit(saying(edit, **given) if given else edit, at=minute(when))


def test_third_restart_within_an_hour_with_nothing_else_changed_is_refused(scene: Scene) -> None:
    first, second = restart_at(scene, 0), restart_at(scene, 20)

    third = restart_at(scene, 40)

    assert not first.findings
    assert not second.findings
    assert third.kinds == ["identical"]
    (finding,) = third.findings
    assert finding.until == minute(60) + _SECOND
    assert finding.action_ids == (first.trace.action_id, second.trace.action_id)
    assert finding.action_type == "restart_deployment"
    assert finding.summary == (
        "restart_deployment comes for time 3 in 40 min and nothing else changed in between; "
        "3 are too many within 1 h"
    )


def test_restarts_beyond_the_window_do_not_count(scene: Scene) -> None:
    restart_at(scene, 0)
    restart_at(scene, 59)

    assert not restart_at(scene, 60.1).is_refused


@pytest.mark.parametrize("by_agent", [True, False])
def test_restarts_with_another_change_in_between_are_not_identical(
    scene: Scene,
    by_agent: bool,  # noqa: FBT001 - both ways of one test
) -> None:
    restart_at(scene, 0)
    restart_at(scene, 10)
    if by_agent:
        scene.edit(set_env("LEVEL", "2"), at=minute(15))
    else:
        scene.let_others(set_env("LEVEL", "2"))

    assert not restart_at(scene, 20).is_refused
    assert not restart_at(scene, 30).is_refused
    assert restart_at(scene, 40).is_refused


def test_scaling_in_between_is_something_else_where_an_agent_does_it(scene: Scene) -> None:
    restart_at(scene, 0)
    restart_at(scene, 10)
    scene.scale(8, at=minute(15))

    assert not restart_at(scene, 20).is_refused


def revise(number: int) -> Edit:
    """Return what the controller notes on the object after a rollout."""
    noted = {"deployment.kubernetes.io/revision": str(number)}
    return lambda body: body["metadata"].setdefault("annotations", {}).update(noted)


def test_autoscaler_and_the_revision_of_a_rollout_are_nothing_else(scene: Scene) -> None:
    for number in range(2):
        restart_at(scene, 10 * number)
        scene.let_others(scale_to(6 + number))
        scene.let_others(revise(number))

    assert restart_at(scene, 20).kinds == ["identical"]


def test_other_words_about_it_or_a_label_do_not_make_a_restart_another_change(scene: Scene) -> None:
    restart_at(scene, 0, reasoning="first")
    restart_at(scene, 10, reasoning="second")
    scene.edit(label("tier", "gold"), at=minute(15))

    assert restart_at(scene, 20, reasoning="third").kinds == ["identical"]


def test_restart_that_was_not_persisted_does_not_count(scene: Scene) -> None:
    restart_at(scene, 0)
    scene.edit(restart(minute(10)), at=minute(10), persists=False)

    assert not restart_at(scene, 20).is_refused
    assert restart_at(scene, 30).is_refused


def test_restart_that_a_person_approved_does_not_count(scene: Scene) -> None:
    restart_at(scene, 0)
    scene.edit(restart(minute(10)), at=minute(10), approval="an escalation")

    assert not restart_at(scene, 20).is_refused
    assert restart_at(scene, 30).is_refused


def test_tool_that_restarts_in_a_fast_series_is_refused_at_the_third(scene: Scene) -> None:
    outcomes = [restart_at(scene, number / 6).is_refused for number in range(6)]

    assert outcomes == [False, False, True, True, True, True]
