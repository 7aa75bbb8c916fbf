"""What agents meet while the database is away, and what it has on record once it is back."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gate.domain.escalation import EscalationState
from gate.domain.pattern import Mode, Scope, Strategy
from gate.domain.policy import FailureMode
from gate.domain.record import Write
from gate.domain.trace import History, Verdict
from gate.errors import StorageUnavailableError
from gate.ports.histories import Question
from gate.ports.policy import DeclaredModes
from gate.services.reviewed import Stage
from gate.spool.store import FileSpool
from tests.fakes.histories import MemoryHistories
from tests.timeline import (
    SCALE_OSCILLATION,
    Outcome,
    Step,
    Timeline,
    minute,
    start_timeline,
)

_AWAY = "PostgreSQL did not answer in time"
_DOWN_UP = (Step(0, 3), Step(10, 5))


class FlakyHistories(MemoryHistories):
    """A database that can be away, for reads and for writes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_readable = self.is_writable = True

    async def read(self, question: Question, *, now: datetime, deadline: float) -> History:
        if not self.is_readable:
            raise StorageUnavailableError(_AWAY)
        return await super().read(question, now=now, deadline=deadline)

    async def record(self, write: Write, *, deadline: float) -> bool:
        if not self.is_writable:
            raise StorageUnavailableError(_AWAY)
        return await super().record(write, deadline=deadline)

    def go(self) -> None:
        """Go away."""
        self.is_readable = self.is_writable = False

    def come_back(self) -> None:
        """Answer again."""
        self.is_readable = self.is_writable = True


@pytest.fixture
def histories() -> FlakyHistories:
    return FlakyHistories()


async def begin(histories: FlakyHistories, tmp_path: Path, **options: object) -> Timeline:
    """Return a workload of 5 replicas, and a replica with a disk to spool to."""
    spool = FileSpool(tmp_path / "spool", max_bytes=1_000_000)
    return await start_timeline(replicas=5, histories=histories, spool=spool, **options)  # type: ignore[arg-type]  # passed on


