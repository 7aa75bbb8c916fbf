"""The words that people, agents and the audit log are given, whole."""

import unicodedata
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.decision import decide
from gate.domain.detection import EvidenceKind
from gate.domain.message import (
    Answer,
    Cause,
    answer_closed,
    answer_contention,
    answer_decision,
    answer_undecided,
    repeat_allow,
    warn_undecided,
    warn_unrecorded,
)
from gate.domain.pattern import Mode, OnIncrease, Pattern, Thresholds
from gate.domain.trace import OpenDetection, Verdict
from gate.domain.workload import Kind, WorkloadKey
from tests.timeline import SCALE_OSCILLATION, minute
from tests.unit.builders import (
    KEY,
    make_candidate,
    make_detection,
    make_trace,
    policy_of,
    series,
)

_bounded = settings(deadline=None, max_examples=200, derandomize=True)
_DOWN_UP_DOWN = ((0, 5, 3), (10, 3, 5), (20, 5, 3))
_UP_DOWN_UP = ((0, 3, 5), (10, 5, 3), (20, 3, 5))
_SEEN = "replicas went 5 → 3 → 5 in 20 min, and 5 → 3 is reversal 2: penalty 1.89, threshold 1.50"


def answer(
    *moves: tuple[float, int | None, int | None],
    mode: Mode = Mode.ENFORCE,
    patterns: tuple[Pattern, ...] = (SCALE_OSCILLATION,),
    detections: tuple[OpenDetection, ...] = (),
    owner: str | None = None,
    key: WorkloadKey = KEY,
    action_id: str | None = "an-id",
) -> Answer:
    """Answer the last of some moves."""
    *earlier, trace = series(*moves)
    candidate = make_candidate(trace, *earlier, detections=detections, owner=owner, key=key)
    decision = decide(candidate, policy_of(*patterns, mode=mode))
    return answer_decision(decision, key, now=candidate.now, action_id=action_id)


def test_denial_says_what_was_seen_when_to_retry_and_what_a_person_can_do() -> None:
    assert answer(*_DOWN_UP_DOWN) == Answer(
        Verdict.DENY,
        message=(
            "gate refused this change of Deployment shop/web.\n"
            f"Seen: scale-oscillation: {_SEEN}.\n"
            "Why it matters: every further swing starts another rollout and keeps the workload from"
            " settling.\n"
            "Retry: the same change is admitted from 2026-11-24T09:10:01Z (in 3001 s) if nothing"
            " else changes it until then. An increase up to 10 replicas is admitted all the same.\n"
            "Otherwise: a person can make the change now with their own credentials; people are"
            " never sent to gate.\n"
            "Trace: an-id"
        ),
        causes=(Cause("ScaleOscillation", _SEEN, "spec.replicas"),),
        retry_after=timedelta(seconds=3001),
        audit={
            "verdict": "deny",
            "mode": "enforce",
            "action-id": "an-id",
            "objection": "scale-oscillation: refuse until 2026-11-24T09:10:01Z",
        },
    )


def test_dry_run_says_that_nothing_is_recorded() -> None:
    tried = answer(*_DOWN_UP_DOWN, action_id=None)

    assert tried.message.endswith("never sent to gate.\nDry run: nothing is recorded.")
    assert "action-id" not in tried.audit


def test_denial_by_several_patterns_lists_them_and_names_the_latest_instant() -> None:
    other = replace(SCALE_OSCILLATION, id=2, own_end=timedelta(hours=3))

    refused = answer(*_DOWN_UP_DOWN, patterns=(SCALE_OSCILLATION, other))

    assert f"{_SEEN}.\nSeen: scale-oscillation: {_SEEN}.\nWhy it matters" in refused.message
    assert "admitted from 2026-11-24T11:20:01Z (in 10801 s)" in refused.message
    assert "An increase up to" not in refused.message
    assert len(refused.causes) == 2
    assert refused.retry_after == timedelta(seconds=10801)


def promises_an_increase(refused: Answer) -> bool:
    assert refused.verdict is Verdict.DENY
    return "An increase up to" in refused.message


