"""Series of changes on one workload, as an agent makes them."""

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from gate.domain.pattern import Strategy
from gate.domain.trace import ExecutionStatus, Verdict
from tests.reviews import StoredWorkload, make_body, next_uid
from tests.webhook.gateway import SCALE_OSCILLATION, Gateway, Reply, running_gateway
from tests.webhook.tls import TestAuthority

KINDS = [
    pytest.param("Deployment", "", id="deployment"),
    pytest.param("Deployment", "scale", id="deployment-scale"),
    pytest.param("StatefulSet", "", id="statefulset"),
    pytest.param("StatefulSet", "scale", id="statefulset-scale"),
]
SEEN = "replicas went 5 → 3 → 5 in 20 min, and 5 → 3 is reversal 2: penalty 1.89, threshold 1.50"


async def make(gateway: Gateway, workload: StoredWorkload, replicas: int) -> Reply:
    """Ask for a change of replicas, and store it if it is admitted."""
    review = workload.scale(replicas)
    reply = await gateway.send(review)
    if reply.is_allowed:
        workload.persist(review)
    return reply


async def oscillate(gateway: Gateway, workload: StoredWorkload) -> Reply:
    """Go 5 → 3 → 5 and ask for 3 again, ten minutes apart; return the last answer."""
    await make(gateway, workload, 3)
    gateway.clock.advance(minutes=10)
    await make(gateway, workload, 5)
    gateway.clock.advance(minutes=10)
    return await make(gateway, workload, 3)


@pytest.mark.parametrize(("kind", "subresource"), KINDS)
async def test_third_reversal_within_an_hour_is_refused(
    gateway: Gateway, kind: str, subresource: str
) -> None:
    reply = await oscillate(gateway, StoredWorkload(make_body(kind), subresource))

    denied = gateway.histories.recordings[-1].trace
    assert (denied.verdict, denied.status) == (Verdict.DENY, ExecutionStatus.BLOCKED)
    assert reply.status == 200
    assert "Retry-After" not in reply.headers
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.review == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": denied.request_uid,
            "allowed": False,
            "status": {
                "status": "Failure",
                "code": 403,
                "reason": "Forbidden",
                "message": (
                    f"gate refused this change of {kind} shop/web.\n"
                    f"Seen: scale-oscillation: {SEEN}.\n"
                    "Why it matters: every further swing starts another rollout and keeps the"
                    " workload from settling.\n"
                    "Retry: the same change is admitted from 2026-11-24T09:10:01Z (in 3001 s) if"
                    " nothing else changes it until then. An increase up to 10 replicas is admitted"
                    " all the same.\n"
                    "Otherwise: a person can make the change now with their own credentials; people"
                    " are never sent to gate.\n"
                    f"Trace: {denied.action_id}"
                ),
                "details": {
                    "name": "web",
                    "group": "apps",
                    "kind": kind,
                    "causes": [
                        {"reason": "ScaleOscillation", "message": SEEN, "field": "spec.replicas"}
                    ],
                    "retryAfterSeconds": 3001,
                },
            },
            "auditAnnotations": {
                "verdict": "deny",
                "mode": "enforce",
                "action-id": denied.action_id,
                "objection": "scale-oscillation: refuse until 2026-11-24T09:10:01Z",
            },
        },
    }


async def test_admitted_change_is_answered_with_nothing_but_its_audit_annotations(
    gateway: Gateway,
) -> None:
    reply = await make(gateway, StoredWorkload(), 3)

    trace = gateway.histories.recordings[0].trace
    assert reply.review == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": trace.request_uid,
            "allowed": True,
            "auditAnnotations": {
                "verdict": "allow",
                "mode": "enforce",
                "action-id": trace.action_id,
            },
        },
    }


