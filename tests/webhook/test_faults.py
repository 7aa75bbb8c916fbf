"""PostgreSQL gone, stalled or without a partition; bugs; contention: always an answer in time."""

import asyncio

import pytest
import structlog

from gate.domain.pattern import Mode
from gate.domain.policy import FailureMode
from gate.errors import MissingPartitionError, StorageUnavailableError
from tests.fakes.histories import MemoryHistories
from tests.reviews import AGENT, StoredWorkload
from tests.webhook.gateway import Gateway, running_gateway
from tests.webhook.stores import (
    BuggyHistories,
    ContendedHistories,
    DeafHistories,
    ReadOnlyHistories,
    StalledHistories,
)
from tests.webhook.tls import TestAuthority


async def answered_after(gateway: Gateway, *, limit: str) -> tuple[dict[str, object], float]:
    """Send a review and return its response, and how many seconds it took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    reply = await gateway.send(StoredWorkload().scale(3), limit=limit)
    return reply.response, loop.time() - started


async def test_stalled_database_admits_with_a_warning_before_the_deadline(
    authority: TestAuthority,
) -> None:
    async with running_gateway(authority, histories=StalledHistories()) as gateway:
        with structlog.testing.capture_logs() as lines:
            response, took = await answered_after(gateway, limit="1s")

    assert response == {
        "uid": response["uid"],
        "allowed": True,
        "warnings": [
            "gate: admitted without a check, not recorded: PostgreSQL did not answer in time"
        ],
        "auditAnnotations": {"verdict": "undecided"},
    }
    assert 0.4 < took < 0.75
    assert gateway.count("gate_admission_failures_total", stage="undecided") == 1
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("admission.undecided", "error")
    assert (line["workload"], line["actor"]) == ("shop/Deployment/web", AGENT)
    assert line["failure"] == "PostgreSQL did not answer in time"


async def test_database_that_comes_back_in_time_is_used(authority: TestAuthority) -> None:
    histories = StalledHistories()
    async with (
        running_gateway(authority, histories=histories) as gateway,
        asyncio.TaskGroup() as group,
    ):
        asking = group.create_task(gateway.send(StoredWorkload().scale(3)))
        await histories.is_asked.wait()
        histories.answers.set()
        await asking

    assert "warnings" not in asking.result().response
    assert len(histories.recordings) == 1


async def test_review_that_forgets_its_deadline_is_cut_off_in_time(
    authority: TestAuthority,
) -> None:
    async with running_gateway(authority, histories=DeafHistories()) as gateway:
        response, took = await answered_after(gateway, limit="500ms")

    assert response["warnings"] == [
        "gate: admitted without a check, not recorded: the review was not finished before the API "
        "server's time-out"
    ]
    assert took < 0.5
    assert gateway.count("gate_admission_failures_total", stage="undecided") == 1


async def test_bug_admits_with_a_warning_and_is_never_a_500(authority: TestAuthority) -> None:
    async with running_gateway(authority, histories=BuggyHistories()) as gateway:
        with structlog.testing.capture_logs() as lines:
            reply = await gateway.send(StoredWorkload().scale(3))

    assert reply.status == 200
    assert reply.is_allowed
    assert reply.response["warnings"] == [
        "gate: admitted without a check, not recorded: an internal error, which gate's log "
        "describes"
    ]
    bug, admission = lines
    assert (bug["event"], bug["exception"]) == ("admission.failed", "RuntimeError")
    assert any("stores.py" in frame for frame in bug["where"])
    assert admission["event"] == "admission.undecided"


async def test_answer_stands_though_it_cannot_be_counted(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: float) -> None:
        raise RuntimeError("s3cr3t")

    monkeypatch.setattr(gateway.metrics.duration, "observe", fail)

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.send(StoredWorkload().scale(3))

    assert reply.is_allowed
    (line,) = lines
    assert (line["event"], line["exception"]) == ("admission.unaccounted", "RuntimeError")
    assert "s3cr3t" not in repr(line)


@pytest.mark.parametrize(
    "error",
    [
        StorageUnavailableError("PostgreSQL did not answer in time"),
        MissingPartitionError("no partition takes traces of 2026-11"),
    ],
)
async def test_change_that_cannot_be_recorded_is_still_decided(
    authority: TestAuthority, error: StorageUnavailableError | MissingPartitionError
) -> None:
    async with running_gateway(authority, histories=ReadOnlyHistories(error)) as gateway:
        with structlog.testing.capture_logs() as lines:
            reply = await gateway.send(StoredWorkload().scale(3))

    assert reply.is_allowed
    assert reply.response["warnings"] == [f"gate: decided, not recorded: {error}"]
    assert gateway.count("gate_admission_failures_total", stage="unrecorded") == 1
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("admission.allowed", "error")
    assert line["failure"] == str(error)


@pytest.mark.parametrize(
    "histories",
    [
        StalledHistories(),
        BuggyHistories(),
        DeafHistories(),
        ReadOnlyHistories(StorageUnavailableError("PostgreSQL did not answer in time")),
    ],
)
async def test_failure_mode_closed_refuses_what_cannot_be_decided_or_recorded(
    authority: TestAuthority, histories: MemoryHistories
) -> None:
    async with running_gateway(
        authority, histories=histories, failure_mode=FailureMode.CLOSED
    ) as gateway:
        response, took = await answered_after(gateway, limit="500ms")

    status = response["status"]
    assert isinstance(status, dict)
    assert response["allowed"] is False
    assert (status["code"], status["reason"]) == (403, "Forbidden")
    assert status["details"]["retryAfterSeconds"] == 5
    assert "refuses what it cannot decide here (failure mode closed)" in status["message"]
    assert took < 0.5


async def test_failure_mode_closed_refuses_nothing_in_audit_mode(authority: TestAuthority) -> None:
    async with running_gateway(
        authority,
        histories=StalledHistories(),
        mode=Mode.AUDIT,
        failure_mode=FailureMode.CLOSED,
    ) as gateway:
        response, _ = await answered_after(gateway, limit="500ms")

    assert response["allowed"] is True


async def test_contention_until_the_deadline_says_retry_in_a_second(
    authority: TestAuthority,
) -> None:
    async with running_gateway(authority, histories=ContendedHistories()) as gateway:
        response, took = await answered_after(gateway, limit="1s")

    (recording,) = gateway.histories.recordings
    reason = "Deployment shop/web is being changed by several requests at once; retry in 1 s"
    assert took < 1
    assert response["allowed"] is False
    assert response["status"] == {
        "status": "Failure",
        "code": 403,
        "reason": "Forbidden",
        "message": (
            "gate could not decide about Deployment shop/web: it is being changed by several "
            "requests at once.\nNothing is held against this change; retry in 1 s.\n"
            f"Trace: {recording.trace.action_id}"
        ),
        "details": {
            "name": "web",
            "group": "apps",
            "kind": "Deployment",
            "causes": [{"reason": "Contention", "message": reason, "field": ""}],
            "retryAfterSeconds": 1,
        },
    }


async def test_contention_in_audit_mode_admits_with_a_warning(authority: TestAuthority) -> None:
    histories = ContendedHistories()
    async with running_gateway(authority, histories=histories, mode=Mode.AUDIT) as gateway:
        response, _ = await answered_after(gateway, limit="1s")

    assert response["allowed"] is True
    assert response["warnings"] == [
        "gate (audit): would have been refused: Deployment shop/web is being changed by several "
        "requests at once; retry in 1 s"
    ]
