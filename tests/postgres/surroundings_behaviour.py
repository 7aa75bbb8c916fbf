"""What every implementation of `Histories` reads of the changes and refusals around a workload."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.change import ActionType
from gate.domain.context import Context
from gate.domain.pattern import Mode, Strategy
from gate.domain.record import Recording
from gate.domain.trace import Cooling, Nearby, Trace, Verdict
from gate.domain.workload import Kind, WorkloadKey
from gate.ports.histories import Histories
from tests.postgres.records import (
    AGENT,
    DATABASE,
    NOW,
    WEB,
    ask,
    make_detection,
    make_recording,
    make_trace,
)

MINUTE = timedelta(minutes=1)
ELSEWHERE = replace(WEB, namespace="other")
ANOTHER_CLUSTER = replace(WEB, cluster="staging")
STRANGER = "system:serviceaccount:ai-agents:stranger"


def around(key: WorkloadKey, trace: Trace) -> Nearby:
    return Nearby(
        key=key,
        action_id=trace.action_id,
        at=trace.seen.at,
        actor=trace.actor,
        action_type=trace.action_type,
        status=trace.status,
        error=trace.error,
    )


def recorded(key: WorkloadKey, *, at: datetime, actor: str = AGENT.name) -> Recording:
    return make_recording(0, key=key, trace=make_trace(at=at, actor=actor))


class SurroundingsBehaviour:
    """The suite; a subclass provides the fixture `histories`."""

    async def test_the_actors_changes_of_any_workload_in_the_namespace_come_oldest_first(
        self, histories: Histories, deadline: float
    ) -> None:
        later, earlier = recorded(WEB, at=NOW), recorded(DATABASE, at=NOW - MINUTE)
        for recording in (
            later,
            earlier,
            recorded(ELSEWHERE, at=NOW),
            recorded(ANOTHER_CLUSTER, at=NOW),
            recorded(replace(WEB, name="api"), at=NOW, actor=STRANGER),
        ):
            await histories.record(recording, deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert history.nearby == (around(DATABASE, earlier.trace), around(WEB, later.trace))

    async def test_changes_of_others_with_the_correlation_id_are_among_them(
        self, histories: Histories, deadline: float
    ) -> None:
        own = recorded(WEB, at=NOW)
        related = replace(
            recorded(DATABASE, at=NOW + MINUTE, actor=STRANGER),
            context=Context(correlation_id="incident-7"),
        )
        for recording in (own, related, recorded(ELSEWHERE, at=NOW, actor=STRANGER)):
            await histories.record(recording, deadline=deadline)

        question = ask(correlation_id="incident-7")
        history = await histories.read(question, now=NOW + MINUTE, deadline=deadline)
        without = await histories.read(ask(), now=NOW + MINUTE, deadline=deadline)

        assert history.nearby == (around(WEB, own.trace), around(DATABASE, related.trace))
        assert without.nearby == (around(WEB, own.trace),)

    @pytest.mark.parametrize(
        "trace",
        [
            make_trace(verdict=Verdict.DENY),
            make_trace(action_type=ActionType.CREATE_WORKLOAD),
            make_trace(action_type=ActionType.UPDATE_METADATA),
            make_trace(at=NOW - timedelta(days=1, milliseconds=1)),
        ],
        ids=["refused", "creation", "metadata", "old"],
    )
    async def test_what_can_leave_nothing_unhealthy_is_not_among_them(
        self, histories: Histories, deadline: float, trace: Trace
    ) -> None:
        await histories.record(make_recording(0, trace=trace), deadline=deadline)

        history = await histories.read(ask(DATABASE), now=NOW, deadline=deadline)

        assert history.nearby == ()

    async def test_a_workload_that_is_changed_all_the_time_keeps_no_other_out_of_sight(
        self, histories: Histories, deadline: float
    ) -> None:
        quiet = recorded(DATABASE, at=NOW)
        await histories.record(quiet, deadline=deadline)
        for number in range(100):
            trace = make_trace(at=NOW + (1 + number) * MINUTE)
            await histories.record(make_recording(number, trace=trace), deadline=deadline)

        history = await histories.read(ask(), now=NOW + 101 * MINUTE, deadline=deadline)

        assert history.nearby == (around(DATABASE, quiet.trace), around(WEB, trace))
        assert history.nearby_since is None

    async def test_of_many_changes_around_the_newest_256_are_read(
        self, histories: Histories, deadline: float
    ) -> None:
        for number in range(260):
            key = WorkloadKey("prod", "shop", Kind.DEPLOYMENT, f"w{number}")
            await histories.record(recorded(key, at=NOW - number * MINUTE), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        assert [change.key.name for change in history.nearby] == [
            f"w{number}" for number in reversed(range(256))
        ]
        assert history.nearby_since == NOW - 255 * MINUTE

    async def test_a_detection_that_binds_an_actor_binds_it_in_the_whole_namespace(
        self, histories: Histories, deadline: float
    ) -> None:
        detection = make_detection(bound_actor=AGENT.name)
        await histories.record(make_recording(0, opens=(detection,)), deadline=deadline)

        async def is_bound(key: WorkloadKey, actor: str = AGENT.name) -> bool:
            history = await histories.read(ask(key, actor=actor), now=NOW, deadline=deadline)
            return [open_.actor for open_ in history.detections] == [AGENT.name]

        assert await is_bound(WEB)
        assert await is_bound(WEB, STRANGER)  # it is the workload's own detection too
        assert await is_bound(DATABASE)
        assert not await is_bound(DATABASE, STRANGER)
        assert not await is_bound(ELSEWHERE)
        assert not await is_bound(ANOTHER_CLUSTER)

    async def test_a_detection_says_what_it_binds_and_by_which_strategy(
        self, histories: Histories, deadline: float
    ) -> None:
        detection = make_detection()
        detection = replace(
            detection,
            evidence={**detection.evidence, "action_type": "scale_deployment"},
            prevention_details={"strategy": "escalate-human", "response": "refuse"},
        )
        await histories.record(make_recording(0, opens=(detection,)), deadline=deadline)

        history = await histories.read(ask(), now=NOW, deadline=deadline)

        (found,) = history.detections
        assert found.action_type == ActionType.SCALE_DEPLOYMENT
        assert found.strategy is Strategy.ESCALATE_HUMAN
        assert found.actor is None

    async def test_refusals_of_the_past_are_read_newest_first_for_seven_days(
        self, histories: Histories, deadline: float
    ) -> None:
        def past(days: float) -> Cooling:
            began = NOW - timedelta(days=days)
            return Cooling(1, began, began + 30 * MINUTE)

        def applied(cooling: Cooling) -> Recording:
            detection = make_detection(detected_at=cooling.detected_at, until=cooling.until)
            trace = make_trace(at=cooling.detected_at)
            return make_recording(None, trace=trace, opens=(detection,))

        for cooling in (past(8), past(6), past(1), past(0)):
            await histories.record(applied(cooling), deadline=deadline)

        now = await histories.read(ask(), now=NOW, deadline=deadline)
        later = await histories.read(ask(), now=NOW + 30 * MINUTE, deadline=deadline)

        assert now.coolings == (past(1), past(6))
        assert later.coolings == (past(0), past(1), past(6))

    @pytest.mark.parametrize(
        ("prevention_applied", "mode"), [(False, Mode.ENFORCE), (True, Mode.AUDIT)]
    )
    async def test_what_refused_nothing_is_no_refusal_of_the_past(
        self, histories: Histories, deadline: float, *, prevention_applied: bool, mode: Mode
    ) -> None:
        detection = make_detection(
            until=NOW + MINUTE, prevention_applied=prevention_applied, mode=mode
        )
        await histories.record(make_recording(0, opens=(detection,)), deadline=deadline)

        history = await histories.read(ask(), now=NOW + 2 * MINUTE, deadline=deadline)

        assert history.coolings == ()

    async def test_of_many_refusals_the_newest_32_are_read(
        self, histories: Histories, deadline: float
    ) -> None:
        for number in range(40):
            at = NOW - number * 60 * MINUTE
            detection = make_detection(detected_at=at, until=at + MINUTE)
            recording = make_recording(None, trace=make_trace(at=at), opens=(detection,))
            await histories.record(recording, deadline=deadline)

        history = await histories.read(ask(), now=NOW + MINUTE, deadline=deadline)

        assert len(history.coolings) == 32
        assert history.coolings[0].detected_at == NOW
