"""What resource-thrashing finds in a history of requests and limits."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.decision import Decision, decide
from gate.domain.detection import EvidenceKind, Examination, Finding, Response
from gate.domain.pattern import OnIncrease, Thresholds
from gate.domain.patterns import resource_thrashing
from gate.domain.reversal import STALE, UNCONFIRMED
from gate.domain.trace import ExecutionStatus, Overrides, Verdict
from gate.domain.window import next_second
from tests.timeline import minute
from tests.unit.builders import policy_of, shape
from tests.unit.resources import (
    CPU_LIMIT,
    CPU_REQUEST,
    LIMIT,
    REQUEST,
    RESOURCE_THRASHING,
    Held,
    Turn,
    bind,
    judge_turns,
    make_history,
    path,
    with_traces,
)

_REFUSING = replace(RESOURCE_THRASHING, thresholds=Thresholds(on_increase=OnIncrease.REFUSE))
_DOWN_UP_DOWN = ("512Mi", "256Mi", "512Mi", "256Mi")
_UP_DOWN_UP = ("256Mi", "512Mi", "256Mi", "512Mi")


def finding_of(decision: Decision) -> Finding:
    (objection,) = decision.objections
    assert objection.finding is not None
    return objection.finding


@pytest.mark.parametrize("status", [ExecutionStatus.PENDING, ExecutionStatus.COMPLETED])
def test_third_reversal_of_a_limit_is_refused_whether_outcomes_are_known_or_not(
    status: ExecutionStatus,
) -> None:
    decision = judge_turns(*path(LIMIT, *_DOWN_UP_DOWN), status=status)

    assert shape(decision) == (Verdict.DENY, [(Response.REFUSE, True, [])])
    assert finding_of(decision).fields == (LIMIT,)
    assert finding_of(decision).summary == (
        "app limits.memory went 512Mi → 256Mi → 512Mi in 20 min, and 512Mi → 256Mi is reversal 2:"
        " penalty 1.86, threshold 1.50"
    )


def test_changes_that_failed_are_no_reversals() -> None:
    decision = judge_turns(*path(LIMIT, *_DOWN_UP_DOWN), status=ExecutionStatus.FAILED)

    assert decision.objections == ()
    assert decision.incomplete == ()


def test_unknown_outcomes_count_and_are_reported_as_missing() -> None:
    *turns, _ = path(LIMIT, *_DOWN_UP_DOWN)
    decision = judge_turns(*turns, (20, {LIMIT: "400Mi"}, {LIMIT: "256Mi"}))

    assert decision.verdict is Verdict.DENY
    assert decision.incomplete == ((RESOURCE_THRASHING.type, UNCONFIRMED),)


def test_stale_sighting_is_not_judged_and_reported_as_missing() -> None:
    candidate = make_history(*path(LIMIT, *_DOWN_UP_DOWN, pace=0.5))
    seen = replace(candidate.trace.seen, resource_version="0", generation=1)
    stale = replace(candidate, trace=replace(candidate.trace, seen=seen))

    examination = resource_thrashing.examine(stale, RESOURCE_THRASHING)

    assert examination == Examination(incomplete=(STALE,))


def test_increase_that_trips_is_warned_about_until_the_next_reduction_is_free() -> None:
    decision = judge_turns(*path(LIMIT, *_UP_DOWN_UP))

    finding = finding_of(decision)
    assert shape(decision) == (Verdict.ALLOW, [(Response.WARN, True, [])])
    assert finding.increase_up_to == 1024**3
    assert finding.until > minute(20) + timedelta(minutes=45)


def test_increase_is_refused_where_the_pattern_says_so() -> None:
    decision = judge_turns(*path(LIMIT, *_UP_DOWN_UP), pattern=_REFUSING)

    assert decision.verdict is Verdict.DENY


def test_increase_beyond_the_cap_is_refused() -> None:
    within = judge_turns(*path(LIMIT, "256Mi", "512Mi", "256Mi", "1Gi"))
    beyond = judge_turns(*path(LIMIT, "256Mi", "512Mi", "256Mi", "1025Mi"))

    assert (within.verdict, beyond.verdict) == (Verdict.ALLOW, Verdict.DENY)


@pytest.mark.parametrize(
    ("field", "low", "high", "trips"),
    [
        (CPU_REQUEST, "500m", "550m", True),
        (CPU_REQUEST, "500m", "549m", False),
        (CPU_LIMIT, "100m", "110m", False),
        (CPU_REQUEST, "10", "11", True),
        (CPU_REQUEST, "10", "10900m", False),
        (LIMIT, "256Mi", "288Mi", True),
        (LIMIT, "256Mi", "287Mi", False),
        (REQUEST, "10Gi", "11Gi", True),
        (REQUEST, "10Gi", "11000Mi", False),
    ],
)
def test_deadband_is_50m_of_cpu_32mi_of_memory_or_a_tenth(
    field: str, low: str, high: str, *, trips: bool
) -> None:
    decision = judge_turns(*path(field, high, low, high, low))

    assert (decision.verdict is Verdict.DENY) is trips


def test_deadbands_are_the_patterns_own() -> None:
    thresholds = Thresholds(dead_absolute_cpu=10, dead_absolute_memory=1, dead_relative=0.01)
    pattern = replace(RESOURCE_THRASHING, thresholds=thresholds)

    cpu = judge_turns(*path(CPU_LIMIT, "110m", "100m", "110m", "100m"), pattern=pattern)
    memory = judge_turns(*path(LIMIT, "256Mi", "255Mi", "256Mi", "253Mi"), pattern=pattern)

    assert (cpu.verdict, memory.verdict) == (Verdict.DENY, Verdict.ALLOW)


@pytest.mark.parametrize(
    ("field", "values", "response"),
    [
        (LIMIT, (None, "512Mi", None, "512Mi"), Response.REFUSE),  # setting a limit takes
        (LIMIT, ("512Mi", None, "512Mi", None), Response.WARN),  # removing it gives
        (LIMIT, ("512Mi", None, "512Mi", "4Gi"), Response.WARN),  # none was held: no cap
        (REQUEST, (None, "512Mi", None, "512Mi"), Response.WARN),  # setting a request gives
        (REQUEST, ("512Mi", None, "512Mi", None), Response.REFUSE),  # removing it takes
        (CPU_REQUEST, (None, "500m", None, "500m"), Response.WARN),
    ],
)
def test_absent_limit_is_unlimited_and_absent_request_nothing(
    field: str, values: tuple[str | None, ...], response: Response
) -> None:
    decision = judge_turns(*path(field, *values))

    assert [o.response for o in decision.objections] == [response]


def test_absent_values_read_as_none() -> None:
    decision = judge_turns(*path(LIMIT, None, "1.5Gi", None, "1536Mi"))

    finding = finding_of(decision)
    assert finding.summary.startswith(
        "app limits.memory went none → 1536Mi → none in 20 min, and none → 1536Mi is reversal 2"
    )
    assert finding.increase_up_to is None


def test_quantities_are_compared_and_not_their_notation() -> None:
    differently = judge_turns(
        (0, {CPU_LIMIT: "1"}, {CPU_LIMIT: "500m"}),
        (10, {CPU_LIMIT: "0.5"}, {CPU_LIMIT: "1000m"}),
        (20, {CPU_LIMIT: "1e0"}, {CPU_LIMIT: "500000u"}),
    )
    memory = judge_turns(
        (0, {LIMIT: "1Gi"}, {LIMIT: "536870912"}),
        (10, {LIMIT: "512Mi"}, {LIMIT: "1024Mi"}),
        (20, {LIMIT: "1073741824"}, {LIMIT: "0.5Gi"}),
    )

    assert "1 → 500m → 1 in 20 min, and 1 → 500m" in finding_of(differently).summary
    assert "1Gi → 512Mi → 1Gi in 20 min, and 1Gi → 512Mi" in finding_of(memory).summary


def test_containers_are_judged_apart() -> None:
    of_two: tuple[Turn, ...] = (
        (
            0,
            {LIMIT: "512Mi", "side limits.memory": "64Mi"},
            {LIMIT: "256Mi", "side limits.memory": "64Mi"},
        ),
        (
            10,
            {LIMIT: "256Mi", "side limits.memory": "64Mi"},
            {LIMIT: "256Mi", "side limits.memory": "128Mi"},
        ),
        (
            20,
            {LIMIT: "256Mi", "side limits.memory": "128Mi"},
            {LIMIT: "128Mi", "side limits.memory": "128Mi"},
        ),
    )
    of_one = path("side limits.memory", "128Mi", "64Mi", "128Mi", "64Mi")

    assert judge_turns(*of_two).objections == ()
    assert finding_of(judge_turns(*of_one)).fields == ("side limits.memory",)


def both(memory: str, cpu: str) -> Held:
    return {LIMIT: memory, REQUEST: memory, CPU_LIMIT: cpu}


def test_several_fields_make_one_finding_with_the_evidence_of_each() -> None:
    high, low = both("512Mi", "1"), both("256Mi", "500m")
    small = both("256Mi", "1")

    decision = judge_turns((0, high, low), (10, low, high), (15, high, small), (20, small, low))
    together = judge_turns((0, high, low), (10, low, high), (20, high, low))

    assert finding_of(decision).fields == (CPU_LIMIT,)
    finding = finding_of(together)
    assert finding.fields == (CPU_LIMIT, LIMIT, REQUEST)
    assert finding.summary.startswith("app limits.cpu went 1 → 500m → 1 in 20 min")
    assert finding.summary.endswith("; likewise app limits.memory, app requests.memory")
    by_field = finding.evidence["by_field"]
    assert isinstance(by_field, dict)
    assert list(by_field) == [CPU_LIMIT, LIMIT, REQUEST]
    assert {each["penalty"] for each in by_field.values()} == {finding.evidence["penalty"]}
    assert [by_field[name]["dead_absolute"] for name in finding.fields] == [
        50,
        32 * 2**20,
        32 * 2**20,
    ]
    assert [step["after"] for step in by_field[LIMIT]["series"]] == ["256Mi", "512Mi", "256Mi"]
    assert finding.action_ids == ("trace 1", "trace 2")


def test_several_fields_are_promised_the_latest_of_their_ends() -> None:
    turns = (
        (0, both("512Mi", "1"), both("256Mi", "1")),
        (10, both("256Mi", "1"), both("512Mi", "500m")),
        (30, both("512Mi", "500m"), both("512Mi", "1")),
        (40, both("512Mi", "1"), both("256Mi", "500m")),
    )
    alone = judge_turns(*turns[:3], (40, both("512Mi", "1"), both("512Mi", "500m")))
    memory = judge_turns(*turns[:3], (40, both("512Mi", "1"), both("256Mi", "1")))

    together = finding_of(judge_turns(*turns))

    ends = {finding_of(alone).until, finding_of(memory).until}
    assert len(ends) == 2
    assert together.until == max(ends)


def test_change_that_gives_and_takes_is_judged_by_what_it_takes() -> None:
    down, up = {LIMIT: "512Mi", CPU_LIMIT: "2"}, {LIMIT: "256Mi", CPU_LIMIT: "2"}
    up_beside_a_reduction = judge_turns(
        (0, up, down), (10, down, up), (20, up, {LIMIT: "512Mi", CPU_LIMIT: "1"})
    )
    down_beside_an_increase = judge_turns(
        (0, down, up), (10, up, down), (20, down, {LIMIT: "256Mi", CPU_LIMIT: "4"})
    )

    assert shape(up_beside_a_reduction)[1] == [(Response.WARN, True, [])]
    assert shape(down_beside_an_increase)[1] == [(Response.REFUSE, True, [])]
    assert finding_of(up_beside_a_reduction).fields == (LIMIT,)


def test_refusal_of_a_reduction_binds_nothing_that_only_an_increase_did() -> None:
    one, other = {LIMIT: "512Mi", CPU_LIMIT: "1"}, {LIMIT: "256Mi", CPU_LIMIT: "2"}

    decision = judge_turns((0, one, other), (10, other, one), (20, one, other))

    (objection,) = decision.objections
    assert decision.verdict is Verdict.DENY
    assert finding_of(decision).fields == (LIMIT,)
    assert [(f.response, f.fields) for f in objection.also] == [(Response.WARN, (CPU_LIMIT,))]


def test_recreated_workload_is_judged_from_the_last_known_values() -> None:
    decision = judge_turns(
        (0, {LIMIT: "512Mi"}, {LIMIT: "256Mi"}),
        (10, {LIMIT: "256Mi"}, {LIMIT: "512Mi"}),
        (15, {LIMIT: "512Mi"}, None),
        (20, None, {LIMIT: "256Mi"}),
    )
    unknown = judge_turns((0, None, {LIMIT: "256Mi"}), detections=(bind(LIMIT),))

    assert finding_of(decision).fields == (LIMIT,)
    assert unknown.objections == ()


def test_overrides_of_one_workload_replace_the_patterns_thresholds() -> None:
    candidate = make_history(*path(LIMIT, *_DOWN_UP_DOWN))
    history = replace(candidate.history, overrides=Overrides(min_occurrences=4))

    decision = decide(replace(candidate, history=history), policy_of(RESOURCE_THRASHING))

    assert decision.objections == ()


def test_limit_that_somebody_else_keeps_undoing_is_contested() -> None:
    turns = [(number, {LIMIT: "256Mi"}, {LIMIT: "512Mi"}) for number in (0, 10, 20)]
    owners = {("app", "limits.memory"): "argocd", ("app", "requests.memory"): "helm"}
    candidate = replace(make_history(*turns), find_owners=lambda: owners)

    decision = decide(candidate, policy_of(RESOURCE_THRASHING))

    finding = finding_of(decision)
    assert decision.verdict is Verdict.DENY
    assert finding.evidence_kind is EvidenceKind.CONTESTED
    assert finding.until == next_second(minute(90))
    assert finding.evidence["owner"] == "argocd"
    assert finding.summary == (
        "agents' changes of app limits.memory were undone 2 times in 20 min, and 256Mi → 512Mi"
        " goes the same way again; field manager argocd undoes this, change it there"
    )


def test_approved_change_neither_adds_penalty_nor_undoes() -> None:
    candidate = make_history(*path(LIMIT, "256Mi", "512Mi", "256Mi", "512Mi", "256Mi", "512Mi"))
    traces = [
        replace(trace, approval="an escalation") if number % 2 else trace
        for number, trace in enumerate(candidate.history.traces)
    ]

    decision = decide(with_traces(candidate, *traces), policy_of(RESOURCE_THRASHING))

    assert decision.objections == ()


def test_open_detection_binds_its_fields_alone() -> None:
    detections = (bind(LIMIT, CPU_LIMIT),)
    reduced = judge_turns(*path(LIMIT, "512Mi", "256Mi"), detections=detections)
    raised = judge_turns(*path(LIMIT, "256Mi", "512Mi"), detections=detections)
    leapt = judge_turns(*path(LIMIT, "256Mi", "1Gi"), detections=detections)
    elsewhere = judge_turns(*path(REQUEST, "512Mi", "256Mi"), detections=detections)
    other_container = judge_turns(
        *path("side limits.memory", "512Mi", "256Mi"), detections=detections
    )

    assert shape(reduced) == (Verdict.DENY, [(Response.REFUSE, False, [7])])
    assert shape(raised) == (Verdict.ALLOW, [(Response.WARN, False, [7])])
    assert leapt.verdict is Verdict.DENY
    assert elsewhere.objections == other_container.objections == ()
    assert reduced.objections[0].summary == (
        "app limits.memory 512Mi → 256Mi while an earlier detection binds them:"
        " what detection 7 saw"
    )


def test_bound_change_that_gives_and_takes_is_refused_for_what_it_takes() -> None:
    mixed = (0, {LIMIT: "512Mi", CPU_LIMIT: "1"}, {LIMIT: "256Mi", CPU_LIMIT: "2"})

    of_both = judge_turns(mixed, detections=(bind(LIMIT, CPU_LIMIT),))
    of_the_increase = judge_turns(mixed, detections=(bind(CPU_LIMIT),))

    assert of_both.verdict is Verdict.DENY
    assert of_both.objections[0].summary.startswith("app limits.memory 512Mi → 256Mi while")
    assert shape(of_the_increase) == (Verdict.ALLOW, [(Response.WARN, False, [7])])


def test_contested_field_is_bound_whatever_the_direction() -> None:
    contested = bind(LIMIT, kind=EvidenceKind.CONTESTED)

    decision = judge_turns(*path(LIMIT, "256Mi", "512Mi"), detections=(contested,))

    assert decision.verdict is Verdict.DENY


def test_change_without_resources_is_none_of_its_business() -> None:
    candidate = make_history((0, {"replicas": 3}, {"replicas": 5}))

    assert resource_thrashing.examine(candidate, RESOURCE_THRASHING) == Examination()
    assert resource_thrashing.respond_to_open(candidate, RESOURCE_THRASHING, bind(LIMIT)) is None


def test_evidence_is_enough_to_redraw_the_decision() -> None:
    finding = finding_of(judge_turns(*path(LIMIT, *_DOWN_UP_DOWN)))

    evidence = dict(finding.evidence)
    series = evidence.pop("series")
    assert isinstance(series, list)
    assert evidence == {
        "threshold": 1.5,
        "half_life_seconds": 2700.0,
        "min_occurrences": 3,
        "window_seconds": 5400.0,
        "dead_absolute": 32 * 1024**2,
        "dead_relative": 0.1,
        "on_increase": "warn",
        "increase_cap": 2.0,
        "penalty_before": pytest.approx(2 ** (-10 / 45), abs=1e-6),
        "penalty": pytest.approx(1 + 2 ** (-10 / 45), abs=1e-6),
    }
    assert [(step["before"], step["after"], step["reversal"]) for step in series] == [
        ("512Mi", "256Mi", False),
        ("256Mi", "512Mi", True),
        ("512Mi", "256Mi", True),
    ]