def test_denial_promises_no_increase_that_would_be_refused() -> None:
    def with_thresholds(thresholds: Thresholds) -> tuple[Pattern, ...]:
        return (replace(SCALE_OSCILLATION, thresholds=thresholds),)

    strict = with_thresholds(Thresholds(on_increase=OnIncrease.REFUSE))
    capped = with_thresholds(Thresholds(increase_cap=1.0))
    contested = make_detection(evidence_kind=EvidenceKind.CONTESTED)

    assert promises_an_increase(answer(*_DOWN_UP_DOWN))
    assert promises_an_increase(answer(*_DOWN_UP_DOWN, detections=(make_detection(),)))
    assert not promises_an_increase(answer(*_DOWN_UP_DOWN, patterns=strict))
    assert not promises_an_increase(answer(*_DOWN_UP_DOWN, patterns=capped))
    assert not promises_an_increase(answer(*_DOWN_UP_DOWN, detections=(contested,)))
    assert not promises_an_increase(answer((0, 3, 5), (10, 3, 5), (20, 3, 5)))


def test_denial_for_earlier_detections_names_each_field_once() -> None:
    refused = answer((0, 5, 3), detections=(make_detection(), make_detection(8)))

    assert refused.causes == (
        Cause(
            "ScaleOscillation",
            "replicas 5 → 3 while an earlier detection binds them: what detection 8 saw",
            "spec.replicas",
        ),
    )


def test_warning_of_an_admitted_increase_says_until_when_reductions_are_refused() -> None:
    assert answer(*_UP_DOWN_UP) == Answer(
        Verdict.ALLOW,
        warnings=(
            "gate: admitted, but shop/web oscillates: a reduction of replicas is refused until "
            "2026-11-24T10:15:09Z",
        ),
        audit={
            "verdict": "allow",
            "mode": "enforce",
            "action-id": "an-id",
            "objection": "scale-oscillation: warn until 2026-11-24T10:15:09Z",
        },
    )


def test_audit_warning_says_what_would_have_been_refused() -> None:
    assert answer(*_DOWN_UP_DOWN, mode=Mode.AUDIT) == Answer(
        Verdict.ALLOW,
        warnings=(
            f"gate (audit): would have been refused for 3001 s: scale-oscillation of shop/web: "
            f"{_SEEN}",
        ),
        audit={
            "verdict": "allow",
            "mode": "audit",
            "action-id": "an-id",
            "objection": "scale-oscillation: would refuse until 2026-11-24T09:10:01Z",
        },
    )


def test_audit_warning_says_what_would_have_been_warned_of() -> None:
    assert answer(*_UP_DOWN_UP, mode=Mode.AUDIT).warnings == (
        "gate (audit): would have been admitted, and reductions of shop/web refused until "
        "2026-11-24T10:15:09Z (scale-oscillation)",
    )


def test_plain_admission_says_nothing_to_people() -> None:
    assert answer((0, 3, 5)) == Answer(
        Verdict.ALLOW,
        audit={"verdict": "allow", "mode": "enforce", "action-id": "an-id"},
    )


def test_contention_says_that_nothing_is_held_against_the_change() -> None:
    assert answer_contention(KEY, mode=Mode.ENFORCE, action_id="an-id") == Answer(
        Verdict.DENY,
        message=(
            "gate could not decide about Deployment shop/web: it is being changed by several "
            "requests at once.\nNothing is held against this change; retry in 1 s.\nTrace: an-id"
        ),
        causes=(
            Cause(
                "Contention",
                "Deployment shop/web is being changed by several requests at once; retry in 1 s",
                "",
            ),
        ),
        retry_after=timedelta(seconds=1),
        audit={"action-id": "an-id", "verdict": "deny"},
    )


def test_contention_in_audit_is_admitted_with_a_warning() -> None:
    assert answer_contention(KEY, mode=Mode.AUDIT, action_id=None) == Answer(
        Verdict.ALLOW,
        warnings=(
            "gate (audit): would have been refused: Deployment shop/web is being changed by "
            "several requests at once; retry in 1 s",
        ),
        audit={"verdict": "allow"},
    )


def test_undecided_says_what_was_not_checked_and_where_the_trace_is() -> None:
    reason = "PostgreSQL did not answer in time"
    admitted = answer_undecided("an-id")

    kept = warn_undecided(admitted, reason, is_kept=True)
    lost = warn_undecided(admitted, reason, is_kept=False)
    refused = warn_undecided(answer(*_DOWN_UP_DOWN), reason, is_kept=True)

    assert kept == Answer(
        Verdict.ALLOW,
        warnings=(
            "gate: admitted without a check, recorded here until PostgreSQL takes it: PostgreSQL"
            " did not answer in time",
        ),
        audit={"action-id": "an-id", "verdict": "undecided"},
    )
    assert lost.warnings == (
        "gate: admitted without a check, not recorded: PostgreSQL did not answer in time",
    )
    assert refused.warnings == (
        "gate: history not asked, recorded here until PostgreSQL takes it: PostgreSQL did not"
        " answer in time",
    )


