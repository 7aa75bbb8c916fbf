"""One actor that moves on through a namespace and leaves unhealthy workloads behind."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.detection import Candidate, EvidenceKind, Severity
from gate.domain.pattern import Mode, PatternType
from gate.domain.patterns.cascading_failure import examine, respond_to_open
from gate.domain.trace import NOT_PERSISTED, ExecutionStatus
from tests.edits import label, saying, scale_to, set_image
from tests.reviews import AGENT
from tests.timeline import START, minute
from tests.unit.builders import KEY, make_candidate, make_detection, series
from tests.unit.scene import CASCADING_FAILURE, Played, Scene, cascade

_SECOND = timedelta(seconds=1)
_ALONE = (CASCADING_FAILURE,)
_STALLED = "rollout-stalled: 0 of 5 pods available for 10 min"
OTHER_AGENT = "system:serviceaccount:ai-agents:fixer"


def change(scene: Scene, when: float, name: str, *, fails: bool = False) -> Played:
    """Let the agent give a workload one more replica, with the outcome seen."""
    replicas = scene.body_of(name)["spec"]["replicas"] + 1
    played = scene.edit(scale_to(replicas), at=minute(when), name=name)
    if not played.is_refused:
        conclude(scene, played, fails=fails)
    return played


def conclude(scene: Scene, played: Played, *, fails: bool) -> None:
    status = ExecutionStatus.FAILED if fails else ExecutionStatus.COMPLETED
    scene.conclude(played, status=status, error=_STALLED if fails else None)


def cascading() -> Scene:
    """Return a scene in which an agent left two of three workloads unhealthy."""
    scene = Scene(patterns=_ALONE)
    change(scene, 0, "cart", fails=True)
    change(scene, 10, "search", fails=True)
    change(scene, 20, "web")
    return scene


def reach(scene: Scene, when: float, name: str = "mail", *, actor: str | None = None) -> Played:
    """Look at what the next workload would meet."""
    given = {} if actor is None else {"actor": actor}
    return scene.preview(scale_to(9), at=minute(when), name=name, **given)


def test_fourth_workload_is_refused_after_two_of_three_were_left_unhealthy() -> None:
    scene = cascading()

    played = reach(scene, 30)

    assert played.is_refused
    (finding,) = played.findings
    assert finding.evidence_kind is EvidenceKind.CASCADE
    assert finding.binds_actor
    assert finding.until == minute(60) + _SECOND
    assert (finding.confidence, finding.severity) == (0.5, Severity.CRITICAL)
    assert finding.action_ids == tuple(each.trace.action_id for each in scene.played)
    assert finding.span == timedelta(minutes=30)
    assert finding.summary == (
        "3 workloads changed in 30 min, 2 left unhealthy (cart, search), and mail would be one more"
    )


def test_evidence_of_a_cascade_redraws_the_decision() -> None:
    scene = cascading()

    played = reach(scene, 30)

    evidence = dict(played.findings[0].evidence)
    series = evidence.pop("series")
    assert evidence == {
        "unhealthy_workloads": 2,
        "workloads": 3,
        "window_seconds": 3600.0,
        "touched": ["shop/Deployment/cart", "shop/Deployment/search", "shop/Deployment/web"],
        "related": [],
        "unhealthy": ["shop/Deployment/cart", "shop/Deployment/search"],
    }
    assert isinstance(series, list)
    assert series[0] == {
        "workload": "shop/Deployment/cart",
        "time": "2026-11-24T08:00:00+00:00",
        "actor": AGENT,
        "action_type": "scale_deployment",
        "action_id": scene.played[0].trace.action_id,
        "status": "failed",
        "error": _STALLED,
        "is_alert_firing": None,
    }
    assert series[-1] == {
        "workload": "shop/Deployment/mail",
        "time": "2026-11-24T08:30:00+00:00",
        "action_type": "scale_deployment",
        "action_id": played.trace.action_id,
    }


def test_promise_is_true_to_the_second() -> None:
    scene = cascading()

    assert scene.preview(scale_to(9), at=minute(60), name="mail").is_refused
    assert not scene.preview(scale_to(9), at=minute(60) + _SECOND, name="mail").is_refused


def test_what_it_touched_already_may_be_repaired() -> None:
    scene = cascading()
    assert scene.edit(scale_to(9), at=minute(30), name="mail").is_refused  # a detection is open

    for name in ("cart", "search", "web"):
        assert not change(scene, 40, name).is_refused


def test_repaired_workloads_are_unhealthy_no_more() -> None:
    scene = cascading()
    change(scene, 30, "cart")

    assert not reach(scene, 40).is_refused


def test_repair_that_is_under_way_does_not_make_a_workload_healthy() -> None:
    scene = cascading()
    scene.edit(set_image("cart:2"), at=minute(30), name="cart")

    assert reach(scene, 40).is_refused


def test_alert_that_goes_on_firing_is_an_unhealthy_workload() -> None:
    scene = Scene(patterns=_ALONE, observes=True)
    for number, name in enumerate(("cart", "search", "web")):
        played = scene.edit(scale_to(6), at=minute(number), name=name)
        scene.conclude(played, is_alert_firing=number < 2)

    assert reach(scene, 10).is_refused


@pytest.mark.parametrize(
    ("unhealthy", "touched", "is_refused"),
    [(1, 3, False), (2, 2, False), (2, 3, True), (1, 6, False), (3, 6, True)],
)
def test_it_takes_two_unhealthy_ones_and_three_workloads(
    unhealthy: int,
    touched: int,
    is_refused: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    scene = Scene(patterns=_ALONE)
    for number in range(touched):
        change(scene, number, f"app-{number}", fails=number < unhealthy)

    assert reach(scene, 30).is_refused is is_refused


def test_counts_are_the_patterns_own() -> None:
    scene = Scene(patterns=(cascade(3, min_occurrences=5),))
    for number in range(4):
        change(scene, number, f"app-{number}", fails=True)
    assert not reach(scene, 30).is_refused

    change(scene, 5, "app-4")
    assert reach(scene, 30).is_refused


def test_at_least_three_workloads_make_a_cascade_whatever_the_pattern_says() -> None:
    scene = Scene(patterns=(cascade(1, min_occurrences=1),))
    for number in range(2):
        change(scene, number, f"app-{number}", fails=True)

    assert not reach(scene, 30).is_refused


@pytest.mark.parametrize("error", [NOT_PERSISTED, f"{NOT_PERSISTED}: a quota", None])
def test_what_was_not_persisted_neither_counts_nor_fails(error: str | None) -> None:
    scene = cascading()
    scene.conclude(scene.played[0], status=ExecutionStatus.FAILED, error=error)

    assert not reach(scene, 30).is_refused


def test_creations_and_metadata_neither_count_nor_are_judged() -> None:
    scene = Scene(patterns=_ALONE)
    for number in range(4):
        conclude(scene, scene.create(f"app-{number}", at=minute(number)), fails=True)
        labelled = scene.edit(label("tier", "gold"), at=minute(number), name=f"old-{number}")
        conclude(scene, labelled, fails=True)
    assert not reach(scene, 10).is_refused

    cascade_goes_on = cascading()
    assert not cascade_goes_on.create("mail", at=minute(30)).is_refused
    labelled = cascade_goes_on.edit(label("tier", "gold"), at=minute(30), name="news")
    assert not labelled.is_refused
    assert reach(cascade_goes_on, 31, "news").is_refused  # a label does not make it its own


def test_deletion_is_one_more_workload() -> None:
    assert cascading().delete(at=minute(30), name="mail").is_refused


def test_other_agents_are_not_held_to_it() -> None:
    scene = cascading()
    assert scene.edit(scale_to(9), at=minute(30), name="mail").is_refused

    assert not reach(scene, 31, actor=OTHER_AGENT).is_refused


def test_agents_that_share_a_correlation_id_are_one_cascade() -> None:
    scene = Scene(patterns=_ALONE)
    for number, name in enumerate(("cart", "search", "web")):
        edit = saying(scale_to(6), correlation_id="incident-7")
        conclude(scene, scene.edit(edit, at=minute(number), name=name), fails=True)
    edit = saying(scale_to(6), correlation_id="incident-7")

    assert scene.preview(edit, at=minute(10), name="mail", actor=OTHER_AGENT).is_refused
    assert not reach(scene, 10, actor=OTHER_AGENT).is_refused


def beside(played: Played, name: str) -> Candidate:
    """Return a candidate, beside a good change that another agent with its correlation id made."""
    history = played.candidate.history
    theirs = history.nearby[-1]._replace(
        key=replace(history.key, name=name),
        at=minute(25),
        actor=OTHER_AGENT,
        status=ExecutionStatus.COMPLETED,
        error=None,
    )
    nearby = (*history.nearby, theirs)
    return replace(played.candidate, history=replace(history, nearby=nearby))


def test_what_another_agent_touched_is_not_ones_own() -> None:
    candidate = beside(reach(cascading(), 30), "mail")

    (finding,) = examine(candidate, CASCADING_FAILURE).findings

    assert finding.evidence["related"] == [str(candidate.history.key)]
    assert len(finding.evidence["touched"]) == 3  # type: ignore[arg-type]  # a list


def test_open_detection_binds_for_what_another_agent_touched() -> None:
    scene = cascading()
    scene.edit(scale_to(9), at=minute(30), name="mail")
    candidate = beside(reach(scene, 40, "news"), "news")
    (detection,) = candidate.history.detections

    assert respond_to_open(candidate, CASCADING_FAILURE, detection) is not None


def test_what_others_did_takes_no_evidence_away() -> None:
    assert examine(beside(reach(cascading(), 30), "cart"), CASCADING_FAILURE).findings


def test_a_history_that_was_cut_within_the_window_is_reported() -> None:
    scene = Scene(patterns=_ALONE)
    for number in range(3):
        change(scene, number, f"app-{number}")
    candidate = reach(scene, 30).candidate

    for cut, lacks in ((0, ("history-cut",)), (-30, ())):
        history = replace(candidate.history, nearby_since=minute(cut))
        examined = examine(replace(candidate, history=history), CASCADING_FAILURE)
        assert examined.incomplete == lacks


def test_open_detection_binds_its_actor_for_new_workloads_until_it_ends() -> None:
    scene = cascading()
    refused = scene.edit(scale_to(9), at=minute(30), name="mail")
    until = refused.decision.until
    assert until == minute(90) + _SECOND  # the block lasts longer than the evidence
    change(scene, 35, "cart")
    change(scene, 36, "search")

    other = reach(scene, 80, "news")

    assert other.is_refused
    assert not other.findings
    assert other.decision.until == until
    assert other.decision.objections[0].summary.startswith(
        "one more workload, news, while an earlier detection binds this agent: 3 workloads changed"
    )
    assert not scene.preview(scale_to(9), at=until, name="news").is_refused


def test_open_detection_leaves_alone_what_the_actor_touched_before_the_window() -> None:
    scene = cascading()
    scene.edit(scale_to(9), at=minute(30), name="mail")

    assert not reach(scene, 85, "cart").is_refused


def test_refused_attempts_do_not_count_as_touched() -> None:
    scene = cascading()
    for number in range(5):
        assert scene.edit(scale_to(9), at=minute(30 + number), name="mail").is_refused


def test_unknown_outcomes_are_reported_where_they_keep_the_rule_from_deciding() -> None:
    scene = Scene(patterns=_ALONE)
    for number, name in enumerate(("cart", "search", "web")):
        scene.edit(scale_to(6), at=minute(number), name=name)

    played = reach(scene, 10)

    assert not played.is_refused
    assert played.decision.incomplete == (("cascading-failure", "no-outcome"),)


def test_unknown_outcomes_that_could_change_nothing_are_not_reported() -> None:
    few = Scene(patterns=_ALONE)
    for number in range(2):
        few.edit(scale_to(6), at=minute(number), name=f"app-{number}")
    healthy = Scene(patterns=_ALONE)
    for number in range(3):
        change(healthy, number, f"app-{number}")
    healthy.edit(scale_to(6), at=minute(5), name="one-more")

    assert reach(few, 10).decision.incomplete == ()
    assert reach(healthy, 10).decision.incomplete == ()
    assert reach(healthy, 10, "one-more").decision.incomplete == ()


def test_one_unknown_outcome_beside_an_unhealthy_workload_keeps_it_from_deciding() -> None:
    scene = Scene(patterns=_ALONE)
    change(scene, 0, "cart", fails=True)
    change(scene, 1, "search")
    scene.edit(scale_to(6), at=minute(2), name="web")

    assert reach(scene, 10).decision.incomplete == (("cascading-failure", "no-outcome"),)


def test_names_of_many_unhealthy_workloads_are_cut() -> None:
    scene = Scene(patterns=(replace(CASCADING_FAILURE, mode=Mode.AUDIT),))
    for number in range(5):
        change(scene, number, f"app-{number}", fails=True)

    played = reach(scene, 10)

    assert not played.is_refused
    assert "5 left unhealthy (app-0, app-1, app-2 and 2 more)" in played.findings[0].summary
    assert played.findings[0].confidence == 0.714


def walk(seed: int) -> Played:
    """Return one more workload after a random walk through a namespace."""
    chance = random.Random(seed)  # noqa: S311 - histories, not secrets
    scene = Scene(patterns=_ALONE)
    now = START
    for _ in range(chance.randint(4, 20)):
        now += timedelta(milliseconds=round(chance.expovariate(1 / 300) * 1000) + 1)
        name = f"app-{chance.randint(0, 6)}"
        played = scene.edit(set_image(f"web:{now.timestamp()}"), at=now, name=name)
        if not played.is_refused and chance.random() < 0.8:
            conclude(scene, played, fails=chance.random() < 0.6)
    return scene.preview(scale_to(9), at=now + _SECOND, name="mail")


def finds_at(played: Played, instants: Iterable[datetime]) -> list[bool]:
    found = []
    for now in instants:
        seen = replace(played.candidate.trace.seen, at=now)
        candidate = replace(played.candidate, trace=replace(played.candidate.trace, seen=seen))
        found.append(bool(examine(candidate, CASCADING_FAILURE).findings))
    return found


def test_cascade_fires_until_a_second_before_its_promise_and_never_again() -> None:
    fired = 0
    for seed in range(150):
        played = walk(seed)
        for finding in examine(played.candidate, CASCADING_FAILURE).findings:
            fired += 1
            until = finding.until
            after = [until + timedelta(seconds=wait) for wait in (0.0, 0.001, 1.0, 600.0, 3600.0)]
            assert until.microsecond == 0
            assert finds_at(played, [until - _SECOND]) == [True], seed
            assert finds_at(played, after) == [False] * len(after), seed

    assert fired > 30


def test_what_a_detection_spares_may_be_repaired_though_nothing_around_is_known() -> None:
    """In an outage, only the detection tells what its agent has changed."""
    detection = replace(
        make_detection(actor=AGENT, pattern_type=PatternType.CASCADING_FAILURE),
        spares=(str(KEY),),
    )
    (trace,) = series((0, 5, 3))
    touched = respond_to_open(make_candidate(trace), CASCADING_FAILURE, detection)
    new = respond_to_open(make_candidate(trace), CASCADING_FAILURE, replace(detection, spares=()))

    assert touched is None
    assert new is not None