async def test_refused_change_is_admitted_at_the_promised_second_and_not_before(
    gateway: Gateway,
) -> None:
    workload = StoredWorkload()
    refused = await oscillate(gateway, workload)
    wait = refused.response["status"]["details"]["retryAfterSeconds"]

    gateway.clock.advance(seconds=wait - 1)
    too_early = await make(gateway, workload, 3)
    gateway.clock.advance(seconds=1)
    in_time = await make(gateway, workload, 3)

    assert not too_early.is_allowed
    assert in_time.is_allowed


async def test_increase_out_of_an_oscillation_is_admitted_with_a_warning(gateway: Gateway) -> None:
    workload = StoredWorkload()
    await oscillate(gateway, workload)

    reply = await make(gateway, workload, 8)

    assert reply.is_allowed
    assert reply.response["warnings"] == [
        "gate: admitted, but shop/web oscillates: a reduction of replicas is refused until "
        "2026-11-24T09:10:01Z"
    ]


async def test_increase_beyond_twice_what_was_held_is_refused(gateway: Gateway) -> None:
    workload = StoredWorkload()
    await oscillate(gateway, workload)

    reply = await make(gateway, workload, 11)

    assert not reply.is_allowed


async def test_refusal_that_escalates_names_the_escalation_that_is_on_record(
    authority: TestAuthority,
) -> None:
    pattern = replace(SCALE_OSCILLATION, strategy=Strategy.ESCALATE_HUMAN)
    async with running_gateway(authority, patterns=(pattern,)) as gateway:
        reply = await oscillate(gateway, StoredWorkload())

    asked = gateway.histories.recordings[-1].asks
    assert not reply.is_allowed
    assert asked is not None
    assert f"a person is asked ({asked.id})" in reply.response["status"]["message"]


async def test_audit_mode_admits_and_says_what_would_have_happened(auditing: Gateway) -> None:
    reply = await oscillate(auditing, StoredWorkload())

    assert reply.is_allowed
    assert "status" not in reply.response
    assert reply.response["warnings"] == [
        f"gate (audit): would have been refused for 3001 s: scale-oscillation of shop/web: {SEEN}"
    ]
    assert reply.response["auditAnnotations"] == {
        "verdict": "allow",
        "mode": "audit",
        "action-id": auditing.histories.recordings[-1].trace.action_id,
        "objection": "scale-oscillation: would refuse until 2026-11-24T09:10:01Z",
    }
    (detection,) = auditing.histories.recordings[-1].opens
    assert not detection.prevention_applied


async def test_dry_run_is_judged_and_answered_and_writes_nothing(gateway: Gateway) -> None:
    workload = StoredWorkload()
    await make(gateway, workload, 3)
    gateway.clock.advance(minutes=10)
    await make(gateway, workload, 5)
    gateway.clock.advance(minutes=10)

    reply = await gateway.send(workload.scale(3, dry_run=True))

    assert not reply.is_allowed
    assert reply.response["status"]["message"].endswith("\nDry run: nothing is recorded.")
    assert "action-id" not in reply.response["auditAnnotations"]
    assert len(gateway.histories.recordings) == 2
    assert gateway.histories.repetitions == []


async def test_refused_attempts_do_not_extend_the_wait(gateway: Gateway) -> None:
    workload = StoredWorkload()
    first = await oscillate(gateway, workload)

    for _ in range(5):
        gateway.clock.advance(minutes=1)
        again = await make(gateway, workload, 3)

    until = re.compile(r"admitted from (\S+)")
    (promised,), (repeated,) = (
        until.findall(reply.response["status"]["message"]) for reply in (first, again)
    )
    assert promised == repeated


async def test_same_review_delivered_twice_is_one_trace(gateway: Gateway) -> None:
    review = StoredWorkload().scale(3)

    first, second = await gateway.send(review), await gateway.send(review)

    assert first.is_allowed
    assert second.is_allowed
    (recording,) = gateway.histories.recordings
    assert gateway.histories.attempts[recording.trace.action_id] == 2


