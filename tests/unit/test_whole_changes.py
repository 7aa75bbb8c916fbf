"""Whether a change as a whole took effect, of whatever kind it is."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.corroboration import Effect, judge_effect, judge_effects
from gate.domain.trace import NOT_PERSISTED, ExecutionStatus, Verdict, values_at
from tests.edits import (
    Edit,
    label,
    restart,
    saying,
    scale_to,
    set_env,
    set_image,
    set_resources,
)
from tests.reviews import Body
from tests.timeline import START, minute
from tests.unit.scene import Played, Scene

_SECOND = timedelta(seconds=1)
_ROLLED_OUT = "deployment.kubernetes.io/revision"


def in_spec(name: str, value: object) -> Edit:
    return lambda body: body["spec"].update({name: value})


def in_pod(name: str, value: object) -> Edit:
    return lambda body: body["spec"]["template"]["spec"].update({name: value})


def in_container(name: str, value: object) -> Edit:
    return lambda body: body["spec"]["template"]["spec"]["containers"][0].update({name: value})


def annotate(name: str, value: str) -> Edit:
    return lambda body: body["metadata"].setdefault("annotations", {}).update({name: value})


def add_container(body: Body) -> None:
    container = {"name": "proxy", "image": "proxy:1", "resources": {"requests": {"cpu": "10m"}}}
    body["spec"]["template"]["spec"]["containers"].append(container)


def restart_with_another_tool(at: datetime) -> Edit:
    noted = {"robusta.kubernetes.io/restartedAt": at.isoformat(timespec="seconds")}
    return lambda body: (
        body["spec"]["template"]["metadata"].setdefault("annotations", {}).update(noted)
    )


SPEC_EDITS: dict[str, Edit] = {
    "replicas": scale_to(7),
    "image": set_image("web:2.0"),
    "request": set_resources(requests={"memory": "128Mi"}),
    "environment": set_env("LEVEL", "2"),
    "arguments": in_container("args", ["--verbose"]),
    "restart": restart(minute(0)),
    "strategy": in_spec("strategy", {"type": "Recreate"}),
    "pause": in_spec("paused", value=True),
    "unknown part of the spec": in_spec("somethingNew", {"a": 1}),
    "pod": in_pod("terminationGracePeriodSeconds", 10),
    "resources of the pod": in_pod("resources", {"requests": {"cpu": "2"}}),
    "another container": add_container,
    "several": lambda body: (set_image("web:2.0")(body), scale_to(9)(body)),
    "image and words": saying(set_image("web:2.0"), alert_name="HighErrors"),
}
METADATA_EDITS: dict[str, Edit] = {
    "label": label("tier", "gold"),
    "annotation": annotate("note", "x"),
}
EDITS = {**SPEC_EDITS, **METADATA_EDITS}
each_edit = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
each_spec_edit = pytest.mark.parametrize("edit", SPEC_EDITS.values(), ids=SPEC_EDITS)
each_metadata_edit = pytest.mark.parametrize("edit", METADATA_EDITS.values(), ids=METADATA_EDITS)


def effects_at(scene: Scene, at: datetime, *, scaling: bool = False) -> list[Effect]:
    """Return what one more review tells of the changes so far."""
    if scaling:
        scene.scale(99, at=at, persists=False)
        candidate = scene.histories["web"].traces[-1]
        traces = scene.histories["web"].traces[:-1]
    else:
        candidate = scene.preview(in_container("command", ["look"]), at=at).trace
        traces = scene.histories["web"].traces
    return [effect for _, effect in judge_effects(traces, None, candidate=candidate)]


@each_edit
def test_change_that_the_next_review_sees_took_effect(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0))

    assert effects_at(scene, minute(0) + _SECOND) == [Effect.TOOK]
    assert effects_at(scene, minute(60)) == [Effect.TOOK]


@each_edit
def test_object_that_is_still_the_same_after_a_while_refutes(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0), persists=False)

    assert effects_at(scene, minute(0) + 39 * _SECOND) == [Effect.UNKNOWN]
    assert effects_at(scene, minute(0) + 40 * _SECOND) == [Effect.DID_NOT]


@each_spec_edit
def test_next_generation_without_it_refutes_at_once(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0), persists=False)
    scene.let_others(in_spec("minReadySeconds", 5))

    assert effects_at(scene, minute(0) + _SECOND) == [Effect.DID_NOT]


@each_metadata_edit
def test_next_generation_says_nothing_of_metadata(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0), persists=False)
    scene.let_others(in_spec("minReadySeconds", 5))

    assert effects_at(scene, minute(0) + _SECOND) == [Effect.UNKNOWN]


@each_edit
def test_object_that_others_changed_several_times_leaves_it_unknown(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0), persists=False)
    for seconds in (5, 6):
        scene.let_others(in_spec("minReadySeconds", seconds))

    assert effects_at(scene, minute(60)) == [Effect.UNKNOWN]


@each_edit
def test_change_shows_through_what_others_changed_elsewhere(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0))
    for seconds in (5, 6):
        scene.let_others(in_spec("minReadySeconds", seconds))

    assert effects_at(scene, minute(60)) == [Effect.TOOK]


@each_spec_edit
def test_what_the_controller_notes_after_a_rollout_hides_no_change(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0))
    note_revision(scene, 2)

    assert effects_at(scene, minute(60)) == [Effect.TOOK]


@each_metadata_edit
def test_metadata_that_others_wrote_over_refutes_nothing(edit: Edit) -> None:
    scene = Scene()
    scene.edit(edit, at=minute(0))
    note_revision(scene, 2)

    assert effects_at(scene, minute(60)) == [Effect.UNKNOWN]


def note_revision(scene: Scene, number: int) -> None:
    """Let the controller note a rollout with the status, which bumps no generation."""
    generation = scene.body_of("web")["metadata"]["generation"]
    scene.let_others(annotate(_ROLLED_OUT, str(number)))
    scene.workloads["web"]["metadata"]["generation"] = generation


def test_label_and_image_on_one_generation_both_took_effect() -> None:
    scene = Scene()
    scene.edit(label("tier", "gold"), at=minute(0))
    scene.edit(set_image("web:2.0"), at=minute(0) + _SECOND)
    scene.edit(set_env("LEVEL", "2"), at=minute(0) + 2 * _SECOND)

    assert effects_at(scene, minute(1)) == [Effect.TOOK] * 3


def test_unknown_label_is_not_displaced_by_an_image_on_the_same_generation() -> None:
    scene = Scene()
    scene.edit(label("tier", "gold"), at=minute(0))
    note_revision(scene, 2)
    scene.edit(set_image("web:2.0"), at=minute(0) + _SECOND)

    assert effects_at(scene, minute(1)) == [Effect.UNKNOWN, Effect.TOOK]


def test_of_two_changes_on_one_generation_only_the_one_that_is_seen_took_effect() -> None:
    scene = Scene()
    scene.edit(set_image("web:2.0"), at=minute(0), persists=False)
    scene.edit(set_env("LEVEL", "2"), at=minute(0) + _SECOND)

    assert effects_at(scene, minute(0) + 2 * _SECOND) == [Effect.DID_NOT, Effect.TOOK]


def test_review_of_a_scale_tells_of_replicas_alone() -> None:
    scene = Scene()
    scene.edit(set_image("web:2.0"), at=minute(0))
    scene.scale(8, at=minute(1))

    assert effects_at(scene, minute(2), scaling=True) == [Effect.UNKNOWN, Effect.TOOK]


def test_image_is_not_seen_on_a_scale_however_old() -> None:
    scene = Scene()
    scene.edit(set_image("web:2.0"), at=minute(0), persists=False)

    assert effects_at(scene, minute(60), scaling=True) in ([Effect.UNKNOWN], [Effect.DID_NOT])


def test_change_of_image_and_replicas_is_not_confirmed_by_replicas_alone() -> None:
    scene = Scene()
    scene.edit(EDITS["several"], at=minute(0), persists=False)
    for replicas in (8, 9):
        scene.let_others(scale_to(replicas))

    assert effects_at(scene, minute(0) + _SECOND, scaling=True) == [Effect.UNKNOWN]
    assert effects_at(scene, minute(0) + 2 * _SECOND)[0] is Effect.UNKNOWN


def test_what_was_asked_for_again_beside_other_things_says_nothing_of_the_first_time() -> None:
    scene = Scene()
    scene.edit(set_image("web:2.0"), at=minute(0), persists=False)
    for seconds in (5, 6):
        scene.let_others(in_spec("minReadySeconds", seconds))
    scene.edit(EDITS["several"], at=minute(1))

    assert effects_at(scene, minute(2)) == [Effect.UNKNOWN, Effect.TOOK]


def test_each_restart_is_told_by_its_own_instant() -> None:
    scene = Scene(patterns=())
    for number, persists in enumerate((True, False, True)):
        at = minute(0) + 10 * number * _SECOND
        scene.edit(restart(at), at=at, persists=persists)

    assert effects_at(scene, minute(1)) == [Effect.TOOK, Effect.DID_NOT, Effect.TOOK]


def test_restart_is_no_retry_of_the_one_before() -> None:
    scene = Scene(patterns=())
    scene.edit(restart(minute(0)), at=minute(0))
    scene.let_others(restart(minute(0) + 5 * _SECOND))
    scene.edit(restart(minute(0) + 10 * _SECOND), at=minute(0) + 10 * _SECOND)

    assert effects_at(scene, minute(1)) == [Effect.UNKNOWN, Effect.TOOK]


def test_restart_by_another_tool_does_not_hide_one() -> None:
    scene = Scene(patterns=())
    scene.edit(restart(minute(0)), at=minute(0))
    scene.let_others(restart_with_another_tool(minute(1)))

    assert effects_at(scene, minute(2)) == [Effect.TOOK]


def test_deletion_and_creation_are_told_by_the_object_in_place() -> None:
    scene = Scene(patterns=())
    scene.delete(at=minute(0))
    scene.create("web", at=minute(1))

    assert effects_at(scene, minute(2)) == [Effect.TOOK, Effect.TOOK]


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (ExecutionStatus.EXECUTING, None, Effect.TOOK),
        (ExecutionStatus.COMPLETED, None, Effect.TOOK),
        (ExecutionStatus.ROLLED_BACK, None, Effect.TOOK),
        (ExecutionStatus.FAILED, "progress-deadline-exceeded: 0 of 5", Effect.TOOK),
        (ExecutionStatus.FAILED, NOT_PERSISTED, Effect.DID_NOT),
        (ExecutionStatus.FAILED, f"{NOT_PERSISTED}: a conflict", Effect.DID_NOT),
        (ExecutionStatus.FAILED, None, Effect.DID_NOT),
        (ExecutionStatus.BLOCKED, None, Effect.DID_NOT),
    ],
)
def test_what_was_observed_comes_before_what_reviews_tell(
    status: ExecutionStatus, error: str | None, expected: Effect
) -> None:
    for persists in (True, False):
        scene = Scene()
        played = scene.edit(set_image("web:2.0"), at=minute(0), persists=persists)
        scene.conclude(played, status=status, error=error)

        assert effects_at(scene, minute(60)) == [expected]


def test_change_that_is_not_on_record_is_unknown() -> None:
    scene = Scene()
    taken = scene.edit(set_image("web:2.0"), at=minute(0))
    candidate = scene.preview(scale_to(7), at=minute(1)).trace
    traces = scene.histories["web"].traces

    assert judge_effect(traces, taken.trace.action_id, candidate=candidate) is Effect.TOOK
    assert judge_effect(traces, "another", candidate=candidate) is Effect.UNKNOWN


def test_refused_change_is_no_change_but_its_review_is_evidence() -> None:
    scene = Scene(patterns=())
    scene.edit(set_image("web:2.0"), at=minute(0))
    played = scene.edit(scale_to(9), at=minute(1), persists=False)
    history = scene.histories["web"]
    refused = replace(played.trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED)
    scene.histories["web"] = replace(history, traces=(history.traces[0], refused))
    for seconds in (5, 6):
        scene.let_others(set_image(f"web:{seconds}"))

    assert effects_at(scene, minute(2)) == [Effect.TOOK]


def test_scale_tells_of_replicas_alone() -> None:
    scene = Scene()
    scaled = scene.scale(8, at=minute(0)).trace
    image = scene.edit(set_image("web:2.0"), at=minute(1)).trace
    full = scene.preview(scale_to(3), at=minute(2)).trace.seen.state

    assert full is not None
    assert values_at({"replicas": 8}, scaled.paths) == (8,)
    assert values_at(full, scaled.paths) == (8,)
    assert values_at({"replicas": 8}, image.paths) is None
    assert values_at(full, image.paths) == ("web:2.0",)


def random_edit(chance: random.Random, serial: int) -> Edit:
    """Return an edit to values that nothing else has."""
    edits = (
        scale_to(100 + serial),
        set_image(f"web:{serial}"),
        set_env("LEVEL", str(serial)),
        set_resources(requests={"memory": f"{serial}Mi"}),
        restart(START + timedelta(days=serial)),
        label("serial", str(serial)),
        annotate("serial", str(serial)),
        in_spec("minReadySeconds", serial),
        saying(set_image(f"web:{serial}"), reasoning=str(serial)),
    )
    return chance.choice(edits)


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_concluded_that_is_not_true(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - histories, not secrets
    scene = Scene(patterns=())
    truth: dict[str, bool] = {}
    now = START
    known = 0
    for serial in range(1, 26):
        now += timedelta(seconds=1, milliseconds=round(chance.expovariate(1 / 20) * 1000))
        while chance.random() < 0.3:
            scene.let_others(random_edit(chance, 1000 * serial + chance.randint(1, 999)))
        if chance.random() < 0.3:
            note_revision(scene, serial)
        persists = chance.random() < 0.7
        played: Played
        if chance.random() < 0.2:
            played = scene.scale(200 + serial, at=now, persists=persists)
        else:
            edit = random_edit(chance, serial)
            played = scene.edit(edit, at=now, persists=persists)
        truth[played.trace.action_id] = persists
        *traces, candidate = scene.histories["web"].traces
        for trace, effect in judge_effects(traces, None, candidate=candidate):
            known += effect is not Effect.UNKNOWN
            if effect is not Effect.UNKNOWN:
                assert truth[trace.action_id] is (effect is Effect.TOOK), (trace, effect)

    assert known > 100  # of 300 questions
