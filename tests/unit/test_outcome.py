"""How the rollouts of persisted changes ended, and who undid them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.following import follow, follow_late
from gate.domain.observation import Observation
from gate.domain.outcome import GRACE, Awaited, is_overdue
from gate.domain.trace import ExecutionStatus
from tests.unit.observations import (
    NOW,
    SECOND,
    change,
    describe,
    scaled,
    scaled_by_subresource,
    see,
)

PENDING, EXECUTING = ExecutionStatus.PENDING, ExecutionStatus.EXECUTING
COMPLETED, FAILED = ExecutionStatus.COMPLETED, ExecutionStatus.FAILED
ROLLED_BACK = ExecutionStatus.ROLLED_BACK
BEFORE = see(describe(5), generation=7, resource_version=100, second=-1)
LATE = NOW + timedelta(seconds=50)


def run(changes: Sequence[Awaited] | Awaited, *states: Observation) -> tuple[Awaited, ...]:
    """Follow changes through some states, each seen after the one before."""
    followed = (changes,) if isinstance(changes, Awaited) else tuple(changes)
    previous = None
    for state in states:
        followed = follow(followed, state, previous=previous)
        previous = state
    return followed


def read_late(
    awaited: Awaited, seen: Observation | None, *, is_continuous: bool = False
) -> Awaited:
    return follow_late(awaited, seen, now=LATE, is_continuous=is_continuous)


def test_times_are_those_at_which_it_was_seen_to_begin_and_end() -> None:
    (followed,) = run(
        scaled(5, 3),
        BEFORE,
        see(describe(3), generation=8, second=1, ready=0),
        see(describe(3), generation=8, resource_version=102, second=9),
    )

    outcome = followed.outcome
    assert (outcome.started_at, outcome.ended_at) == (NOW + SECOND, NOW + 9 * SECOND)
    assert outcome.duration == 8 * SECOND
    assert outcome.generation == 8
    assert outcome.state == describe(3)


def test_an_end_that_nobody_saw_is_unknown() -> None:
    (followed,) = run(scaled(5, 3), see(describe(3), generation=8, is_next=False))

    assert followed.outcome.started_at == followed.at
    assert (followed.outcome.ended_at, followed.outcome.duration) == (None, None)


def test_an_end_that_the_deployment_itself_tells_is_taken() -> None:
    seen = see(describe(image="web:2"), generation=8, is_next=False)
    told = replace(seen, rollout=replace(seen.rollout, finished_at=NOW + 5 * SECOND))

    (followed,) = run(change(describe(), describe(image="web:2")), told)

    assert followed.outcome.ended_at == NOW + 5 * SECOND


@pytest.mark.parametrize(("since", "expected"), [(30, FAILED), (-30, EXECUTING)])
def test_a_deployment_that_gave_up_on_this_rollout_fails_it(
    since: int, expected: ExecutionStatus
) -> None:
    begun = see(describe(image="web:2"), generation=8, ready=0)
    seen = replace(begun, at=NOW + 40 * SECOND, resource_version="102")
    stuck = replace(seen, rollout=replace(seen.rollout, stuck_since=NOW + since * SECOND))

    (followed,) = run(change(describe(), describe(image="web:2")), BEFORE, begun, stuck)

    assert followed.outcome.status is expected
    if expected is FAILED:
        assert followed.outcome.error == (
            "progress-deadline-exceeded: 5 of 5 replicas updated; 0 of 5 pods available"
        )
        assert followed.outcome.started_at is not None


def test_a_rollout_without_progress_fails_once_its_deadline_is_over() -> None:
    states = [
        BEFORE,
        see(describe(6), generation=8, second=1, ready=3),
        see(describe(6), generation=8, resource_version=105, second=60, ready=5),
        see(describe(6), generation=8, resource_version=106, second=500, ready=5),
    ]
    (followed,) = run(scaled(5, 6), *states)
    too_soon, late = (NOW + timedelta(seconds=60, minutes=n) for n in (10, 11))

    assert not is_overdue(followed, waited=GRACE, now=too_soon)
    assert is_overdue(followed, waited=GRACE, now=late)
    stalled = follow_late(followed, states[-1], now=late, is_continuous=True)
    assert stalled.outcome.status is FAILED
    assert stalled.outcome.error == (
        "rollout-stalled: 6 of 6 replicas updated; 5 of 6 pods available, for 11 min"
    )


def test_a_pending_change_is_overdue_after_45_seconds_of_knowing_it() -> None:
    assert not is_overdue(scaled(5, 3), waited=44 * SECOND, now=NOW)
    assert is_overdue(scaled(5, 3), waited=45 * SECOND, now=NOW)


def test_a_change_that_is_changed_again_before_its_rollout_was_over_has_no_end() -> None:
    (followed,) = run(
        scaled(5, 3),
        BEFORE,
        see(describe(3), generation=8, ready=0),
        see(describe(2), generation=9, resource_version=102),
    )

    assert followed.outcome.status is COMPLETED
    assert followed.outcome.ended_at is None
    assert followed.outcome.undoing is None


def test_a_rollout_goes_on_while_later_changes_keep_its_values() -> None:
    (followed,) = run(
        scaled(5, 3),
        BEFORE,
        see(describe(3), generation=8, ready=0),
        see(describe(3, image="web:2"), generation=9, resource_version=102, ready=1),
        see(describe(3, image="web:2"), generation=9, resource_version=103, second=20),
    )

    assert (followed.outcome.status, followed.outcome.ended_at) == (COMPLETED, NOW + 20 * SECOND)


def test_a_change_undone_by_somebody_else_is_rolled_back_and_names_them() -> None:
    (followed,) = run(
        scaled_by_subresource(5, 8),
        BEFORE,
        see(describe(8), generation=8),
        see(
            describe(5),
            generation=9,
            resource_version=102,
            second=60,
            owners={("", "replicas"): "argocd-controller"},
        ),
    )

    assert followed.outcome.status is ROLLED_BACK
    assert followed.outcome.undoing is not None
    assert followed.outcome.undoing.as_json() == {
        "type": "undone",
        "by": "argocd-controller",
        "at": (NOW + 60 * SECOND).isoformat(),
        "fields": [{"field": "replicas"}],
        "whole": True,
    }


def test_a_change_undone_by_half_stays_completed_and_says_so() -> None:
    back = see(describe(6), generation=9, resource_version=102)
    (followed,) = run(scaled(4, 8), BEFORE, see(describe(8), generation=8), back)

    assert followed.outcome.status is COMPLETED
    assert followed.outcome.undoing is not None
    assert (followed.outcome.undoing.is_whole, followed.outcome.undoing.by) == (False, None)


@pytest.mark.parametrize("replicas", [7, 9, 8])
def test_less_than_half_back_or_further_on_undoes_nothing(replicas: int) -> None:
    moved = see(describe(replicas, image="web:2"), generation=9, resource_version=102)
    (followed,) = run(scaled(4, 8), BEFORE, see(describe(8), generation=8), moved)

    assert followed.outcome.undoing is None


def test_a_change_undone_by_a_later_one_on_record_names_that() -> None:
    changes = (
        scaled(5, 8, version=1, base=7),
        scaled(8, 5, version=2, base=8, resource_version="101", actor="other"),
    )

    first, second = run(
        changes,
        BEFORE,
        see(describe(8), generation=8),
        see(describe(5), generation=9, resource_version=102, owners={("", "replicas"): "kubectl"}),
    )

    assert (first.outcome.status, second.outcome.status) == (ROLLED_BACK, COMPLETED)
    assert first.outcome.undoing is not None
    assert first.outcome.undoing.as_json()["type"] == "reverted"
    assert (first.outcome.undoing.by, first.outcome.undoing.action_id) == ("other", "trace 2")


def test_what_was_undone_after_the_window_is_no_rollback() -> None:
    back = see(describe(5), generation=9, resource_version=102, second=2 * 3600 + 1)
    (followed,) = run(scaled(5, 8), BEFORE, see(describe(8), generation=8), back)

    assert followed.outcome.status is COMPLETED
    assert followed.outcome.undoing is None


def test_a_deleted_workload_that_somebody_makes_anew_is_an_undone_deletion() -> None:
    (followed,) = run(
        change(describe(5), None),
        BEFORE,
        see(describe(5), generation=7, is_gone=True),
        see(
            describe(5),
            generation=1,
            uid="two",
            resource_version=300,
            owners={("", "replicas"): "helm"},
        ),
    )

    assert followed.outcome.status is ROLLED_BACK
    assert followed.outcome.undoing is not None
    assert followed.outcome.undoing.by == "helm"


def test_taking_in_a_state_again_changes_nothing() -> None:
    states = [
        BEFORE,
        see(describe(3), generation=8, ready=0),
        see(describe(3), generation=8, resource_version=102, second=4),
        see(describe(5), generation=9, resource_version=103, second=9),
    ]
    once = run(scaled(5, 3), *states)

    assert run(once, *states) == once


def test_a_change_that_nobody_watched_is_told_by_the_review_of_the_next_one() -> None:
    unwatched = scaled(5, 7)
    following = scaled(7, 9, version=2, base=8, resource_version="101")

    first, second = run(
        (unwatched, following),
        see(describe(9), generation=9, resource_version=102, is_next=False),
    )

    assert (first.outcome.status, first.outcome.ended_at) == (COMPLETED, None)
    assert second.outcome.status is not PENDING


def test_a_change_that_the_next_review_does_not_show_was_not_persisted() -> None:
    refused_later = scaled(5, 7)
    following = scaled(6, 9, version=2, base=8, resource_version="101")

    first, _ = run(
        (refused_later, following),
        see(describe(9), generation=9, resource_version=102, is_next=False),
    )

    assert first.outcome.status is FAILED


def test_of_two_changes_to_one_value_the_next_review_tells_of_the_last() -> None:
    racing = scaled(5, 7), scaled(5, 7, version=2, actor="another")
    following = scaled(7, 9, version=3, base=8, resource_version="101")

    first, second, _ = run(
        (*racing, following),
        see(describe(9), generation=9, resource_version=102, is_next=False),
    )

    assert (first.outcome.status, second.outcome.status) == (FAILED, COMPLETED)


def test_a_scale_tells_nothing_of_a_change_of_anything_but_replicas() -> None:
    unwatched = change(describe(), describe(image="web:2"))
    following = change({"replicas": 5}, {"replicas": 6}, version=2, base=8, resource_version="101")

    first, _ = run(
        (unwatched, following),
        see(describe(6, image="web:3"), generation=12, resource_version=110, is_next=False),
    )

    assert first.outcome.status is PENDING