@pytest.mark.parametrize(("kind", "subresource"), KINDS)
async def test_same_user_request_invoked_again_with_new_uids_is_one_trace(
    gateway: Gateway, kind: str, subresource: str
) -> None:
    review = StoredWorkload(make_body(kind), subresource).scale(3)

    replies = []
    for _ in range(5):
        review["request"]["uid"] = next_uid()
        replies.append(await gateway.send(review))
        gateway.clock.advance(seconds=1)

    assert all(reply.is_allowed for reply in replies)
    (recording,) = gateway.histories.recordings
    assert gateway.histories.attempts[recording.trace.action_id] == 5
    assert {reply.response["auditAnnotations"]["action-id"] for reply in replies} == {
        recording.trace.action_id
    }


async def test_refused_request_invoked_again_is_one_trace_and_one_verdict(
    gateway: Gateway,
) -> None:
    workload = StoredWorkload()
    await oscillate(gateway, workload)
    review = workload.scale(3)

    replies = []
    for _ in range(5):
        review["request"]["uid"] = next_uid()
        gateway.clock.advance(seconds=1)
        replies.append(await gateway.send(review))

    assert not any(reply.is_allowed for reply in replies)
    assert len(gateway.histories.recordings) == 3
    assert gateway.histories.attempts[gateway.histories.recordings[-1].trace.action_id] == 6


async def test_change_made_undone_by_a_person_and_made_again_is_two_traces(
    gateway: Gateway,
) -> None:
    workload = StoredWorkload()
    await make(gateway, workload, 3)
    gateway.clock.advance(seconds=3)
    workload.persist(workload.scale(5))
    gateway.clock.advance(seconds=3)

    again = await make(gateway, workload, 3)

    assert again.is_allowed
    assert len(gateway.histories.recordings) == 2


async def test_person_is_admitted_counted_as_unrecognised_and_leaves_no_trace(
    gateway: Gateway,
) -> None:
    workload = StoredWorkload()
    await oscillate(gateway, workload)
    before = len(gateway.histories.recordings)

    reply = await gateway.send(workload.scale(3, user="kubernetes-admin"))

    assert reply.response == {"uid": reply.response["uid"], "allowed": True}
    assert len(gateway.histories.recordings) == before
    assert gateway.count("gate_admission_unrecognised_actors_total") == 1


async def test_fifty_concurrent_requests_are_each_answered_and_recorded_once(
    gateway: Gateway,
) -> None:
    workloads = [StoredWorkload(make_body(name=f"web-{index}")) for index in range(50)]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(make(gateway, workload, 3)) for workload in workloads]

    assert all(task.result().is_allowed for task in tasks)
    assert {recording.key.name for recording in gateway.histories.recordings} == {
        f"web-{index}" for index in range(50)
    }


async def test_fifty_concurrent_values_on_one_workload_lose_no_trace(gateway: Gateway) -> None:
    workload = StoredWorkload()
    reviews = [workload.scale(replicas) for replicas in range(10, 60)]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(gateway.send(review)) for review in reviews]

    assert {task.result().status for task in tasks} == {200}
    assert len(gateway.histories.recordings) == 50
    versions = [recording.expected_version for recording in gateway.histories.recordings]
    assert versions == list(range(50))


async def test_clock_set_back_five_minutes_orders_by_version(gateway: Gateway) -> None:
    workload = StoredWorkload()
    await make(gateway, workload, 3)
    gateway.clock.now -= timedelta(minutes=5)
    await make(gateway, workload, 5)
    gateway.clock.now -= timedelta(minutes=5)

    reply = await make(gateway, workload, 3)

    assert not reply.is_allowed
    assert "in less than 1 s" in reply.response["status"]["message"]


async def test_reviews_are_counted_by_what_was_asked_and_answered(gateway: Gateway) -> None:
    await oscillate(gateway, StoredWorkload(subresource="scale"))

    counted = {
        verdict: gateway.count(
            "gate_admission_reviews_total",
            operation="UPDATE",
            kind="Deployment",
            verdict=verdict,
            mode="enforce",
        )
        for verdict in ("allow", "deny")
    }
    assert counted == {"allow": 2, "deny": 1}
    assert gateway.count("gate_admission_duration_seconds_count") == 3