def test_unrecorded_says_so_and_changes_nothing_of_the_answer() -> None:
    refused = answer(*_DOWN_UP_DOWN)
    reason = "PostgreSQL did not answer in time"

    kept = warn_unrecorded(refused, reason, is_kept=True)
    lost = warn_unrecorded(refused, reason, is_kept=False)

    assert kept == replace(
        refused,
        warnings=(
            "gate: decided, recorded here until PostgreSQL takes it: PostgreSQL did not answer in"
            " time",
        ),
    )
    assert lost.warnings == ("gate: decided, not recorded: PostgreSQL did not answer in time",)


def test_failure_mode_closed_says_that_it_is_what_refuses() -> None:
    reason = "PostgreSQL did not answer in time"

    assert answer_closed(KEY, reason=reason, action_id="an-id") == Answer(
        Verdict.DENY,
        message=(
            "gate could not decide about Deployment shop/web, and refuses what it cannot decide"
            " here (failure mode closed).\n"
            "What failed: PostgreSQL did not answer in time.\n"
            "Nothing is held against this change; retry in 5 s.\n"
            "Otherwise: a person can make the change now with their own credentials; people are"
            " never sent to gate.\n"
            "Trace: an-id"
        ),
        causes=(Cause("Undecided", reason, ""),),
        retry_after=timedelta(seconds=5),
        audit={"verdict": "deny", "action-id": "an-id"},
    )


def test_repeated_allow_says_what_was_said_the_first_time() -> None:
    trace = make_trace(3, 5, at=minute(0), decision={"warnings": ["beware"]})

    assert repeat_allow(trace) == Answer(
        Verdict.ALLOW,
        warnings=("beware",),
        audit={"action-id": "trace 1", "verdict": "allow"},
    )
    assert repeat_allow(replace(trace, decision={})).warnings == ()


def is_fit_for_a_header(warning: str) -> bool:
    is_plain = not any(
        unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in warning
    )
    return len(warning) <= 256 and is_plain


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("moves", [_DOWN_UP_DOWN, _UP_DOWN_UP], ids=["down", "up"])
def test_longest_names_leave_room_for_what_a_warning_says(
    mode: Mode, moves: tuple[tuple[float, int, int], ...]
) -> None:
    key = WorkloadKey("c", "n" * 63, Kind.STATEFUL_SET, "w" * 253)

    answered = answer(*moves, mode=mode, key=key)

    for warning in answered.warnings:
        assert is_fit_for_a_header(warning)
        assert "until 2026-11-24T" in warning or "for 3001 s" in warning
    if answered.verdict is Verdict.DENY:
        assert f"StatefulSet {'n' * 63}/{'w' * 253}" in answered.message


_nasty = st.text(
    alphabet=st.sampled_from(
        [*"ab%s<>'\\;\n\r\t\0\x1b\x7f", "\u202e", "\u2028", "\ud800", "\U000e0001", "é", "漢"]
    ),
    max_size=300,
)


@_bounded
@given(_nasty, _nasty, _nasty, st.sampled_from(Mode))
def test_no_name_or_owner_breaks_a_warning_or_hides_in_a_message(
    namespace: str, name: str, owner: str, mode: Mode
) -> None:
    key = WorkloadKey("c", namespace, Kind.DEPLOYMENT, name)
    contested = ((0, 3, 5), (10, 3, 5), (20, 3, 5))

    answers = [
        answer(*contested, mode=mode, key=key, owner=owner),
        answer(*_UP_DOWN_UP, mode=mode, key=key),
        answer_contention(key, mode=mode, action_id="an-id"),
        warn_unrecorded(answer_undecided(owner), name, is_kept=True),
        warn_undecided(answer_undecided(None), name, is_kept=False),
        answer_closed(key, reason=owner, action_id=None),
    ]

    for given_answer in answers:
        assert all(map(is_fit_for_a_header, given_answer.warnings))
        lines = given_answer.message.splitlines()
        assert all(map(str.isprintable, lines))
        assert len(lines) in (0, 3, 5, 6), "untrusted text made a line of its own"
        assert len(given_answer.message) < 2500
        assert all(cause.message.isprintable() for cause in given_answer.causes)
