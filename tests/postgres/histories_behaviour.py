"""What every implementation of the port `Histories` does."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.change import Operation
from gate.domain.trace import History, Verdict
from gate.ports.histories import Histories
from tests.postgres.records import (
    DATABASE,
    NOW,
    WEB,
    as_stored,
    ask,
    make_detection,
    make_recording,
    make_repetition,
    make_trace,
)

MINUTE = timedelta(minutes=1)


class HistoriesBehaviour:
    """The suite; a subclass provides the fixture `histories`."""

    async def test_unknown_workload_has_an_empty_history(
        self, histories: Histories, deadline: float
    ) -> None:
        assert await histories.read(ask(), now=NOW, deadline=deadline) == History(WEB)

    async def test_everyone_who_asks_at_once_gets_the_answer_to_his_own_question(
        self, histories: Histories, deadline: float
    ) -> None:
        recording = make_recording(key=DATABASE)
        await histories.record(recording, deadline=deadline)

        read = await asyncio.gather(
            *(histories.read(ask(key), now=NOW, deadline=deadline) for key in (WEB, DATABASE, WEB))
        )

        assert [(history.key, len(history.traces)) for history in read] == [
            (WEB, 0),
            (DATABASE, 1),
            (WEB, 0),
        ]

    async def test_a_trace_reads_back_as_it_was_recorded(
        self, histories: Histories, deadline: float
    ) -> None:
        recording = make_recording(
            labels={"app": "web"}, decision={"verdict": "allow", "warnings": ["careful"]}
        )

        written = await histories.record(recording, deadline=deadline)

        assert written is True
        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert replace(history, nearby=()) == History(
            WEB, version=1, labels={"app": "web"}, traces=(as_stored(recording, 1),)
        )

    async def test_creation_and_deletion_read_back_without_the_state_they_lack(
        self, histories: Histories, deadline: float
    ) -> None:
        created = make_recording(0, trace=make_trace(operation=Operation.CREATE))
        deleted = make_recording(1, trace=make_trace(operation=Operation.DELETE, at=NOW + MINUTE))
        await histories.record(created, deadline=deadline)
        await histories.record(deleted, deadline=deadline)

        history = await histories.read(ask(), now=NOW + MINUTE, deadline=deadline)

        assert history.traces == (as_stored(created, 1), as_stored(deleted, 2))

    async def test_what_was_decided_on_an_older_version_is_not_written(
        self, histories: Histories, deadline: float
    ) -> None:
        first = make_recording(0)
        await histories.record(first, deadline=deadline)

        written = await histories.record(make_recording(0, labels={"a": "b"}), deadline=deadline)

        assert written is False
        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert replace(history, nearby=()) == History(WEB, version=1, traces=(as_stored(first, 1),))

    async def test_a_version_that_never_was_is_not_written(
        self, histories: Histories, deadline: float
    ) -> None:
        assert await histories.record(make_recording(5), deadline=deadline) is False
        assert await histories.read(ask(), now=NOW, deadline=deadline) == History(WEB)

    async def test_one_loser_among_several_workloads_leaves_the_others_alone(
        self, histories: Histories, deadline: float
    ) -> None:
        written = await asyncio.gather(
            histories.record(make_recording(3), deadline=deadline),
            histories.record(make_recording(0, key=DATABASE), deadline=deadline),
        )

        assert (*written,) == (False, True)

    async def test_writes_of_one_workload_at_once_take_their_turns_in_order(
        self, histories: Histories, deadline: float
    ) -> None:
        written = await asyncio.gather(
            *(
                histories.record(make_recording(expected), deadline=deadline)
                for expected in (0, 0, 1)
            )
        )

        assert written == [True, False, True]

    async def test_a_trace_without_expected_version_is_written_and_leaves_the_version(
        self, histories: Histories, deadline: float
    ) -> None:
        await histories.record(make_recording(0), deadline=deadline)
        refused = make_recording(None, trace=make_trace(verdict=Verdict.DENY, at=NOW + MINUTE))

        written = await histories.record(refused, deadline=deadline)

        history = await histories.read(ask(), now=NOW + MINUTE, deadline=deadline)
        assert written is True
        assert history.version == 1
        assert history.traces[-1] == as_stored(refused, 1)

    async def test_a_repetition_counts_on_the_trace_and_moves_the_version(
        self, histories: Histories, deadline: float
    ) -> None:
        recording = make_recording(0)
        await histories.record(recording, deadline=deadline)
        repetition = make_repetition(recording.trace, 1, resource_version="101")

        assert await histories.record(repetition, deadline=deadline) is True
        assert await histories.record(repetition, deadline=deadline) is False

        history = await histories.read(ask(), now=NOW + MINUTE, deadline=deadline)
        assert history.version == 2
        (trace,) = history.traces
        assert trace.seen.resource_version == "101"
        assert trace.version == 1

    async def test_a_repetition_without_resource_version_keeps_the_last_one(
        self, histories: Histories, deadline: float
    ) -> None:
        recording = make_recording(0)
        await histories.record(recording, deadline=deadline)
        repetition = make_repetition(recording.trace, 1, resource_version=None)

        await histories.record(repetition, deadline=deadline)

        history = await histories.read(ask(), now=NOW + MINUTE, deadline=deadline)
        assert history.traces[0].seen.resource_version == "100"

    async def test_labels_last_seen_stay_when_a_scale_carries_none(
        self, histories: Histories, deadline: float
    ) -> None:
        await histories.record(make_recording(0, labels={"app": "web"}), deadline=deadline)
        await histories.record(make_recording(1, labels=None), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert history.labels == {"app": "web"}

    async def test_labels_of_a_refused_creation_are_not_those_of_the_workload(
        self, histories: Histories, deadline: float
    ) -> None:
        trace = make_trace(operation=Operation.CREATE, verdict=Verdict.DENY)
        await histories.record(make_recording(0, labels={"app": "web"}), deadline=deadline)
        await histories.record(make_recording(1, labels={"x": "y"}, trace=trace), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert history.labels == {"app": "web"}

    async def test_traces_older_than_seven_days_are_not_read(
        self, histories: Histories, deadline: float
    ) -> None:
        old = make_recording(0, trace=make_trace(at=NOW - timedelta(days=7, milliseconds=1)))
        recent = make_recording(1, trace=make_trace(at=NOW - timedelta(days=7)))
        await histories.record(old, deadline=deadline)
        await histories.record(recent, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert history.version == 2
        assert history.traces == (as_stored(recent, 2),)

    async def test_the_newest_64_admitted_and_64_refused_are_read_in_order_of_version(
        self, histories: Histories, deadline: float
    ) -> None:
        for version in range(140):
            verdict = Verdict.DENY if version % 2 else Verdict.ALLOW
            trace = make_trace(verdict=verdict, at=NOW + version * timedelta(seconds=1))
            await histories.record(make_recording(version, trace=trace), deadline=deadline)

        history = await histories.read(ask(), now=NOW + 3 * MINUTE, deadline=deadline)

        assert [trace.version for trace in history.traces] == list(range(13, 141))

    @pytest.mark.parametrize("verdict", Verdict)
    async def test_seventy_metadata_changes_do_not_push_a_capacity_change_out(
        self, histories: Histories, deadline: float, verdict: Verdict
    ) -> None:
        await histories.record(make_recording(0), deadline=deadline)
        for version in range(1, 71):
            trace = make_trace(verdict=verdict, at=NOW + version * timedelta(seconds=1))
            recording = make_recording(version, trace=trace, changes_capacity=False)
            await histories.record(recording, deadline=deadline)

        history = await histories.read(ask(), now=NOW + 3 * MINUTE, deadline=deadline)

        assert [trace.version for trace in history.traces] == [1, *range(8, 72)]

    async def test_seventy_refused_capacity_changes_do_not_push_an_admitted_one_out(
        self, histories: Histories, deadline: float
    ) -> None:
        await histories.record(make_recording(0), deadline=deadline)
        for version in range(1, 71):
            trace = make_trace(verdict=Verdict.DENY, at=NOW + version * timedelta(seconds=1))
            await histories.record(make_recording(version, trace=trace), deadline=deadline)

        history = await histories.read(ask(), now=NOW + 3 * MINUTE, deadline=deadline)

        assert [trace.version for trace in history.traces] == [1, *range(8, 72)]

    async def test_a_clock_set_back_keeps_the_order_of_versions(
        self, histories: Histories, deadline: float
    ) -> None:
        for version, at in enumerate((NOW, NOW - 5 * MINUTE, NOW - 4 * MINUTE)):
            recording = make_recording(version, trace=make_trace(at=at))
            await histories.record(recording, deadline=deadline)

        history = await histories.read(ask(), now=NOW - 3 * MINUTE, deadline=deadline)

        assert [trace.version for trace in history.traces] == [1, 2, 3]

    async def test_an_open_detection_is_read_until_it_binds_no_more(
        self, histories: Histories, deadline: float
    ) -> None:
        detection = make_detection(until=NOW + 30 * MINUTE)
        await histories.record(make_recording(0, opens=(detection,)), deadline=deadline)

        before = await histories.read(ask(), now=NOW + 29 * MINUTE, deadline=deadline)
        after = await histories.read(ask(), now=NOW + 30 * MINUTE, deadline=deadline)

        (found,) = before.detections
        assert found == replace(
            found,
            pattern_id=1,
            pattern_type="scale-oscillation",
            evidence_kind="reversal",
            fields=("replicas",),
            until=detection.until,
            mode=detection.mode,
            prevention_applied=True,
            summary="replicas went 5 → 3 → 5",
        )
        assert after.detections == ()

    async def test_a_loser_opens_no_detection(self, histories: Histories, deadline: float) -> None:
        await histories.record(make_recording(0), deadline=deadline)
        await histories.record(make_recording(0, opens=(make_detection(),)), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert history.detections == ()

    async def test_a_detection_that_a_refusal_is_applied_for_says_so(
        self, histories: Histories, deadline: float
    ) -> None:
        warned = make_detection(prevention_applied=False)
        await histories.record(make_recording(0, opens=(warned, warned)), deadline=deadline)
        history = await histories.read(ask(), now=NOW, deadline=deadline)
        first, second = sorted(d.id for d in history.detections if d.id is not None)

        await histories.record(make_recording(1, enforces=(first,)), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert {d.id: d.prevention_applied for d in history.detections} == {
            first: True,
            second: False,
        }

    async def test_an_expired_detection_stays_resolved_when_the_clock_is_set_back(
        self, histories: Histories, deadline: float
    ) -> None:
        detection = make_detection(until=NOW + MINUTE)
        await histories.record(make_recording(0, opens=(detection,)), deadline=deadline)
        later = make_recording(1, trace=make_trace(at=NOW + 2 * MINUTE))

        await histories.record(later, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert history.detections == ()
