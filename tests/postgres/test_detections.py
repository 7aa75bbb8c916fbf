"""The open detections of a cluster, as they are read for the time of an outage."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.pattern import Mode, PatternType, Strategy
from gate.domain.trace import OpenDetection
from gate.ports.detections import KnownDetection
from gate.postgres.detections import PostgresDetections
from gate.postgres.histories import PostgresHistories
from gate.postgres.pool import Pool
from tests.postgres.records import (
    AGENT,
    DATABASE,
    NOW,
    WEB,
    ask,
    make_detection,
    make_recording,
)

SOON, LATER = NOW + timedelta(minutes=30), NOW + timedelta(minutes=60)


@pytest.fixture
def detections(pool: Pool) -> PostgresDetections:
    return PostgresDetections(pool)


@pytest.fixture
def histories(pool: Pool) -> PostgresHistories:
    return PostgresHistories(pool)


async def test_what_binds_is_listed_with_its_workload_and_as_a_review_would_read_it(
    detections: PostgresDetections, histories: PostgresHistories, deadline: float
) -> None:
    new = make_detection(until=SOON)
    await histories.record(make_recording(0, opens=(new,)), deadline=deadline)

    (known,) = await detections.list_open_detections("prod", now=NOW)

    history = await histories.read(ask(), now=NOW, deadline=deadline)
    assert known == KnownDetection(WEB, history.detections[0])
    assert known.detection == OpenDetection(
        id=known.detection.id,
        pattern_id=1,
        pattern_type=PatternType.SCALE_OSCILLATION,
        evidence_kind="reversal",
        fields=("replicas",),
        until=SOON,
        mode=Mode.ENFORCE,
        prevention_applied=True,
        summary="replicas went 5 → 3 → 5",
        strategy=Strategy.COOLING_PERIOD,
    )


async def test_those_that_last_longest_come_first(
    detections: PostgresDetections, histories: PostgresHistories, deadline: float
) -> None:
    for key, until in ((WEB, SOON), (DATABASE, LATER)):
        recording = make_recording(0, key=key, opens=(make_detection(until=until),))
        await histories.record(recording, deadline=deadline)

    listed = await detections.list_open_detections("prod", now=NOW)

    assert [(known.key, known.detection.until) for known in listed] == [
        (DATABASE, LATER),
        (WEB, SOON),
    ]


async def test_what_has_ended_is_audited_or_another_clusters_is_not_listed(
    detections: PostgresDetections, histories: PostgresHistories, deadline: float
) -> None:
    elsewhere = replace(WEB, cluster="test")
    for key, new in (
        (WEB, make_detection(until=SOON)),
        (DATABASE, replace(make_detection(until=LATER), mode=Mode.AUDIT)),
        (elsewhere, make_detection(until=LATER)),
    ):
        await histories.record(make_recording(0, key=key, opens=(new,)), deadline=deadline)

    assert await detections.list_open_detections("prod", now=SOON) == []


async def test_one_that_binds_an_actor_says_so_and_one_of_an_action_type_too(
    detections: PostgresDetections, histories: PostgresHistories, deadline: float
) -> None:
    bound = replace(make_detection(pattern_id=4), bound_actor=AGENT.name)
    loop = make_detection(pattern_id=3)
    loop = replace(loop, evidence={**loop.evidence, "action_type": "restart_deployment"})
    await histories.record(make_recording(0, opens=(bound,)), deadline=deadline)
    await histories.record(make_recording(0, key=DATABASE, opens=(loop,)), deadline=deadline)

    listed = await detections.list_open_detections("prod", now=NOW)

    assert {known.key: known.detection.actor for known in listed} == {
        WEB: AGENT.name,
        DATABASE: None,
    }
    assert {known.key: known.detection.action_type for known in listed} == {
        WEB: None,
        DATABASE: "restart_deployment",
    }


async def test_one_that_cannot_be_understood_takes_nothing_from_the_others(
    detections: PostgresDetections, histories: PostgresHistories, pool: Pool, deadline: float
) -> None:
    for key in (WEB, DATABASE):
        recording = make_recording(0, key=key, opens=(make_detection(),))
        await histories.record(recording, deadline=deadline)
    await pool.execute("UPDATE oscillation_detections SET prevention_details = '{}' WHERE id = 1")

    (known,) = await detections.list_open_detections("prod", now=NOW)

    assert known.key == DATABASE
