"""Changes that leave capacity alone neither hide an oscillation nor pass for one."""

import copy
from typing import Any

import pytest

from tests.timeline import Outcome, Step, Timeline, minute, start_timeline


async def label(timeline: Timeline, value: int, *, at: float) -> Outcome:
    """Let an agent change nothing but a label."""
    changed = copy.deepcopy(timeline.body)
    changed["metadata"]["labels"]["note"] = str(value)
    return (await timeline.edit(changed, at=minute(at))).outcome


async def test_seventy_label_patches_do_not_wash_an_oscillation_clean() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.play([Step(0, 3), Step(10, 5)])

    patches = {await label(timeline, number, at=11 + number / 10) for number in range(70)}
    (third,) = await timeline.play([Step(20, 3)])

    assert patches == {Outcome.ADMITTED}
    assert third.outcome is Outcome.REFUSED


def set_replicas(body: dict[str, Any]) -> None:
    body["spec"]["replicas"] = 7


def set_request(body: dict[str, Any]) -> None:
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}


def set_image_and_request(body: dict[str, Any]) -> None:
    set_image(body)
    set_request(body)


def set_image(body: dict[str, Any]) -> None:
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2.0"


def set_label(body: dict[str, Any]) -> None:
    body["metadata"]["labels"]["note"] = "x"


@pytest.mark.parametrize(
    ("change", "is_of_capacity"),
    [
        (set_replicas, True),
        (set_request, True),
        (set_image_and_request, True),
        (set_image, False),
        (set_label, False),
    ],
)
async def test_change_of_replicas_or_resources_is_recorded_as_one_of_capacity(
    change: Any, *, is_of_capacity: bool
) -> None:
    timeline = await start_timeline()
    changed = copy.deepcopy(timeline.body)
    change(changed)

    await timeline.edit(changed, at=minute(0))

    assert timeline.recordings[-1].changes_capacity is is_of_capacity


async def test_creation_and_deletion_are_recorded_as_changes_of_capacity() -> None:
    timeline = await start_timeline()

    await timeline.delete(at=minute(0))
    await timeline.create(1, at=minute(1))

    assert [recording.changes_capacity for recording in timeline.recordings] == [True, True]