async def test_change_is_admitted_kept_and_on_record_before_the_next_is_decided(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    timeline = await begin(histories, tmp_path)
    histories.go()
    (first,) = await timeline.play([Step(0, 3)])
    histories.come_back()

    await timeline.play([Step(10, 5)])
    (third,) = await timeline.play([Step(20, 3)])

    assert first.reviewed.stage is Stage.UNDECIDED
    assert first.reviewed.answer.warnings == (
        f"gate: admitted without a check, recorded here until PostgreSQL takes it: {_AWAY}",
    )
    assert [r.spooled_at is not None for r in timeline.recordings] == [True, False, False]
    assert third.outcome is Outcome.REFUSED


async def test_loop_that_runs_in_an_outage_is_seen_by_the_replica_that_admits_it(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    timeline = await begin(histories, tmp_path)
    histories.go()

    events = await timeline.play([*_DOWN_UP, Step(20, 3), Step(21, 3)])

    assert [event.reviewed.answer.verdict for event in events] == [
        Verdict.ALLOW,
        Verdict.ALLOW,
        Verdict.DENY,
        Verdict.DENY,
    ]


async def test_request_that_comes_again_in_an_outage_is_one_trace(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    timeline = await begin(histories, tmp_path)
    histories.go()
    first = await timeline.scale(3, at=minute(0), persists=False)

    again = await timeline.scale(3, at=minute(0.1))
    histories.come_back()
    await timeline.scale(4, at=minute(10))

    assert again.reviewed.action_id == first.reviewed.action_id
    assert len(timeline.recordings) == 2


async def test_what_is_known_to_be_refused_stays_refused(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    timeline = await begin(histories, tmp_path)
    await timeline.play([*_DOWN_UP, Step(20, 3)])
    histories.go()

    (refused,) = await timeline.play([Step(21, 2)])

    assert refused.outcome is Outcome.REFUSED


async def test_refusal_that_could_not_be_written_is_known_all_the_same(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    timeline = await begin(histories, tmp_path)
    await timeline.play(_DOWN_UP)
    histories.is_writable = False
    (first,) = await timeline.play([Step(20, 3)])
    histories.go()

    (again,) = await timeline.play([Step(22, 2)])

    assert (first.outcome, again.outcome) == (Outcome.REFUSED, Outcome.REFUSED)
    assert first.reviewed.stage is Stage.SPOOLED


async def test_scale_is_bound_in_an_outage_though_it_shows_no_labels(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    pattern = replace(SCALE_OSCILLATION, scope=Scope(labels={"app": "web"}))
    timeline = await begin(histories, tmp_path, patterns=(pattern,))
    await timeline.play([*_DOWN_UP, Step(20, 3)])
    histories.go()
    timeline.subresource = "scale"

    (refused,) = await timeline.play([Step(21, 2)])

    assert refused.outcome is Outcome.REFUSED


async def test_label_that_is_dropped_in_the_same_change_frees_nobody(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    pattern = replace(SCALE_OSCILLATION, scope=Scope(labels={"app": "web"}))
    timeline = await begin(histories, tmp_path, patterns=(pattern,))
    await timeline.play(_DOWN_UP)

    def shrink_and_drop(body: dict[str, dict[str, object]]) -> None:
        body["spec"]["replicas"] = 3
        body["metadata"]["labels"] = {}

    event = await timeline.apply(shrink_and_drop, at=minute(20))

    assert event.outcome is Outcome.REFUSED


async def test_closed_refuses_and_keeps_a_refused_trace_that_opens_nothing(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    modes = DeclaredModes(mode=Mode.ENFORCE, failure_mode=FailureMode.CLOSED)
    timeline = await begin(histories, tmp_path, modes=modes)
    await timeline.play([Step(0, 7), Step(10, 5)])
    histories.is_writable = False

    (refused,) = await timeline.play([Step(20, 7)])
    histories.come_back()
    await timeline.play([Step(30, 6)])

    assert refused.outcome is Outcome.REFUSED
    assert "failure mode closed" in refused.reviewed.answer.message
    spooled = timeline.recordings[2]
    assert (spooled.trace.verdict, spooled.opens) == (Verdict.DENY, ())


async def test_dry_run_in_an_outage_keeps_nothing(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    timeline = await begin(histories, tmp_path)
    histories.go()
    await timeline.scale(3, at=minute(0), is_dry_run=True)
    histories.come_back()

    await timeline.scale(3, at=minute(10))

    assert [recording.spooled_at for recording in timeline.recordings] == [None]


async def test_approval_that_cannot_be_reserved_admits_nothing_and_stands(
    histories: FlakyHistories, tmp_path: Path
) -> None:
    pattern = replace(
        SCALE_OSCILLATION,
        strategy=Strategy.ESCALATE_HUMAN,
        escalation_lasts=timedelta(hours=1),
    )
    timeline = await begin(histories, tmp_path, patterns=(pattern,))
    await timeline.play([*_DOWN_UP, Step(20, 3)])
    asked = timeline.recordings[-1].asks
    assert asked is not None
    histories.answer_escalation(asked.id, EscalationState.APPROVED, by="alice")
    histories.is_writable = False
    (unreserved,) = await timeline.play([Step(25, 3)])
    histories.come_back()

    (admitted,) = await timeline.play([Step(26, 3)])
    (again,) = await timeline.play([Step(27, 2)])

    assert unreserved.outcome is Outcome.REFUSED
    assert "The approval stands; repeat the change as it is in 5 s." in (
        unreserved.reviewed.answer.message
    )
    assert admitted.outcome is Outcome.WARNED
    assert "admitted once, approved by alice" in admitted.reviewed.answer.warnings[0]
    assert again.outcome is Outcome.REFUSED
