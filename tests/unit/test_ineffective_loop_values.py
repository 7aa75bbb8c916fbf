"""Capacity that only grows without helping, and values that come back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.detection import EvidenceKind, Severity
from gate.domain.pattern import Mode
from gate.domain.trace import Overrides
from tests.edits import scale_to, set_env, set_image, set_resources
from tests.timeline import minute
from tests.unit.scene import INEFFECTIVE_LOOP, Played, Scene, answering, loop

_SECOND = timedelta(seconds=1)
_ALONE = (INEFFECTIVE_LOOP,)


@pytest.fixture(params=[False, True], ids=["outcomes unknown", "outcomes known"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(patterns=_ALONE, observes=request.param)


def raise_memory(
    scene: Scene,
    when: float,
    mebibytes: int,
    *,
    score: float | None = None,
    is_alert_firing: bool | None = None,
) -> Played:
    played = scene.edit(set_resources(requests={"memory": f"{mebibytes}Mi"}), at=minute(when))
    if (score, is_alert_firing) != (None, None) and not played.is_refused:
        scene.conclude(played, score=score, is_alert_firing=is_alert_firing)
    return played


@pytest.fixture
def small(scene: Scene) -> Scene:
    """Return a scene whose container asks for 128Mi."""
    scene.let_others(set_resources(requests={"memory": "128Mi"}))
    return scene


@pytest.mark.parametrize(
    "known", [{"score": 0.1}, {"is_alert_firing": True}], ids=["ineffective", "firing"]
)
def test_memory_raised_in_three_steps_to_four_times_as_much_is_refused(
    small: Scene, known: dict[str, float]
) -> None:
    raise_memory(
        small, 0, 192, score=known.get("score"), is_alert_firing="is_alert_firing" in known or None
    )
    raise_memory(small, 20, 256)

    third = raise_memory(small, 40, 512)

    assert third.kinds == ["ratchet"]
    (finding,) = third.findings
    assert finding.until == minute(180) + _SECOND
    assert finding.fields == ("app requests.memory",)
    assert finding.action_type == "increase_resources"
    assert (finding.confidence, finding.severity) == (0.5, Severity.WARNING)
    assert finding.summary == (
        "app requests.memory is raised for time 3 in 40 min, 128Mi → 512Mi: 4.0 times as much, "
        "and a step is known not to have helped; 4.0 times is too much within 3 h"
    )
    assert finding.evidence["values"] == [
        ["128Mi", "192Mi"], ["192Mi", "256Mi"], ["256Mi", "512Mi"],
    ]  # fmt: skip


def test_less_than_four_times_as_much_is_admitted(small: Scene) -> None:
    raise_memory(small, 0, 192, score=0.1)
    raise_memory(small, 20, 256)

    assert not raise_memory(small, 40, 511).findings


def test_four_times_as_much_in_two_steps_is_admitted(small: Scene) -> None:
    raise_memory(small, 0, 256, score=0.1)

    assert not raise_memory(small, 40, 512).findings


def test_raises_that_nothing_is_known_of_are_refused_at_eight_times_as_much(small: Scene) -> None:
    for when, size in ((0, 256), (10, 384), (20, 512)):
        assert not raise_memory(small, when, size).is_refused
    last_admitted = raise_memory(small, 30, 1023)

    refused = small.preview(set_resources(requests={"memory": "1024Mi"}), at=minute(40))

    assert ("ineffective-loop", "no-score") in last_admitted.decision.incomplete
    assert not last_admitted.findings
    assert refused.kinds == ["ratchet"]
    assert "8.0 times as much, and none was assessed" in refused.findings[0].summary


def test_raise_that_helped_starts_the_climb_anew(small: Scene) -> None:
    raise_memory(small, 0, 256, score=0.1)
    raise_memory(small, 10, 512, score=0.8)
    raise_memory(small, 20, 768, score=0.1)
    raise_memory(small, 30, 1024)

    assert not raise_memory(small, 40, 1536).findings
    assert raise_memory(small, 50, 2048).kinds == ["ratchet"]


def test_raises_whose_alert_was_resolved_are_not_refused(small: Scene) -> None:
    for when, size in ((0, 256), (10, 384), (20, 512)):
        raise_memory(small, when, size, is_alert_firing=False)

    assert not raise_memory(small, 30, 1024).findings


def test_raise_before_the_window_does_not_count(small: Scene) -> None:
    raise_memory(small, 0, 192, score=0.1)
    raise_memory(small, 20, 256)

    request = set_resources(requests={"memory": "512Mi"})
    assert small.preview(request, at=minute(180)).kinds == ["ratchet"]
    assert small.preview(request, at=minute(180) + _SECOND).kinds == []


def test_what_others_gave_in_between_adds_nothing(small: Scene) -> None:
    raise_memory(small, 0, 192, score=0.1)
    small.let_others(set_resources(requests={"memory": "1Gi"}))
    raise_memory(small, 20, 1100, score=0.1)

    assert not raise_memory(small, 40, 2048).findings


def test_what_an_agent_took_back_is_taken_off(small: Scene) -> None:
    raise_memory(small, 0, 256, score=0.1)
    raise_memory(small, 10, 128)
    raise_memory(small, 20, 256)
    raise_memory(small, 30, 200)

    assert not raise_memory(small, 40, 400).findings


def test_first_request_where_there_was_none_is_no_multiple(scene: Scene) -> None:
    raise_memory(scene, 0, 128, score=0.1)
    raise_memory(scene, 10, 256, score=0.1)

    assert not raise_memory(scene, 20, 1024).findings


def test_limit_that_is_given_up_is_no_multiple(scene: Scene) -> None:
    scene.let_others(set_resources(limits={"memory": "100Mi"}))
    for when, size in ((0, "150Mi"), (10, "200Mi")):
        played = scene.edit(set_resources(limits={"memory": size}), at=minute(when))
        scene.conclude(played, score=0.1)

    unlimited = scene.edit(set_resources(limits=None), at=minute(20))

    assert not unlimited.findings


def test_cpu_limits_climb_as_memory_requests_do(scene: Scene) -> None:
    scene.let_others(set_resources(limits={"cpu": "100m"}))
    for when, size in ((0, "150m"), (10, "300m")):
        scene.conclude(scene.edit(set_resources(limits={"cpu": size}), at=minute(when)), score=0.0)

    assert scene.edit(set_resources(limits={"cpu": "0.4"}), at=minute(20)).kinds == ["ratchet"]


def test_several_fields_that_climb_are_one_finding_about_the_steepest(scene: Scene) -> None:
    sizes = ((100, 10), (200, 20), (300, 30), (400, 50))
    (memory, cpu), *steps = sizes
    scene.let_others(set_resources(requests={"memory": f"{memory}Mi", "cpu": f"{cpu}m"}))
    for number, (memory, cpu) in enumerate(steps):
        edit = set_resources(requests={"memory": f"{memory}Mi", "cpu": f"{cpu}m"})
        last = scene.edit(edit, at=minute(10 * number))
        scene.conclude(last, score=0.1)

    (finding,) = last.findings

    assert finding.evidence["field"] == "app requests.cpu"
    assert finding.fields == ("app requests.cpu", "app requests.memory")


@pytest.mark.parametrize(("counts", "kinds"), [(False, []), (True, ["ratchet"])])
def test_replicas_climb_only_where_that_is_configured(
    scene: Scene,
    counts: bool,  # noqa: FBT001 - a column of the table above
    kinds: list[str],
) -> None:
    scene.patterns = (loop(ratchet_replicas=counts),)
    for when, replicas in ((0, 10), (10, 20)):
        scene.conclude(scene.edit(scale_to(replicas), at=minute(when)), score=0.1)

    assert scene.edit(scale_to(40), at=minute(20)).kinds == kinds


def test_raise_that_a_person_approved_neither_counts_nor_multiplies(small: Scene) -> None:
    raise_memory(small, 0, 192, score=0.1)
    edit = set_resources(requests={"memory": "1Gi"})
    small.edit(edit, at=minute(10), approval="an escalation")

    assert not raise_memory(small, 20, 2048).findings
    assert not raise_memory(small, 30, 2100).findings  # 1.5 times 2 times 1.03


def flip(scene: Scene, when: float, image: str, *, persists: bool = True) -> Played:
    return scene.edit(set_image(image), at=minute(when), persists=persists)


def test_third_return_to_an_image_that_an_agent_replaced_is_refused(scene: Scene) -> None:
    flip(scene, 0, "web:2.0")
    back = flip(scene, 10, "web:1.0")
    forth = flip(scene, 20, "web:2.0")

    third = flip(scene, 30, "web:1.0")

    assert third.kinds == ["return"]
    (finding,) = third.findings
    assert finding.action_ids == (back.trace.action_id, forth.trace.action_id)
    assert finding.until == minute(190) + _SECOND  # when the first of the returns leaves
    assert finding.fields == ("app image",)
    assert finding.summary == (
        "app image goes back to web:1.0, which an agent replaced 10 min ago: return 3 in 20 min; "
        "3 are too many within 3 h"
    )
    assert finding.evidence["replaced_by"] == [
        scene.played[number].trace.action_id for number in (0, 1, 2)
    ]


def test_return_is_admitted_when_its_value_was_replaced_long_enough_ago(scene: Scene) -> None:
    flip(scene, 0, "web:2.0")
    flip(scene, 150, "web:1.0")
    flip(scene, 160, "web:2.0")
    scene.let_others(set_image("web:3.0"))

    (finding,) = scene.preview(set_image("web:1.0"), at=minute(170)).findings

    assert finding.until == minute(150 + 180) + _SECOND
    assert scene.preview(set_image("web:1.0"), at=finding.until - _SECOND).kinds == ["return"]
    assert scene.preview(set_image("web:1.0"), at=finding.until).kinds == []


def test_rollback_and_a_second_try_are_admitted(scene: Scene) -> None:
    images = ("web:2.0", "web:1.0", "web:2.0")

    assert not any(flip(scene, 10 * n, image).findings for n, image in enumerate(images))


def test_value_that_somebody_else_replaced_does_not_return(scene: Scene) -> None:
    for number in range(6):
        scene.let_others(set_image("web:2.0"))
        assert not flip(scene, 10 * number, "web:1.0").findings


def test_environment_returns_without_its_value_being_shown(scene: Scene) -> None:
    for number, value in enumerate(("a", "b", "a", "b")):
        scene.edit(set_env("PASSWORD", value), at=minute(10 * number))

    last = scene.edit(set_env("PASSWORD", "a"), at=minute(50))

    assert last.kinds == ["return"]
    assert last.findings[0].summary.startswith(
        "app env.PASSWORD goes back to what it was, which an agent replaced 20 min ago: return 3"
    )


def test_variable_that_comes_and_goes_returns(scene: Scene) -> None:
    for number in range(3):
        played = scene.edit(set_env("LEVEL", "1"), at=minute(20 * number))
        removed = scene.edit(
            lambda body: body["spec"]["template"]["spec"]["containers"][0].pop("env"),
            at=minute(20 * number + 10),
        )
        if number == 1:
            break

    assert not played.is_refused
    assert removed.kinds == ["return"]  # removed, set again, removed again


def test_template_returns_like_an_image(scene: Scene) -> None:
    def set_grace(seconds: int) -> Played:
        return scene.edit(
            lambda body: body["spec"]["template"]["spec"].update(
                terminationGracePeriodSeconds=seconds
            ),
            at=minute(len(scene.played)),
        )

    kinds = [set_grace(seconds).kinds for seconds in (10, 20, 10, 20, 10)]

    assert kinds == [[], [], [], [], ["return"]]


def test_replicas_and_resources_have_patterns_of_their_own_and_do_not_return(scene: Scene) -> None:
    for number in range(6):
        memory = ("100Mi", "110Mi")[number % 2]
        edits = (set_resources(requests={"memory": memory}), scale_to(6 - number % 2))
        for edit in edits:
            assert "return" not in scene.edit(edit, at=minute(20 * number)).kinds


def test_image_that_never_took_effect_replaces_nothing(scene: Scene) -> None:
    for number in range(5):
        flip(scene, 10 * number, "web:2.0", persists=False)

    assert not scene.edit(set_env("LEVEL", "1"), at=minute(60)).findings
    assert not flip(scene, 70, "web:2.0").findings


def test_returns_of_different_fields_are_counted_apart(scene: Scene) -> None:
    for number, image in enumerate(("web:2.0", "web:1.0", "web:2.0")):
        flip(scene, 10 * number, image)
    for number, value in enumerate(("a", "b", "a", "b")):
        played = scene.edit(set_env("LEVEL", value), at=minute(30 + 10 * number))

        assert "return" not in played.kinds


def test_one_return_is_too_many_where_the_pattern_says_so(scene: Scene) -> None:
    scene.overrides = Overrides(min_occurrences=1)
    flip(scene, 0, "web:2.0")

    (finding,) = flip(scene, 10, "web:1.0").findings

    assert finding.evidence_kind is EvidenceKind.RETURN
    assert finding.until == minute(180) + _SECOND


def test_several_rules_are_all_found_and_the_weightiest_comes_first(small: Scene) -> None:
    small.patterns = (replace(INEFFECTIVE_LOOP, mode=Mode.AUDIT),)
    for number, size in enumerate((200, 300, 400, 500, 600)):
        edit = answering(set_resources(requests={"memory": f"{size}Mi"}), "OutOfMemory")
        played = small.edit(edit, at=minute(10 * number))
        small.conclude(played, score=0.1)

    assert played.kinds == ["ineffective", "ratchet", "same-alert"]
    assert played.decision.until == max(finding.until for finding in played.findings)
