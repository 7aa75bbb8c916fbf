"""Attempts that do not help: of one kind, for one alert, or simply too many."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.detection import EvidenceKind, Response, Severity
from gate.domain.pattern import Mode
from gate.domain.trace import ExecutionStatus, Overrides, Verdict
from tests.edits import Edit, scale_to, set_env, set_image, set_resources
from tests.timeline import minute
from tests.unit.scene import INEFFECTIVE_LOOP, Played, Scene, answering, loop

_SECOND = timedelta(seconds=1)
_ALONE = (INEFFECTIVE_LOOP,)


@pytest.fixture(params=[False, True], ids=["outcomes unknown", "outcomes known"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(patterns=_ALONE, observes=request.param)


def scale_up(scene: Scene, when: float, *, score: float | None, alert: str | None = None) -> Played:
    """Let an agent add a replica, and assess what that achieved."""
    replicas = scene.body_of("web")["spec"]["replicas"] + 1
    played = scene.edit(answering(scale_to(replicas), alert), at=minute(when))
    if score is not None and not played.is_refused:
        scene.conclude(played, score=score)
    return played


def scale_down(scene: Scene, when: float, *, score: float | None) -> Played:
    replicas = scene.body_of("web")["spec"]["replicas"] - 1
    played = scene.edit(scale_to(replicas), at=minute(when))
    if score is not None and not played.is_refused:
        scene.conclude(played, score=score)
    return played


def test_change_like_three_that_did_not_help_is_refused(scene: Scene) -> None:
    for when, score in ((0, 0.1), (20, 0.0), (40, 0.25)):
        assert not scale_up(scene, when, score=score).is_refused

    fourth = scale_up(scene, 60, score=None)

    assert fourth.is_refused
    (finding,) = fourth.findings
    assert finding.evidence_kind is EvidenceKind.INEFFECTIVE
    assert finding.response is Response.REFUSE  # though it is an increase
    assert finding.action_type == "scale_deployment"
    assert finding.until == minute(180) + _SECOND
    assert finding.confidence == 0.5
    assert finding.severity is Severity.WARNING
    assert finding.span == timedelta(hours=1)
    assert finding.summary == (
        "scale_deployment up did not help 3 times in a row in 1 h (scores 0.10, 0.00, 0.25; "
        "effective is 0.30), and this is another"
    )


def test_evidence_of_an_ineffective_loop_redraws_the_decision(scene: Scene) -> None:
    played = [scale_up(scene, 20 * number, score=0.1) for number in range(3)]
    last = scale_up(scene, 60, score=None)

    (finding,) = last.findings

    assert finding.action_ids == tuple(each.trace.action_id for each in played)
    series = finding.evidence["series"]
    assert isinstance(series, list)
    assert {name: held for name, held in finding.evidence.items() if name != "series"} == {
        "seen": 3,
        "needed": 3,
        "effectiveness_threshold": 0.3,
        "min_occurrences": 3,
        "window_seconds": 10800.0,
        "alert": None,
        "direction": 1,
    }
    assert series[0] == {
        "version": 1,
        "time": "2026-11-24T08:00:00+00:00",
        "action_type": "scale_deployment",
        "before": {"replicas": 5},
        "after": {"replicas": 6},
        "actor": "system:serviceaccount:ai-agents:scaler",
        "action_id": played[0].trace.action_id,
        "alert": None,
        "score": 0.1,
        "is_alert_firing": None,
    }
    assert [entry["after"]["replicas"] for entry in series] == [6, 7, 8, 9]


def test_one_that_helped_starts_the_count_anew(scene: Scene) -> None:
    for when, score in ((0, 0.1), (10, 0.1), (20, 0.3), (30, 0.1), (40, 0.1)):
        scale_up(scene, when, score=score)

    assert not scale_up(scene, 50, score=0.1).is_refused
    assert scale_up(scene, 60, score=None).is_refused


def test_one_that_helped_starts_the_count_anew_even_where_it_left_the_window(scene: Scene) -> None:
    scale_up(scene, 0, score=0.1)
    scale_up(scene, 1, score=0.9)
    for when in (182, 183):
        scale_up(scene, when, score=0.1)

    assert not scale_up(scene, 184, score=None).is_refused


def test_score_that_is_not_known_neither_counts_nor_resets(scene: Scene) -> None:
    for when, score in ((0, 0.1), (10, None), (20, 0.1), (30, None)):
        scale_up(scene, when, score=score)

    assert not scale_up(scene, 40, score=0.1).is_refused
    assert scale_up(scene, 50, score=None).is_refused


def test_changes_without_any_score_are_not_refused_and_said_to_be_unassessed(scene: Scene) -> None:
    first = scale_up(scene, 0, score=None)
    later = [scale_up(scene, 5 * number, score=None) for number in range(1, 8)]

    lack = ("ineffective-loop", "no-score")
    assert lack not in first.decision.incomplete
    assert not any(played.is_refused for played in later)
    assert all(lack in played.decision.incomplete for played in later)


def test_other_direction_is_counted_apart(scene: Scene) -> None:
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.1)

    assert not scale_down(scene, 30, score=0.1).is_refused
    assert scale_up(scene, 40, score=None).is_refused


def test_attempts_for_different_alerts_are_counted_apart(scene: Scene) -> None:
    for when, alert in ((0, "HighLatency"), (10, "HighErrors"), (20, "HighLatency")):
        scale_up(scene, when, score=0.1, alert=alert)

    assert not scale_up(scene, 30, score=0.1, alert="HighLatency").is_refused
    assert not scale_up(scene, 40, score=0.1).is_refused  # no alert known is a group of its own
    last = scale_up(scene, 50, score=None, alert="HighLatency")
    assert last.kinds == ["ineffective"]
    assert "for alert HighLatency did not help 3 times" in last.findings[0].summary


def test_attempts_that_left_the_window_do_not_count(scene: Scene) -> None:
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.1)

    assert scene.preview(scale_to(9), at=minute(180)).is_refused
    assert not scene.preview(scale_to(9), at=minute(180) + _SECOND).is_refused


def test_threshold_of_the_workload_wins_over_the_patterns(scene: Scene) -> None:
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.2)

    scene.overrides = Overrides(effectiveness_threshold=0.2)
    assert not scene.preview(scale_to(9), at=minute(30)).is_refused
    scene.overrides = Overrides(effectiveness_threshold=0.21)
    assert scene.preview(scale_to(9), at=minute(30)).is_refused
    scene.overrides = Overrides(effectiveness_threshold=0.0)
    assert not scene.preview(scale_to(9), at=minute(30)).is_refused


def test_window_and_count_of_the_workload_win_over_the_patterns(scene: Scene) -> None:
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.2)

    scene.overrides = Overrides(min_occurrences=4)
    assert not scene.preview(scale_to(9), at=minute(30)).is_refused
    scene.overrides = Overrides(window=timedelta(minutes=29))
    assert not scene.preview(scale_to(9), at=minute(30)).is_refused


def test_attempt_that_did_not_take_effect_does_not_count() -> None:
    scene = Scene(patterns=_ALONE, observes=True)
    for when in (0, 10):
        scale_up(scene, when, score=0.1)
    lost = scene.edit(scale_to(8), at=minute(20), persists=False)
    scene.conclude(lost, status=ExecutionStatus.FAILED, error="not-persisted", score=0.0)

    assert not scale_up(scene, 30, score=None).is_refused


def test_attempt_whose_rollout_failed_took_effect_and_counts() -> None:
    scene = Scene(patterns=_ALONE, observes=True)
    for when in (0, 10, 20):
        played = scale_up(scene, when, score=None)
        scene.conclude(
            played, status=ExecutionStatus.FAILED, error="progress-deadline-exceeded", score=0.0
        )

    assert scale_up(scene, 30, score=None).is_refused


def test_attempt_that_a_person_approved_does_not_count_but_may_have_helped(scene: Scene) -> None:
    for when in (0, 10):
        scale_up(scene, when, score=0.1)
    approved = scene.edit(scale_to(8), at=minute(20), approval="an escalation")
    scene.conclude(approved, score=0.1)
    assert not scene.preview(scale_to(9), at=minute(30)).is_refused

    scale_up(scene, 30, score=0.1)
    assert scene.preview(scale_to(10), at=minute(40)).is_refused
    scene.conclude(approved, score=0.9)
    assert not scene.preview(scale_to(10), at=minute(40)).is_refused


@pytest.mark.parametrize(
    "edits",
    [
        [set_resources(requests={"memory": f"{size}Mi"}) for size in (100, 110, 120, 130)],
        [set_image(f"web:2.{n}") for n in range(4)],
        [set_env("LEVEL", str(n)) for n in range(4)],
    ],
    ids=["resources", "image", "environment"],
)
def test_every_kind_of_change_can_be_ineffective(scene: Scene, edits: list[Edit]) -> None:
    *earlier, last = edits
    scene.let_others(set_resources(requests={"memory": "90Mi"}))
    for number, edit in enumerate(earlier):
        scene.conclude(scene.edit(edit, at=minute(20 * number)), score=0.1)

    assert scene.edit(last, at=minute(60)).kinds == ["ineffective"]


def answer(alert: str | None, number: int) -> Edit:
    return answering(set_env("LEVEL", str(number)), alert)


def test_fifth_answer_to_one_alert_of_one_kind_is_refused_whatever_the_scores(scene: Scene) -> None:
    for number in range(4):
        played = scene.edit(answer("PodCrashLooping", number), at=minute(50 * number))
        assert not played.is_refused
        scene.conclude(played, score=0.9)

    fifth = scene.edit(answer("PodCrashLooping", 5), at=minute(200))

    assert fifth.kinds == ["same-alert"]
    (finding,) = fifth.findings
    assert finding.until == minute(240) + _SECOND
    assert finding.summary == (
        "update_environment for alert PodCrashLooping comes for time 5 in 3 h 20 min; "
        "5 are too many within 4 h"
    )
    assert finding.evidence["alert_occurrences"] == 5


def test_answers_to_an_alert_of_another_kind_or_to_another_alert_do_not_count(scene: Scene) -> None:
    for number in range(4):
        scene.edit(answer("HighErrors", number), at=minute(10 * number))
        scene.edit(
            answering(set_image(f"web:2.{number}"), "PodCrashLooping"),
            at=minute(10 * number + 5),
        )

    assert not scene.preview(answer("PodCrashLooping", 9), at=minute(50)).findings


def test_changes_without_an_alert_are_never_grouped_by_it(scene: Scene) -> None:
    for number in range(8):
        played = scene.edit(answer(None, number), at=minute(20 * number))

        assert not played.is_refused
        assert ("ineffective-loop", "no-alert") in played.decision.incomplete


def test_alert_that_is_named_is_no_missing_input(scene: Scene) -> None:
    played = scene.edit(answer("HighErrors", 1), at=minute(0))

    assert played.decision.incomplete == ()


def test_audited_churn_does_not_keep_an_enforced_rule_from_refusing(scene: Scene) -> None:
    scene.patterns = (loop(churn_occurrences=4),)
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.1)

    fourth = scale_up(scene, 30, score=None)

    assert fourth.is_refused
    assert fourth.decision.objections[0].finding is not None
    assert fourth.decision.objections[0].finding.evidence_kind is EvidenceKind.INEFFECTIVE


def test_open_detection_binds_the_action_type_in_either_direction(scene: Scene) -> None:
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.1)
    assert scale_up(scene, 30, score=None).is_refused

    down = scene.edit(scale_to(3), at=minute(31))
    other = scene.edit(set_image("web:2.0"), at=minute(32))

    assert down.is_refused
    assert down.decision.objections[0].summary.startswith(
        "scale_deployment while an earlier detection binds it: scale_deployment up did not help"
    )
    assert not other.is_refused


def test_refused_attempts_neither_count_nor_move_the_promise(scene: Scene) -> None:
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.1)
    promised = scale_up(scene, 30, score=None).decision.until

    for when in range(31, 180, 10):
        again = scene.edit(scale_to(9), at=minute(when))
        assert again.is_refused
        assert again.decision.until == promised

    assert promised == minute(180) + _SECOND
    assert scene.preview(scale_to(9), at=promised - _SECOND).is_refused
    assert not scene.preview(scale_to(9), at=promised).is_refused


def test_review_of_an_outdated_state_is_not_judged(scene: Scene) -> None:
    scene.scale(6, at=minute(0))
    outdated = scene.body_of("web")
    for replicas in (7, 8):
        scene.conclude(scene.edit(scale_to(replicas), at=minute(0) + _SECOND), score=0.0)
    latest = scene.preview(scale_to(9), at=minute(0) + 2 * _SECOND)
    scene.workloads["web"] = outdated | {"metadata": {**outdated["metadata"], "generation": 1}}

    stale = scene.preview(scale_to(9), at=minute(0) + 3 * _SECOND)

    assert ("ineffective-loop", "stale-sighting") not in latest.decision.incomplete
    assert stale.decision.incomplete == (("ineffective-loop", "stale-sighting"),)


def test_earlier_change_whose_effect_is_unknown_counts_and_is_reported() -> None:
    scene = Scene(patterns=(loop(churn_mode=None, churn_occurrences=2),))
    scene.edit(set_image("web:2.0"), at=minute(0), persists=False)
    scene.let_others(set_env("LEVEL", "1"))
    scene.let_others(set_env("LEVEL", "2"))

    played = scene.edit(scale_to(8), at=minute(1))

    assert played.is_refused
    assert ("ineffective-loop", "outcome-unconfirmed") in played.decision.incomplete


def test_change_that_a_later_review_disproves_does_not_count() -> None:
    scene = Scene(patterns=(loop(churn_mode=None, churn_occurrences=2),))
    scene.edit(set_image("web:2.0"), at=minute(0), persists=False)

    assert not scene.edit(scale_to(8), at=minute(1)).is_refused


@pytest.mark.parametrize(
    ("attempts", "confidence", "severity"),
    [(3, 0.5, Severity.WARNING), (5, 0.625, Severity.WARNING), (6, 0.667, Severity.CRITICAL)],
)
def test_confidence_and_severity_grow_with_the_evidence(
    scene: Scene, attempts: int, confidence: float, severity: Severity
) -> None:
    scene.patterns = (replace(INEFFECTIVE_LOOP, mode=Mode.AUDIT),)
    for number in range(attempts):
        scale_up(scene, 10 * number, score=0.1)

    finding = scale_up(scene, 10 * attempts, score=None).findings[0]

    assert (finding.confidence, finding.severity) == (confidence, severity)


def test_audit_mode_refuses_nothing(scene: Scene) -> None:
    scene.patterns = (replace(INEFFECTIVE_LOOP, mode=Mode.AUDIT),)
    played = [scale_up(scene, 10 * number, score=0.1) for number in range(6)]

    assert {each.decision.verdict for each in played} == {Verdict.ALLOW}
    assert [each.kinds for each in played[3:]] == [["ineffective"]] * 3


def test_name_of_an_alert_is_cut_and_escaped_in_words(scene: Scene) -> None:
    nasty = "A\x1b[31m" + "x" * 100
    for when in (0, 10, 20):
        scale_up(scene, when, score=0.1, alert=nasty)

    summary = scale_up(scene, 30, score=None, alert=nasty).findings[0].summary

    assert "\x1b" not in summary
    assert len(summary) < 250
