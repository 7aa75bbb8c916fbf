"""The admission time of every rule: refused a second before, silent from then on."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

import orjson
import pytest

from gate.domain.pattern import LoopThresholds, Mode
from gate.domain.patterns.ineffective_loop import examine
from gate.domain.trace import ExecutionStatus
from tests.edits import Edit, restart, scale_to, set_env, set_image, set_resources
from tests.timeline import START
from tests.unit.scene import INEFFECTIVE_LOOP, Played, Scene, answering

_SECOND = timedelta(seconds=1)
_TEMPERS = ("restarts", "images", "memory", "anything")
_AUDITED = replace(
    INEFFECTIVE_LOOP,
    mode=Mode.AUDIT,  # so that a loop goes on
    loop=LoopThresholds(churn_window=timedelta(minutes=90), churn_mode=None),
)


def play(temper: str, seed: int, *, observes: bool) -> Scene:
    """Let an agent and others change a workload for some hours, as a temper would."""
    chance = random.Random(seed)  # noqa: S311 - histories, not secrets
    scene = Scene(patterns=(_AUDITED,), observes=observes)
    scene.let_others(set_resources(requests={"memory": "64Mi"}))
    now = START
    for number in range(chance.randint(4, 24)):
        now += timedelta(milliseconds=round(chance.expovariate(1 / 900) * 1000) + 1)
        if chance.random() < 0.05:
            scene.let_others(set_env("BY", str(number)))
        edit = pick(temper, chance, scene, now)
        alert = chance.choice((None, "HighLatency", "HighLatency", "HighLatency"))
        played = scene.edit(answering(edit, alert), at=now, persists=chance.random() < 0.9)
        assess(scene, played, chance)
    return scene


def pick(temper: str, chance: random.Random, scene: Scene, now: datetime) -> Edit:
    body = scene.body_of("web")
    container = body["spec"]["template"]["spec"]["containers"][0]
    memory = int(container["resources"]["requests"]["memory"][:-2])
    edits = {
        "restarts": restart(now),
        "images": set_image({"web:1.0": "web:2.0"}.get(container["image"], "web:1.0")),
        "memory": set_resources(
            requests={"memory": f"{round(memory * chance.choice((1.2, 1.5, 2.0, 1.5, 0.9)))}Mi"}
        ),
        "replicas": scale_to(body["spec"]["replicas"] + 1),
    }
    return edits[temper] if temper in edits else chance.choice(list(edits.values()))


def assess(scene: Scene, played: Played, chance: random.Random) -> None:
    fate = chance.random()
    if fate < 0.7:
        score = chance.choice((None, 0.0, 0.1, 0.29, 0.1, 0.2, 0.0, 0.9))
        firing = chance.choice((None, None, True, False))
        if scene.histories["web"].traces[-1].status is not ExecutionStatus.FAILED:
            scene.conclude(played, score=score, is_alert_firing=firing)


def findings_at(played: Played, now: datetime) -> dict[str, datetime]:
    """Return what the rules find in the same change at a later time, and their promises."""
    candidate = played.candidate
    seen = replace(candidate.trace.seen, at=now)
    later = replace(candidate, trace=replace(candidate.trace, seen=seen))
    found = examine(later, _AUDITED).findings
    for finding in found:
        orjson.dumps(finding.evidence)  # it is stored as such
    return {finding.evidence_kind: finding.until for finding in found}


@pytest.mark.parametrize("observes", [False, True], ids=["outcomes unknown", "outcomes known"])
@pytest.mark.parametrize("temper", _TEMPERS)
def test_rule_fires_until_a_second_before_its_promise_and_never_again(
    temper: str,
    observes: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    checked = set()
    for seed in range(25):
        scene = play(temper, seed, observes=observes)
        last = scene.played[-1]
        settled = last.candidate.now + timedelta(seconds=40)
        found = findings_at(last, settled)
        for kind, until in found.items():
            checked.add(kind)
            assert until.microsecond == 0
            if until - _SECOND > settled:
                assert findings_at(last, until - _SECOND).get(kind) == until, (seed, kind)
            for wait in (0.0, 0.001, 1.0, 60.0, 3600.0, 6 * 3600.0):
                assert kind not in findings_at(last, until + timedelta(seconds=wait)), (seed, kind)

    expected = {
        "restarts": {"identical", "ineffective", "same-alert"},
        "images": {"return", "ineffective", "same-alert"},
        "memory": {"ratchet", "same-alert"},
        "anything": {"churn"},
    }
    assert expected[temper] <= checked


@pytest.mark.parametrize("temper", ["restarts", "images"])
def test_more_of_the_same_never_lowers_the_confidence(temper: str) -> None:
    scene = Scene(patterns=(_AUDITED,), observes=True)
    chance = random.Random(7)  # noqa: S311 - a history, not a secret
    scene.let_others(set_resources(requests={"memory": "64Mi"}))
    before: dict[str, float] = {}
    for number in range(20):
        now = START + timedelta(minutes=number)
        played = scene.edit(answering(pick(temper, chance, scene, now), "HighErrors"), at=now)
        scene.conclude(played, score=0.0)
        confidence = {str(f.evidence_kind): f.confidence for f in played.findings}
        assert all(before.get(kind, 0) <= value < 1 for kind, value in confidence.items())
        assert before.keys() <= confidence.keys()
        before = confidence
    assert {"ineffective", "same-alert", "churn"} < before.keys()
