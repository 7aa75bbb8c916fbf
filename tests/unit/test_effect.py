"""Whether admitted changes were persisted, told from what was seen of their workloads."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gate.domain.following import follow, follow_late
from gate.domain.observation import Observation
from gate.domain.outcome import Awaited
from gate.domain.trace import ExecutionStatus
from tests.unit.observations import (
    NOW,
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


UPDATES = {
    "nothing newer was seen": (scaled(5, 3), [BEFORE], PENDING),
    "the next generation shows it": (
        scaled(5, 3),
        [BEFORE, see(describe(3), generation=8)],
        COMPLETED,
    ),
    "the next generation shows it, its pods are not there": (
        scaled(5, 3),
        [BEFORE, see(describe(3), generation=8, ready=1)],
        EXECUTING,
    ),
    "the next generation shows other values": (
        scaled(5, 3),
        [BEFORE, see(describe(9), generation=8)],
        FAILED,
    ),
    "after a gap the next generation shows other values": (
        scaled(5, 3),
        [see(describe(9), generation=8, is_next=False)],
        FAILED,
    ),
    "after a gap a later generation shows it": (
        scaled(5, 3),
        [see(describe(3), generation=11, is_next=False)],
        COMPLETED,
    ),
    "after a gap a later generation shows other values": (
        scaled(5, 3),
        [see(describe(9), generation=11, is_next=False)],
        PENDING,
    ),
    "another object of that name was seen": (
        scaled(5, 3),
        [see(describe(3), generation=1, uid="two", resource_version=200)],
        PENDING,
    ),
    "an amount is written differently": (
        change(describe(cpu="500m"), describe(cpu="2")),
        [BEFORE, see(describe(cpu="2000m"), generation=8)],
        COMPLETED,
    ),
    "labels changed besides": (
        change(describe(image="web:1"), describe(image="web:2", metadata="m")),
        [BEFORE, see(describe(image="web:2", metadata="other"), generation=8)],
        COMPLETED,
    ),
    "only the status moved": (
        scaled(5, 3),
        [BEFORE, see(describe(5), generation=7, resource_version=150)],
        PENDING,
    ),
}
SCALES = {
    "the state it started from was seen": (
        scaled_by_subresource(5, 3),
        [BEFORE, see(describe(3), generation=8)],
        COMPLETED,
    ),
    "the change after it is another": (
        scaled_by_subresource(5, 3),
        [BEFORE, see(describe(9), generation=8)],
        FAILED,
    ),
    "it started between two states in a row": (
        scaled_by_subresource(5, 3, resource_version="104"),
        [BEFORE, see(describe(9), generation=8, resource_version=110)],
        FAILED,
    ),
    "after a gap both states are of one generation": (
        scaled_by_subresource(5, 3, resource_version="104"),
        [
            BEFORE,
            see(describe(5), generation=7, resource_version=110, is_next=False),
            see(describe(9), generation=8, resource_version=120),
        ],
        FAILED,
    ),
    "after a gap the values are others": (
        scaled_by_subresource(5, 3, resource_version="104"),
        [BEFORE, see(describe(9), generation=8, resource_version=110, is_next=False)],
        PENDING,
    ),
    "after a gap it is there": (
        scaled_by_subresource(5, 3),
        [see(describe(3), generation=20, resource_version=110, is_next=False)],
        COMPLETED,
    ),
    "an older state had the same value": (
        scaled_by_subresource(5, 3),
        [see(describe(3), generation=6, resource_version=99)],
        PENDING,
    ),
}
METADATA = change(describe(metadata="m"), describe(metadata="n"))
OTHERS = {
    "labels are there, at the same generation": (
        METADATA,
        [BEFORE, see(describe(metadata="n"), generation=7)],
        COMPLETED,
    ),
    "labels are not there yet": (
        METADATA,
        [BEFORE, see(describe(metadata="m"), generation=7)],
        PENDING,
    ),
    "it was created": (change(None, describe(3)), [see(describe(3), generation=1)], COMPLETED),
    "another was created": (
        change(None, describe(3)),
        [see(describe(3), generation=1, uid="two")],
        PENDING,
    ),
    "it was deleted": (
        change(describe(5), None),
        [BEFORE, see(describe(5), generation=7, is_gone=True)],
        COMPLETED,
    ),
    "its deletion has begun": (
        change(describe(5), None),
        [BEFORE, see(describe(5), generation=8, is_leaving=True)],
        EXECUTING,
    ),
    "it was deleted, and made anew": (
        change(describe(5), None),
        [see(describe(5), generation=1, uid="two", resource_version=200, is_next=False)],
        ROLLED_BACK,
    ),
}


@pytest.mark.parametrize("case", [*UPDATES, *SCALES, *OTHERS])
def test_what_was_seen_tells_whether_a_change_was_persisted(case: str) -> None:
    awaited, states, expected = {**UPDATES, **SCALES, **OTHERS}[case]

    (followed,) = run(awaited, *states)

    assert followed.outcome.status is expected, followed.outcome


LATE_CASES = {
    "still at the old generation": (scaled(5, 3), BEFORE, False, FAILED),
    "the status moved, the generation did not": (
        scaled(5, 3),
        see(describe(5), generation=7, resource_version=150),
        False,
        FAILED,
    ),
    "it is there": (scaled(5, 3), see(describe(3), generation=8), False, COMPLETED),
    "much happened since": (scaled(5, 3), see(describe(9), generation=12), True, PENDING),
    "it is gone": (scaled(5, 3), None, True, PENDING),
    "a Scale at the old resourceVersion": (scaled_by_subresource(5, 3), BEFORE, False, FAILED),
    "a Scale at another resourceVersion": (
        scaled_by_subresource(5, 3),
        see(describe(5), generation=7, resource_version=150),
        True,
        PENDING,
    ),
    "labels are the old ones": (
        METADATA,
        see(describe(), generation=7, resource_version=150),
        False,
        FAILED,
    ),
    "a creation, nothing there, nothing missed": (change(None, describe()), None, True, FAILED),
    "a creation, nothing there, after a gap": (change(None, describe()), None, False, PENDING),
    "a creation, another there, after a gap": (
        change(None, describe()),
        see(describe(), generation=1, uid="two"),
        False,
        PENDING,
    ),
    "a deletion, nothing there": (change(describe(), None), None, False, COMPLETED),
    "a deletion, still there": (change(describe(), None), BEFORE, False, FAILED),
}


@pytest.mark.parametrize("case", LATE_CASES)
def test_an_object_read_late_tells_what_silence_does_not(case: str) -> None:
    awaited, seen, is_continuous, expected = LATE_CASES[case]

    followed = read_late(awaited, seen, is_continuous=is_continuous)

    assert followed.outcome.status is expected, followed.outcome


def test_a_change_that_was_not_persisted_says_why_and_has_no_times() -> None:
    outcome = read_late(scaled(5, 3), BEFORE).outcome

    assert outcome.error == (
        "not-persisted: the object was as before, at generation 7, "
        "when the request could not be retried any more"
    )
    assert (outcome.started_at, outcome.ended_at, outcome.duration) == (None, None, None)


def test_of_changes_from_one_state_only_the_last_that_shows_took_effect() -> None:
    changes = (scaled(5, 3, version=1), scaled(5, 9, version=2), scaled(5, 3, version=3))

    followed = run(changes, BEFORE, see(describe(3), generation=8))

    assert [each.outcome.status for each in followed] == [FAILED, FAILED, COMPLETED]


def test_a_state_that_another_change_is_known_to_have_made_is_not_shared() -> None:
    (first,) = run(scaled(5, 3, version=1), BEFORE, see(describe(3), generation=8))

    followed = run((first, scaled(5, 3, version=2)), see(describe(3), generation=8))

    assert [each.outcome.status for each in followed] == [COMPLETED, FAILED]
