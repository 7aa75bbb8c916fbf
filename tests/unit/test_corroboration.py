"""Which changes took effect, as told by what later reviews saw."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.corroboration import RACING, SETTLING, Effect, find_moves, is_stale, judge_effects
from gate.domain.snapshot import REPLICAS
from gate.domain.trace import ExecutionStatus, Trace, Verdict
from tests.timeline import Outcome, Step, minute, start_timeline
from tests.unit.builders import make_trace

_NOW = minute(0)
_SOON = _NOW + SETTLING - timedelta(milliseconds=1)
_LATE = _NOW + SETTLING


def effect_of(trace: Trace, *later: Trace) -> Effect:
    """Judge the first of some traces; the last one is the candidate."""
    *recorded, candidate = later
    return judge_effects((trace, *recorded), REPLICAS, candidate=candidate)[0][1]


def change(resource_version: str | None = "10", generation: int | None = 4) -> Trace:
    return make_trace(
        3, 5, at=_NOW, resource_version=resource_version, generation=generation, version=1
    )


def test_value_seen_later_corroborates() -> None:
    assert effect_of(change(), make_trace(5, 8, at=_SOON, version=2)) is Effect.TOOK


def test_value_seen_by_a_refused_review_corroborates() -> None:
    refused = make_trace(5, 3, at=_SOON, version=2, verdict=Verdict.DENY)

    assert effect_of(change(), refused, make_trace(4, 6, at=_LATE, version=3)) is Effect.TOOK


def test_unseen_value_on_a_changed_object_is_unknown() -> None:
    candidate = make_trace(4, 6, at=_LATE, version=2, resource_version="11", generation=6)

    assert effect_of(change(), candidate) is Effect.UNKNOWN


@pytest.mark.parametrize(
    ("seen_at", "expected"), [(_SOON, Effect.UNKNOWN), (_LATE, Effect.DID_NOT)], ids=["39s", "40s"]
)
def test_unchanged_resource_version_refutes_only_after_settling(
    seen_at: datetime, expected: Effect
) -> None:
    candidate = make_trace(3, 4, at=seen_at, version=2, resource_version="10")

    assert effect_of(change(), candidate) is expected


def test_unchanged_generation_refutes_though_a_status_update_moved_the_version() -> None:
    candidate = make_trace(3, 4, at=_LATE, version=2, resource_version="11", generation=4)

    assert effect_of(change(), candidate) is Effect.DID_NOT


def test_equal_generation_of_another_incarnation_refutes_nothing() -> None:
    candidate = make_trace(
        3, 4, at=_LATE, version=2, resource_version="11", generation=4, uid="another"
    )

    assert effect_of(change(), candidate) is Effect.UNKNOWN


def test_missing_resource_versions_refute_nothing() -> None:
    unversioned = change(resource_version=None, generation=None)
    candidate = make_trace(3, 4, at=_LATE, version=2)

    assert effect_of(unversioned, candidate) is Effect.UNKNOWN


def test_corroborated_beats_refuted() -> None:
    refuting = make_trace(3, 4, at=_LATE, version=2, resource_version="10")
    corroborating = make_trace(5, 4, at=_LATE, version=3, resource_version="12")

    assert effect_of(change(), refuting, corroborating) is Effect.TOOK
    assert effect_of(change(), corroborating, refuting) is Effect.TOOK


def test_of_one_resource_version_the_corroborated_change_refutes_the_others() -> None:
    won = change()
    lost = make_trace(3, 7, at=_NOW, version=2, resource_version="10", generation=4)
    other = make_trace(5, 8, at=_NOW, version=3, resource_version="11", generation=5)
    candidate = make_trace(5, 6, at=_SOON, version=4, resource_version="12", generation=7)

    judged = judge_effects((won, lost, other), REPLICAS, candidate=candidate)

    assert [effect for _, effect in judged] == [Effect.TOOK, Effect.DID_NOT, Effect.UNKNOWN]


def test_changes_without_resource_version_do_not_refute_each_other() -> None:
    one = make_trace(3, 5, at=_NOW, version=1)
    other = make_trace(3, 7, at=_NOW, version=2)
    candidate = make_trace(5, 6, at=_SOON, version=3)

    judged = judge_effects((one, other), REPLICAS, candidate=candidate)

    assert [effect for _, effect in judged] == [Effect.TOOK, Effect.UNKNOWN]


@pytest.mark.parametrize("verdict", Verdict)
def test_same_request_on_other_old_values_supersedes_however_it_was_answered(
    verdict: Verdict,
) -> None:
    again = make_trace(4, 5, at=_SOON, version=2, resource_version="11", verdict=verdict)
    candidate = make_trace(4, 6, at=_LATE, version=3, resource_version="12")

    assert effect_of(change(), again, candidate) is Effect.DID_NOT


def test_superseding_takes_the_same_actor_values_operation_and_time() -> None:
    stale = change()
    candidate = make_trace(4, 6, at=_LATE, version=3, resource_version="12")
    others = {
        "actor": make_trace(4, 5, at=_SOON, version=2, actor="another"),
        "values": make_trace(4, 7, at=_SOON, version=2),
        "time": make_trace(4, 5, at=_LATE, version=2),
        "subresource": make_trace(4, 5, at=_SOON, version=2, subresource="scale"),
        "same old values": make_trace(3, 5, at=_SOON, version=2),
    }

    effects = {name: effect_of(stale, other, candidate) for name, other in others.items()}

    assert effects == dict.fromkeys(others, Effect.UNKNOWN)


def test_deletion_does_not_supersede_a_scaling_to_nothing() -> None:
    emptied = make_trace(3, 0, at=_NOW, version=1)
    deleted = make_trace(4, None, at=_SOON, version=2)

    assert effect_of(emptied, deleted) is Effect.UNKNOWN


def test_another_object_in_its_place_corroborates_a_deletion() -> None:
    deleted = make_trace(3, None, at=_NOW, version=1)
    created = make_trace(None, 3, at=_SOON, version=2, uid="two")
    changed = make_trace(3, 4, at=_SOON, version=3, uid="two")

    assert effect_of(deleted, created) is Effect.UNKNOWN
    assert effect_of(deleted, created, changed) is Effect.TOOK


def test_creation_is_told_by_the_uid_of_what_it_created() -> None:
    created = make_trace(None, 5, at=_NOW, version=1, uid="two")

    assert effect_of(created, make_trace(4, 3, at=_SOON, version=2, uid="two")) is Effect.TOOK
    assert effect_of(created, make_trace(5, 3, at=_SOON, version=2, uid="one")) is Effect.DID_NOT


def test_attempt_to_create_what_exists_says_nothing_about_replicas() -> None:
    emptied = make_trace(3, 0, at=_NOW, version=1)

    assert effect_of(emptied, make_trace(None, 3, at=_SOON, version=2)) is Effect.UNKNOWN


def test_of_unconfirmed_changes_on_one_resource_version_only_the_last_may_count() -> None:
    racing = [make_trace(5, 5 + n, at=_NOW, version=n, resource_version="10") for n in range(1, 5)]
    candidate = make_trace(5, 4, at=_SOON, version=5, resource_version="10")

    judged = judge_effects(racing, REPLICAS, candidate=candidate)

    assert [effect for _, effect in judged] == [Effect.DID_NOT] * 3 + [Effect.UNKNOWN]


@pytest.mark.parametrize(
    ("version", "earlier", "expected"),
    [("9", "10", True), ("10", "10", False), ("11", "10", False), (None, "10", False)],
)
def test_sighting_of_an_older_resource_version_is_stale(
    version: str | None,
    earlier: str,
    expected: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    seen = make_trace(5, 4, at=_SOON, resource_version=version).seen
    before = make_trace(5, 4, at=_NOW, resource_version=earlier).seen

    assert is_stale(seen, [before]) is expected


def test_older_state_long_after_is_a_restored_cluster_and_not_stale() -> None:
    seen = make_trace(5, 4, at=_LATE, resource_version="9", generation=1).seen
    before = make_trace(5, 4, at=_NOW, resource_version="10", generation=2).seen

    assert not is_stale(seen, [before])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ExecutionStatus.COMPLETED, Effect.TOOK),
        (ExecutionStatus.ROLLED_BACK, Effect.TOOK),
        (ExecutionStatus.FAILED, Effect.DID_NOT),
        (ExecutionStatus.EXECUTING, Effect.TOOK),
        (ExecutionStatus.PENDING, Effect.UNKNOWN),
    ],
)
def test_observed_outcome_needs_no_corroboration(status: ExecutionStatus, expected: Effect) -> None:
    observed = replace(change(), status=status)
    candidate = make_trace(4, 6, at=_SOON, version=2, resource_version="11", generation=6)

    assert effect_of(observed, candidate) is expected


def test_refused_changes_and_those_of_other_fields_are_not_judged() -> None:
    refused = replace(change(), verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED)
    elsewhere = replace(change(), changed={("app", "image"): ("web:1", "web:2")})
    candidate = make_trace(5, 6, at=_SOON, version=3)

    assert judge_effects((refused, elsewhere), REPLICAS, candidate=candidate) == []


def test_unknown_changes_count_and_are_reported() -> None:
    taken = change()
    unknown = make_trace(5, 9, at=_NOW, version=2, resource_version="11", generation=7)
    failed = make_trace(5, 2, at=_NOW, version=3, resource_version="12", generation=9)
    candidate = make_trace(6, 7, at=_LATE, version=4, resource_version="12")

    moves = find_moves((taken, unknown, failed), REPLICAS, candidate=candidate)

    assert [(move.before, move.after, move.version) for move in moves.counted] == [
        (3, 5, 1),
        (5, 9, 2),
    ]
    assert moves.unconfirmed == 1


async def test_change_that_never_took_effect_adds_no_reversal() -> None:
    timeline = await start_timeline(replicas=5)

    events = await timeline.play(
        [Step(0, 3), Step(10, 5, persists=False), Step(20, 2), Step(30, 1)]
    )

    assert {event.outcome for event in events} == {Outcome.ADMITTED}


async def test_review_with_an_unknown_effect_says_that_its_input_was_incomplete() -> None:
    timeline = await start_timeline(replicas=3)

    events = await timeline.play([Step(0, 5), Step(1, 7, by_agent=False), Step(10, 8)])

    assert events[0].reviewed.incomplete == ()
    assert events[1].reviewed.incomplete == (("scale-oscillation", "outcome-unconfirmed"),)
    assert timeline.recordings[1].decision["incomplete"] == [
        ["scale-oscillation", "outcome-unconfirmed"]
    ]


def test_racing_request_that_found_the_old_value_outran_a_change_without_generation() -> None:
    scaled = make_trace(5, 9, at=_NOW, version=1, resource_version="10", subresource="scale")
    seen_at = _NOW + RACING
    soon = make_trace(
        5, 7, at=seen_at - timedelta(milliseconds=1), version=2, resource_version="11"
    )
    later = make_trace(5, 7, at=seen_at, version=2, resource_version="11")

    assert effect_of(scaled, soon) is Effect.DID_NOT
    assert effect_of(scaled, later) is Effect.UNKNOWN


def test_of_changes_on_one_generation_at_most_one_took_effect() -> None:
    racing = [
        make_trace(5, 10 + n, at=_NOW, version=n, resource_version=str(10 + n), generation=1)
        for n in range(1, 4)
    ]
    candidate = make_trace(11, 4, at=_SOON, version=5, resource_version="20", generation=2)

    judged = judge_effects(racing, REPLICAS, candidate=candidate)

    assert [effect for _, effect in judged] == [Effect.TOOK, Effect.DID_NOT, Effect.DID_NOT]


@pytest.mark.parametrize(("found", "expected"), [(5, Effect.TOOK), (4, Effect.DID_NOT)])
def test_next_generation_tells_whether_a_change_took_effect(found: int, expected: Effect) -> None:
    candidate = make_trace(found, 7, at=_SOON, version=3, resource_version="12", generation=5)

    assert effect_of(change(), candidate) is expected


def test_value_that_was_asked_for_again_says_nothing_of_the_first_time() -> None:
    scaled = make_trace(3, 5, at=_NOW, version=1, resource_version="10")
    again = make_trace(4, 5, at=_LATE, version=2, resource_version="11", actor="other")
    candidate = make_trace(5, 6, at=_LATE, version=3, resource_version="12")

    assert effect_of(scaled, again, candidate) is Effect.UNKNOWN
