"""One user request that the API server asks about several times, and requests that only look so."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.change import Operation
from gate.domain.corroboration import SETTLING
from gate.domain.reinvocation import find_earlier, may_repeat_allow
from gate.domain.snapshot import CONTEXT_PREFIX, REPLICAS
from gate.domain.trace import ExecutionStatus, History, Trace, Verdict
from tests.reviews import next_uid
from tests.timeline import (
    Outcome,
    Step,
    make_request,
    minute,
    start_timeline,
)
from tests.unit.builders import KEY, make_trace

_NOW = minute(0)
_SECOND = timedelta(seconds=1)
_LAST = SETTLING - timedelta(milliseconds=1)


def is_same_request(earlier: Trace, later: Trace) -> bool:
    return find_earlier(History(KEY, traces=(earlier,)), later) is earlier


def repeats(earlier: Trace, later: Trace) -> bool:
    return may_repeat_allow(History(KEY, traces=(earlier,)), earlier, later)


def on_object(after: timedelta = timedelta(0), **given: object) -> Trace:
    options = {"generation": 4, "resource_version": "10"} | given
    return make_trace(3, 5, at=_NOW + after, **options)  # type: ignore[arg-type]  # test options


def on_scale(after: timedelta = timedelta(0), **given: object) -> Trace:
    options = {"subresource": "scale", "resource_version": "10"} | given
    return make_trace(3, 5, at=_NOW + after, **options)  # type: ignore[arg-type]  # test options


async def test_five_invocations_of_one_request_are_one_trace_and_one_verdict() -> None:
    timeline = await start_timeline(replicas=3)

    events = [
        await timeline.scale(5, at=minute(0) + number * _SECOND, persists=False)
        for number in range(6)
    ]

    (recording,) = timeline.recordings
    assert {event.outcome for event in events} == {Outcome.ADMITTED}
    assert {event.reviewed.action_id for event in events} == {recording.trace.action_id}
    assert timeline.histories.attempts == {recording.trace.action_id: 6}


async def test_repeated_allow_says_again_what_was_said() -> None:
    timeline = await start_timeline(replicas=3)
    await timeline.play([Step(0, 5), Step(10, 3)])

    first = await timeline.scale(5, at=minute(20), persists=False)
    again = await timeline.scale(5, at=minute(20) + _SECOND)

    assert first.outcome is Outcome.WARNED
    assert again.reviewed.answer.warnings == first.reviewed.answer.warnings


async def test_refusal_is_decided_again_and_counts_its_attempts() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.play([Step(0, 3), Step(10, 5)])

    refusals = [await timeline.scale(3, at=minute(20) + n * _SECOND) for n in range(5)]

    refused = timeline.recordings[-1].trace
    assert {event.outcome for event in refusals} == {Outcome.REFUSED}
    assert {event.reviewed.action_id for event in refusals} == {refused.action_id}
    assert timeline.histories.attempts[refused.action_id] == 5
    assert len(timeline.recordings) == 3
    assert {refused.action_id in event.reviewed.answer.message for event in refusals} == {True}


async def test_refusal_later_than_a_request_can_last_is_a_trace_of_its_own() -> None:
    timeline = await start_timeline(replicas=5)
    await timeline.play([Step(0, 3), Step(10, 5), Step(20, 3), Step(21, 3)])

    assert [r.trace.verdict for r in timeline.recordings[2:]] == [Verdict.DENY, Verdict.DENY]
    assert [len(r.opens) for r in timeline.recordings[2:]] == [1, 0]


async def test_request_admitted_after_it_was_refused_is_a_new_trace() -> None:
    timeline = await start_timeline(replicas=5)
    events = await timeline.play([Step(0, 3), Step(10, 5), Step(20, 3)])
    until = events[-1].until

    before = await timeline.scale(3, at=until - _SECOND)
    after = await timeline.scale(3, at=until)

    assert (before.outcome, after.outcome) == (Outcome.REFUSED, Outcome.ADMITTED)
    assert before.reviewed.action_id != after.reviewed.action_id
    assert timeline.recordings[-1].trace.action_id == after.reviewed.action_id


@pytest.mark.parametrize("subresource", ["", "scale"])
async def test_change_made_undone_and_made_again_is_two_traces(subresource: str) -> None:
    timeline = await start_timeline(replicas=3, subresource=subresource)

    await timeline.play([Step(0, 5), Step(1 / 60, 3, by_agent=False), Step(2 / 60, 5)])

    assert [r.trace.after(REPLICAS) for r in timeline.recordings] == [5, 5]


async def test_deletion_of_a_workload_recreated_meanwhile_is_another_request() -> None:
    timeline = await start_timeline(replicas=3)
    await timeline.delete(at=minute(0))
    timeline.body["metadata"] |= {"uid": next_uid(), "resourceVersion": "5000"}

    await timeline.delete(at=minute(0.2))

    assert len(timeline.recordings) == 2


async def test_redelivered_review_is_one_trace_however_late() -> None:
    timeline = await start_timeline(replicas=3)
    old, new = timeline.body, {**timeline.body, "spec": {**timeline.body["spec"], "replicas": 5}}
    request = make_request(Operation.UPDATE, old=old, new=new)

    events = [await timeline.review(request, at=minute(late)) for late in (0, 0.1, 5)]

    assert len(timeline.recordings) == 1
    assert len({event.reviewed.action_id for event in events}) == 1


async def test_dry_run_neither_writes_nor_counts() -> None:
    timeline = await start_timeline(replicas=3)

    tried = await timeline.scale(5, at=minute(0), is_dry_run=True)
    await timeline.scale(5, at=minute(0) + _SECOND, persists=False)
    await timeline.scale(5, at=minute(0) + 2 * _SECOND, is_dry_run=True)

    assert tried.reviewed.action_id is None
    assert len(timeline.recordings) == 1
    assert timeline.histories.repetitions == []


async def test_merged_attempt_stores_the_resource_version_it_saw() -> None:
    timeline = await start_timeline(replicas=3, subresource="scale")
    await timeline.scale(5, at=minute(0), persists=False)
    timeline.body["metadata"]["resourceVersion"] = "777"

    await timeline.scale(5, at=minute(0) + _SECOND, persists=False)
    await timeline.scale(5, at=minute(0) + 30 * _SECOND, persists=False)

    assert len(timeline.recordings) == 1
    assert [r.resource_version for r in timeline.histories.repetitions] == ["777", "777"]


async def test_metadata_changes_merge_within_two_seconds_only() -> None:
    timeline = await start_timeline(replicas=3)
    changed = {**timeline.body, "metadata": {**timeline.body["metadata"], "generation": 2}}
    changed["metadata"]["annotations"] = {CONTEXT_PREFIX + "model": "m"}
    versions = iter(["11", "12", "13"])

    for after in (0.0, 1.9, 4.0):
        old = {**timeline.body, "metadata": {**timeline.body["metadata"]}}
        old["metadata"]["resourceVersion"] = next(versions)
        request = make_request(Operation.UPDATE, old=old, new=changed)
        await timeline.review(request, at=minute(after / 60))

    assert len(timeline.recordings) == 2
    assert sorted(timeline.histories.attempts.values()) == [1, 2]


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (on_object(_LAST), True),
        (on_object(SETTLING), False),
        (on_object(_SECOND, generation=5), False),
        (on_object(_SECOND, resource_version="11"), True),
        (on_object(_SECOND, uid="another"), False),
        (on_object(_SECOND, actor="another"), False),
        (on_object(_SECOND, subresource="scale", generation=None), False),
        (on_object(-_SECOND), True),
        (on_object(timedelta(hours=1), request_uid="the same"), True),
    ],
    ids=[
        "39s",
        "40s",
        "generation",
        "version",
        "uid",
        "actor",
        "scale",
        "clock back",
        "redelivery",
    ],
)
def test_reinvocation_on_the_object_is_told_by_generation(later: Trace, *, expected: bool) -> None:
    assert is_same_request(on_object(request_uid="the same"), later) is expected


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (on_scale(_LAST), True),
        (on_scale(SETTLING), False),
        (on_scale(2 * _SECOND, resource_version="11"), False),
        (on_scale(1.9 * _SECOND, resource_version="11"), True),
    ],
    ids=["39s", "40s", "2s", "1.9s"],
)
def test_reinvocation_on_scale_is_told_by_version_or_two_seconds(
    later: Trace, *, expected: bool
) -> None:
    assert is_same_request(on_scale(), later) is expected


def test_creations_without_version_merge_within_two_seconds_only() -> None:
    created = make_trace(None, 5, at=_NOW, uid="one")

    soon = make_trace(None, 5, at=_NOW + 1.9 * _SECOND, uid="another")
    late = make_trace(None, 5, at=_NOW + 2 * _SECOND, uid="another")

    assert is_same_request(created, soon)
    assert not is_same_request(created, late)


def test_newest_trace_of_a_request_is_found() -> None:
    older, newer = on_object(version=1), on_object(_SECOND, version=2)

    found = find_earlier(History(KEY, traces=(older, newer)), on_object(2 * _SECOND))

    assert found is newer


def test_allow_is_repeated_only_while_the_change_is_not_known_to_have_taken_effect() -> None:
    pending = on_object()
    again = on_object(_SECOND)
    refused = on_object(verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED)
    observed = on_object(status=ExecutionStatus.COMPLETED)
    failed = on_object(status=ExecutionStatus.FAILED)
    elsewhere = replace(observed, changed={("app", "image"): ("web:1", "web:2")})

    assert repeats(pending, again)
    assert not repeats(refused, again)
    assert not repeats(observed, again)
    assert not repeats(failed, again)
    assert not repeats(elsewhere, again)


def test_allow_of_a_redelivered_review_is_repeated_whatever_became_of_it() -> None:
    completed = on_object(status=ExecutionStatus.COMPLETED, request_uid="the same")

    assert repeats(completed, on_object(_SECOND, request_uid="the same"))


def test_allow_that_a_later_review_saw_in_effect_is_not_repeated() -> None:
    made = on_scale(version=1)
    seen = make_trace(5, 3, at=_NOW + _SECOND, version=2, verdict=Verdict.DENY)
    again = on_scale(1.5 * _SECOND, version=3)

    assert not may_repeat_allow(History(KEY, traces=(made, seen)), made, again)
