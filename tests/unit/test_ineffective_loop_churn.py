"""A workload that agents change too often, whatever they change."""

from datetime import timedelta

import pytest

from gate.domain.detection import Severity
from gate.domain.pattern import Mode
from tests.edits import label, scale_to, set_env, set_image
from tests.timeline import minute
from tests.unit.scene import INEFFECTIVE_LOOP, Scene, loop

_SECOND = timedelta(seconds=1)
_ALONE = (INEFFECTIVE_LOOP,)


@pytest.fixture(params=[False, True], ids=["outcomes unknown", "outcomes known"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(patterns=_ALONE, observes=request.param)


@pytest.mark.parametrize(("mode", "is_refused"), [(Mode.AUDIT, False), (None, True)])
def test_tenth_change_of_any_kind_within_an_hour_is_churn(
    scene: Scene,
    mode: Mode | None,
    is_refused: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    scene.patterns = (loop(churn_mode=mode),)
    edits = [scale_to(6), set_image("web:2.0"), label("tier", "gold")]
    edits += [set_env("LEVEL", str(number)) for number in range(6)]
    for number, edit in enumerate(edits):
        assert scene.edit(edit, at=minute(5 * number)).kinds == []

    tenth = scene.edit(scale_to(7), at=minute(50))

    assert tenth.kinds == ["churn"]
    assert tenth.is_refused is is_refused
    (finding,) = tenth.findings
    assert finding.mode is mode
    assert finding.fields == ("*",)
    assert finding.action_type is None
    assert finding.until == minute(60) + _SECOND
    assert finding.severity is Severity.INFO
    assert finding.summary == (
        "agents change it for time 10 in 50 min, in 4 ways; 10 are too many within 1 h"
    )


def test_churn_that_is_enforced_binds_changes_of_any_kind(scene: Scene) -> None:
    scene.patterns = (loop(churn_mode=None, churn_occurrences=3),)
    for number in range(3):
        scene.edit(set_env("LEVEL", str(number)), at=minute(number))

    later = scene.edit(scale_to(7), at=minute(20))

    assert later.is_refused
    (objection,) = later.decision.objections
    assert [bound.evidence_kind for bound in objection.bound_by] == ["churn"]
