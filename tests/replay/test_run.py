"""What a replay decides: as admission does, on what really happened."""

import pytest

from gate.domain.actor import AgentRules
from gate.domain.trace import Verdict
from gate.domain.workload import Kind, WorkloadKey
from gate.replay.comparison import Comparison
from gate.replay.memory import Memory
from gate.replay.row import Disposition
from gate.replay.summary import Summary
from gate.replay.workload_state import Known, WorkloadStates
from tests.replay.logs import (
    HUMAN,
    LoggedWorkload,
    default_policy,
    make_event,
    replay,
    rows_of,
    swing,
)
from tests.reviews import AGENT

KEYS = [
    "time", "namespace", "kind", "name", "actor", "action_type", "before", "after", "verdict",
    "pattern", "evidence_kind", "strategy", "penalty", "retry_after_seconds", "first_of_episode",
]  # fmt: skip


def test_the_third_reversal_would_have_been_refused() -> None:
    rows = rows_of(swing(3, 5, 3))

    assert [row.verdict for row in rows] == [Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY]
    assert rows[2].as_json() == {
        "time": "2026-03-10T09:20:00Z",
        "namespace": "shop",
        "kind": "Deployment",
        "name": "web",
        "actor": AGENT,
        "action_type": "scale_deployment",
        "before": {"replicas": 5},
        "after": {"replicas": 3},
        "verdict": "deny",
        "pattern": "scale-oscillation",
        "evidence_kind": "reversal",
        "strategy": "cooling-period",
        "penalty": 1.891,
        "retry_after_seconds": 3001,
        "first_of_episode": True,
    }


def test_every_row_has_the_same_keys() -> None:
    for row in rows_of(swing(3, 5, 3, 5, 3)):
        assert list(row.as_json()) == KEYS


def test_what_would_have_been_refused_happened_and_counts() -> None:
    rows = rows_of(swing(3, 5, 3, 5, 3, 5, 3))

    penalties = [row.penalty.value for row in rows if row.penalty is not None]
    assert penalties == sorted(penalties)
    assert len(penalties) == len(rows)


def test_the_first_refusal_of_an_episode_is_marked_and_the_next_episode_has_its_own() -> None:
    rows = rows_of([*swing(3, 5, 3, 5, 3, 5), *swing(3, 5, 3, start=600)])

    refused = [row for row in rows if row.verdict is Verdict.DENY]
    assert [row.first_of_episode for row in refused] == [True, False, True]


def test_changes_by_people_and_controllers_never_count() -> None:
    assert rows_of(swing(3, 5, 3, 5, 3, user=HUMAN)) == []


def test_people_move_the_state_between_an_agents_changes() -> None:
    workload = LoggedWorkload()
    workload.create(minute=-1)
    workload.patch(3, minute=0)
    workload.patch(6, minute=5, user=HUMAN)
    workload.patch(4, minute=10)

    rows = rows_of(workload.entries)

    assert [row.verdict for row in rows] == [Verdict.ALLOW, Verdict.ALLOW]
    assert rows[1].penalty is not None
    assert rows[1].penalty.value == 0


def test_who_undoes_an_agent_is_named() -> None:
    workload = LoggedWorkload()
    workload.create(minute=-1)
    for start in (0, 10, 20):
        workload.patch(8, minute=start)
        workload.patch(5, minute=start + 5, user="system:serviceaccount:argocd:controller")

    *_, row = rows_of(workload.entries)

    assert (row.verdict, row.evidence_kind) == (Verdict.DENY, "contested")
    assert row.summary is not None
    assert "system:serviceaccount:argocd:controller" in row.summary


def test_restarts_again_and_again_are_an_ineffective_loop() -> None:
    workload = LoggedWorkload()
    workload.create(minute=-1)
    for minute in (0, 10, 20):
        stamp = {"kubectl.kubernetes.io/restartedAt": f"2026-03-10T09:{minute:02}:00Z"}
        change = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
        workload.entries.append(make_event(minute=minute, request=change))

    rows = rows_of(workload.entries)

    assert [row.action_type for row in rows] == ["restart_deployment"] * 3
    assert [row.verdict for row in rows] == [Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY]
    assert rows[2].pattern == "ineffective-loop"


def test_other_agents_can_be_named() -> None:
    assert len(rows_of(swing(3, 5, user=HUMAN), agents=AgentRules(users=("*@shop.example",)))) == 3


def test_in_audit_mode_nothing_is_denied_and_what_would_be_is_told() -> None:
    _, rows = replay(swing(3, 5, 3), default_policy("mode: audit"))

    (row,) = rows[2]
    assert row.verdict is Verdict.ALLOW
    assert row.disposition is Disposition.WOULD_REFUSE
    assert row.retry_after_seconds == 3001


def test_a_replay_says_the_same_twice() -> None:
    first, second = (rows_of(swing(3, 5, 3, 5, 3)) for _ in range(2))

    assert [row.as_json() for row in first] == [row.as_json() for row in second]


STRICT = """
patterns:
  scale-oscillation:
    type: scale-oscillation
    thresholds: {on_increase: refuse}
"""
LAX = "patterns: {scale-oscillation: {type: scale-oscillation, min_occurrences: 8}}"


@pytest.mark.parametrize(
    ("policy", "refused", "admitted"), [("{}", 0, 0), (STRICT, 1, 0), (LAX, 0, 1)]
)
def test_two_policies_are_compared_change_by_change(
    policy: str, refused: int, admitted: int
) -> None:
    _, rows = replay(swing(3, 5, 3, 5), default_policy(), default_policy(policy))

    comparison = Comparison()
    for first, second in rows:
        comparison.take(first, second)

    assert (comparison.refused, comparison.admitted) == (refused, admitted)
    assert comparison.differs is bool(refused or admitted)


def test_a_policy_that_only_reports_differs_from_one_that_refuses() -> None:
    _, rows = replay(swing(3, 5, 3), default_policy("mode: audit"), default_policy())

    comparison = Comparison()
    for first, second in rows:
        comparison.take(first, second)

    assert (comparison.refused, comparison.admitted) == (1, 0)


def test_a_summary_counts_per_workload_actor_and_pattern() -> None:
    summary = Summary()
    for row in rows_of([*swing(3, 5, 3, 5, 3), *swing(2, name="api")]):
        summary.take(row)

    lines = [(line.subject.workload, line.subject.pattern, line.changes) for line in summary.lines]
    assert lines == [
        ("shop/Deployment/web", "scale-oscillation", 3),
        ("shop/Deployment/web", "", 2),
        ("shop/Deployment/api", "", 1),
    ]
    first = summary.lines[0]
    assert (first.refused, first.episodes, first.warned) == (2, 1, 1)


def test_states_stay_within_their_bytes() -> None:
    states = WorkloadStates(at_most=2000)
    for number in range(100):
        key = WorkloadKey("", "shop", Kind.DEPLOYMENT, f"app-{number}")
        states.keep(key, Known({"spec": {"text": "x" * 500}}))

    assert states.forgotten == 97
    assert states.find(WorkloadKey("", "shop", Kind.DEPLOYMENT, "app-0")) is None
    assert states.find(WorkloadKey("", "shop", Kind.DEPLOYMENT, "app-99")) is not None


def test_histories_stay_within_their_traces() -> None:
    entries = [entry for number in range(30) for entry in swing(3, 5, 3, name=f"app-{number}")]

    replayed, _ = replay(entries, memory=Memory(at_most=9))

    assert replayed.forgotten == 27
