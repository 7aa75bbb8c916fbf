"""What every implementation of `Histories` does about escalations, and about spooled traces."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from gate.domain.escalation import Escalation, EscalationState
from gate.domain.pattern import Mode
from gate.domain.record import Recording
from gate.domain.trace import ExecutionStatus, Verdict
from gate.ports.histories import Histories
from tests.postgres.records import (
    DATABASE,
    NOW,
    WEB,
    as_stored,
    ask,
    make_detection,
    make_escalation,
    make_recording,
    make_trace,
)

MINUTE = timedelta(minutes=1)
ALICE = "alice@example.org"
Answer = Callable[[str, EscalationState], Awaitable[None]]


def refuse(admitted: Recording) -> Recording:
    """Return the trace of a change whose commit was not confirmed, as it was answered then."""
    trace = replace(admitted.trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED)
    decision = {"verdict": "deny", "outage": "PostgreSQL did not answer in time"}
    return replace(
        admitted, trace=trace, decision=decision, opens=(), reserves=None, spooled_at=NOW
    )


class ApprovalsBehaviour:
    """The suite; a subclass provides the fixtures `histories` and `answer`.

    `answer` decides an escalation as ALICE would, and moves the version of its workload.
    """

    async def test_an_open_escalation_is_read_until_it_expires(
        self, histories: Histories, deadline: float
    ) -> None:
        asks = make_escalation(expires_at=NOW + 60 * MINUTE)
        await histories.record(make_recording(0, asks=asks), deadline=deadline)

        before = await histories.read(ask(), now=NOW + 59 * MINUTE, deadline=deadline)
        after = await histories.read(ask(), now=NOW + 60 * MINUTE, deadline=deadline)
        other = await histories.read(ask(DATABASE), now=NOW, deadline=deadline)

        open_ = Escalation(asks.id, asks.digest, EscalationState.OPEN, asks.expires_at)
        assert before.escalations == (open_,)
        assert after.escalations == ()
        assert other.escalations == ()

    async def test_a_loser_asks_nobody(self, histories: Histories, deadline: float) -> None:
        await histories.record(make_recording(0), deadline=deadline)
        await histories.record(make_recording(0, asks=make_escalation()), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert history.escalations == ()

    async def test_an_approval_is_read_and_a_denial_is_not(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        approved, denied = make_escalation(), make_escalation()
        await histories.record(make_recording(0, asks=approved), deadline=deadline)
        await histories.record(make_recording(1, asks=denied), deadline=deadline)

        await answer(approved.id, EscalationState.APPROVED)
        await answer(denied.id, EscalationState.DENIED)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        (found,) = history.escalations
        assert (found.id, found.state) == (approved.id, EscalationState.APPROVED)
        assert (found.decided_by, found.reserved_by) == (ALICE, None)
        assert history.version == 4

    async def test_the_change_that_an_approval_lets_through_reserves_it(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        asks = make_escalation()
        await histories.record(make_recording(0, asks=asks), deadline=deadline)
        await answer(asks.id, EscalationState.APPROVED)
        decision = {"verdict": "allow", "approval": {"escalation": asks.id, "decided_by": ALICE}}
        recording = make_recording(2, reserves=asks.id, decision=decision)

        written = await histories.record(recording, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert written is True
        assert history.escalations[0].reserved_by == recording.trace.action_id
        assert history.traces[-1].approval == asks.id

    async def test_who_loses_the_history_reserves_nothing(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        asks = make_escalation()
        await histories.record(make_recording(0, asks=asks), deadline=deadline)
        await answer(asks.id, EscalationState.APPROVED)

        written = await histories.record(make_recording(1, reserves=asks.id), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert written is False
        assert history.escalations[0].reserved_by is None

    async def test_a_change_whose_approval_has_ended_loses(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        denied, expired = make_escalation(), make_escalation(expires_at=NOW + MINUTE)
        late = make_trace(at=NOW + MINUTE)
        await histories.record(make_recording(0, asks=denied), deadline=deadline)
        await histories.record(make_recording(1, asks=expired), deadline=deadline)
        await answer(denied.id, EscalationState.DENIED)
        await answer(expired.id, EscalationState.APPROVED)

        of_denied = await histories.record(make_recording(4, reserves=denied.id), deadline=deadline)
        of_expired = await histories.record(
            make_recording(4, reserves=expired.id, trace=late), deadline=deadline
        )

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert (of_denied, of_expired) == (False, False)
        assert history.version == 4
        assert len(history.traces) == 2

    async def test_an_approval_of_another_workload_lets_nothing_through(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        asks = make_escalation()
        await histories.record(make_recording(0, asks=asks), deadline=deadline)
        await answer(asks.id, EscalationState.APPROVED)

        written = await histories.record(
            make_recording(0, key=DATABASE, reserves=asks.id), deadline=deadline
        )

        assert written is False

    async def test_a_spooled_trace_is_recorded_once_however_often_it_is_replayed(
        self, histories: Histories, deadline: float
    ) -> None:
        spooled = make_recording(0, spooled_at=NOW)
        await histories.record(spooled, deadline=deadline)
        first = await histories.read(ask(), now=NOW, deadline=deadline)

        for expected in (0, 1, 7):
            again = replace(spooled, expected_version=expected)
            assert await histories.record(again, deadline=deadline) is True

        assert await histories.read(ask(), now=NOW, deadline=deadline) == first
        assert first.traces == (as_stored(spooled, 1),)

    async def test_a_spooled_trace_that_is_not_recorded_has_to_be_at_the_expected_version(
        self, histories: Histories, deadline: float
    ) -> None:
        await histories.record(make_recording(0), deadline=deadline)
        spooled = make_recording(0, spooled_at=NOW)

        lost = await histories.record(spooled, deadline=deadline)
        won = await histories.record(replace(spooled, expected_version=1), deadline=deadline)

        assert (lost, won) == (False, True)

    async def test_a_commit_whose_reply_was_lost_is_corrected_to_what_was_answered(
        self, histories: Histories, deadline: float
    ) -> None:
        refused = make_recording(0, trace=make_trace(verdict=Verdict.DENY))
        await histories.record(refused, deadline=deadline)
        answered = replace(
            refused,
            trace=replace(refused.trace, verdict=Verdict.ALLOW, status=ExecutionStatus.PENDING),
            mode=Mode.ENFORCE,
            decision={"verdict": "allow", "warnings": ["not recorded yet"]},
            spooled_at=NOW,
        )

        written = await histories.record(answered, deadline=deadline)

        history = await histories.read(ask(WEB), now=NOW, deadline=deadline)
        assert written is True
        assert history.version == 1
        assert history.traces == (as_stored(answered, 1),)

    async def test_a_spooled_change_is_on_record_also_where_its_approval_has_ended(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        asks = make_escalation()
        await histories.record(make_recording(0, asks=asks), deadline=deadline)
        await answer(asks.id, EscalationState.DENIED)
        spooled = make_recording(2, reserves=asks.id, spooled_at=NOW)

        written = await histories.record(spooled, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert written is True
        assert history.traces[-1].action_id == spooled.trace.action_id

    async def test_a_spooled_change_reserves_an_approval_that_is_free_and_takes_none_away(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        asks = make_escalation()
        await histories.record(make_recording(0, asks=asks), deadline=deadline)
        await answer(asks.id, EscalationState.APPROVED)
        first, second = (make_recording(n, reserves=asks.id, spooled_at=NOW) for n in (2, 3))

        for spooled in (first, second):
            assert await histories.record(spooled, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert history.escalations[0].reserved_by == first.trace.action_id
        assert len(history.traces) == 3

    async def test_a_change_that_was_refused_after_all_frees_its_approval_and_moves_the_history(
        self, histories: Histories, answer: Answer, deadline: float
    ) -> None:
        asks = make_escalation()
        await histories.record(make_recording(0, asks=asks), deadline=deadline)
        await answer(asks.id, EscalationState.APPROVED)
        decision = {"verdict": "allow", "approval": {"escalation": asks.id, "decided_by": ALICE}}
        admitted = make_recording(2, reserves=asks.id, decision=decision)
        await histories.record(admitted, deadline=deadline)
        refused = refuse(admitted)

        for _ in range(2):
            assert await histories.record(refused, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        trace = history.traces[-1]
        assert history.escalations[0].reserved_by is None
        assert history.version == 4
        assert (trace.verdict, trace.status) == (Verdict.DENY, ExecutionStatus.BLOCKED)
        assert trace.approval is None

    async def test_a_change_that_was_refused_after_all_withdraws_what_it_opened_and_nothing_else(
        self, histories: Histories, deadline: float
    ) -> None:
        first, second, third = (make_trace() for _ in range(3))
        for version, trace, applied in ((0, first, False), (1, second, True), (2, third, False)):
            matching = (first.action_id, trace.action_id)
            opened = make_detection(matching=matching, prevention_applied=applied)
            recording = make_recording(version, trace=trace, opens=(opened,))
            await histories.record(recording, deadline=deadline)
        before = await histories.read(ask(), now=NOW, deadline=deadline)

        for trace in (first, second):
            refused = refuse(make_recording(None, trace=trace))
            await histories.record(refused, deadline=deadline)

        after = await histories.read(ask(), now=NOW, deadline=deadline)
        assert len(before.detections) == 3
        assert after.detections == before.detections[1:]
        assert after.coolings == ()

    async def test_labels_of_a_spooled_trace_do_not_replace_newer_ones(
        self, histories: Histories, deadline: float
    ) -> None:
        newer = make_recording(0, labels={"app": "new"})
        older = make_recording(
            1, labels={"app": "old"}, trace=make_trace(at=NOW - MINUTE), spooled_at=NOW
        )
        await histories.record(newer, deadline=deadline)

        await histories.record(older, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)
        assert history.labels == {"app": "new"}
