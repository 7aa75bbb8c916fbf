"""Traces from the disk to the database: in order, once, and none in the way of another."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gate.domain.record import Recording
from gate.domain.trace import ExecutionStatus, Verdict
from gate.errors import StorageUnavailableError
from gate.ports import Spool
from gate.services.readiness import Readiness
from gate.services.spooling import SpoolKeeper
from gate.spool.absent import AbsentSpool
from gate.spool.store import FileSpool
from gate.telemetry import Metrics
from tests.postgres.records import DATABASE, NOW, WEB
from tests.spool.database import AWAY, Database
from tests.spool.disks import MIB, make_spooled, soon


class Kept:
    """A keeper with all that it works on."""

    def __init__(self, spool: Spool, database: Database) -> None:
        self.spool, self.database = spool, database
        self.metrics, self.readiness, self.now = Metrics(), Readiness(), NOW
        self.keeper = SpoolKeeper(
            spool,
            database,
            max_age=timedelta(hours=1),
            clock=lambda: self.now,
            metrics=self.metrics,
            readiness=self.readiness,
        )

    async def append(self, *recordings: Recording) -> None:
        for recording in recordings:
            assert await self.keeper.append(recording, deadline=soon()) is None

    def exposes(self, line: str) -> bool:
        return f"{line}\n".encode() in self.metrics.expose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
async def kept(path: Path) -> AsyncIterator[Kept]:
    kept = Kept(FileSpool(path, max_bytes=MIB), Database())
    await kept.keeper.open()
    yield kept
    await kept.spool.close()


def ids(*recordings: Recording) -> list[str]:
    return [recording.trace.action_id for recording in recordings]


async def test_what_waits_is_written_in_order_on_the_versions_of_today(kept: Kept) -> None:
    kept.database.versions[WEB] = 41
    web, database = [make_spooled() for _ in range(70)], [make_spooled(DATABASE) for _ in range(3)]
    await kept.append(*web, *database)

    await kept.keeper.run_once()

    assert kept.database.ids(WEB) == ids(*web)
    assert kept.database.ids(DATABASE) == ids(*database)
    written = [kept.database.traces[action_id] for action_id in kept.database.ids(WEB)]
    assert [one.expected_version for one in written] == list(range(41, 111))
    assert [one.trace.version for one in written] == list(range(42, 112))
    assert all(one.spooled_at == NOW for one in written)
    assert kept.spool.list_keys() == ()
    assert kept.exposes("gate_spool_entries 0.0")


async def test_a_trace_that_was_not_spooled_before_is_marked_with_the_instant(kept: Kept) -> None:
    await kept.append(replace(make_spooled(), spooled_at=None))
    kept.now = NOW + timedelta(minutes=5)
    await kept.keeper.run_once()

    (written,) = kept.database.traces.values()
    assert written.spooled_at == NOW


async def test_a_version_that_moves_meanwhile_is_read_again(kept: Kept) -> None:
    races = 3

    async def race(_: Recording) -> None:
        nonlocal races
        if races:
            races -= 1
            kept.database.versions[WEB] += 1

    kept.database.before_write = race
    await kept.append(make_spooled(), make_spooled())

    await kept.keeper.run_once()

    assert kept.database.versions[WEB] == 5
    assert len(kept.database.traces) == 2


async def test_a_reply_that_was_lost_leaves_one_trace_with_the_verdict_that_was_answered(
    kept: Kept,
) -> None:
    recording = make_spooled()
    kept.database.traces[recording.trace.action_id] = recording
    denied = replace(
        recording,
        trace=replace(recording.trace, verdict=Verdict.DENY, status=ExecutionStatus.BLOCKED),
    )
    await kept.append(denied)

    await kept.keeper.run_once()

    (written,) = kept.database.traces.values()
    assert written.trace.verdict is Verdict.DENY
    assert written.trace.status is ExecutionStatus.BLOCKED


async def test_replaying_twice_changes_nothing(kept: Kept, path: Path) -> None:
    recordings = [make_spooled() for _ in range(5)]
    await kept.append(*recordings)
    kept.database.loses_replies = True
    with pytest.raises(StorageUnavailableError):
        await kept.keeper.run_once()
    kept.database.loses_replies = False
    await kept.spool.close()
    copies = {file: file.read_bytes() for file in path.glob("*.spool")}
    for _ in range(2):
        for file, content in copies.items():
            file.write_bytes(content)
        again = Kept(FileSpool(path, max_bytes=MIB), kept.database)
        await again.keeper.run_once()
        await again.spool.close()

        assert kept.database.ids(WEB) == ids(*recordings)
        assert kept.database.versions[WEB] == 5


async def test_a_denial_for_contention_is_written_without_a_version(kept: Kept) -> None:
    recording = make_spooled()
    denied = replace(recording, trace=replace(recording.trace, verdict=Verdict.DENY))
    await kept.append(denied)

    await kept.keeper.run_once()

    assert kept.database.ids(WEB) == ids(denied)
    assert kept.database.versions[WEB] == 0


async def test_a_database_that_is_away_loses_nothing_and_is_asked_little(kept: Kept) -> None:
    kept.database.is_away = True
    keys = [replace(WEB, name=f"web-{number}") for number in range(50)]
    await kept.append(*(make_spooled(key) for key in keys))

    with pytest.raises(StorageUnavailableError, match=AWAY):
        await kept.keeper.run_once()

    assert kept.database.calls <= 10
    assert kept.exposes("gate_spool_entries 50.0")
    kept.database.is_away = False
    await kept.keeper.run_once()
    assert len(kept.database.traces) == 50


async def test_a_trace_that_never_fits_is_set_aside_and_those_after_it_are_written(
    kept: Kept, path: Path
) -> None:
    first, poisoned, last = make_spooled(), make_spooled(), make_spooled()
    kept.database.refused = {poisoned.trace.action_id}
    await kept.append(first, poisoned, last)

    await kept.keeper.run_once()

    assert kept.database.ids(WEB) == ids(first, last)
    (file,) = path.glob("*.refused")
    assert poisoned.trace.action_id in file.read_text()
    assert kept.exposes('gate_spool_failures_total{reason="refused"} 1.0')
    assert str(file) in kept.readiness.describe_notes()["spool losses"]
    assert kept.readiness.describe() == {}


async def test_a_trace_without_a_partition_waits_until_there_is_one_and_is_reported_once(
    kept: Kept,
) -> None:
    unplaced, other = make_spooled(), make_spooled()
    kept.database.unplaced = {unplaced.trace.action_id}
    await kept.append(unplaced, other)
    for _ in range(3):
        await kept.keeper.run_once()

    assert kept.database.ids(WEB) == ids(other)
    assert kept.exposes('gate_spool_failures_total{reason="refused"} 1.0')
    kept.database.unplaced = set()
    await kept.keeper.run_once()
    assert kept.database.ids(WEB) == ids(other, unplaced)


async def test_a_locked_workload_keeps_no_other_waiting(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.services.spooling._PATIENCE", 0.2)
    keys = [replace(WEB, name=f"web-{number}") for number in range(30)]
    kept.database.locked = set(keys[:10])
    await kept.append(*(make_spooled(key) for key in keys))

    for _ in range(2):
        with pytest.raises(StorageUnavailableError):
            await kept.keeper.run_once()

    assert len(kept.database.traces) == 20
    assert set(kept.spool.list_keys()) == kept.database.locked


async def test_one_workload_is_flushed_on_demand_before_its_next_decision(kept: Kept) -> None:
    web, database = make_spooled(), make_spooled(DATABASE)
    await kept.append(web, database)

    await kept.keeper.flush(WEB, deadline=soon())
    calls = kept.database.calls
    await kept.keeper.flush(WEB, deadline=soon())

    assert kept.database.ids(WEB) == ids(web)
    assert kept.database.ids(DATABASE) == []
    assert kept.database.calls == calls


async def test_flushes_of_one_workload_at_once_write_each_trace_once(kept: Kept) -> None:
    recordings = [make_spooled() for _ in range(10)]
    await kept.append(*recordings)

    await asyncio.gather(*(kept.keeper.flush(WEB, deadline=soon()) for _ in range(5)))

    assert kept.database.ids(WEB) == ids(*recordings)
    assert kept.database.calls == 20


async def test_a_flush_ends_by_its_deadline_with_an_outage(kept: Kept) -> None:
    kept.database.locked = {WEB}
    await kept.append(make_spooled())
    deadline = soon(0.1)

    with pytest.raises(StorageUnavailableError):
        await kept.keeper.flush(WEB, deadline=deadline)

    assert soon(0) < deadline + 1
    assert kept.spool.holds(WEB)


async def test_the_newest_that_wait_of_a_workload_can_be_looked_at(kept: Kept) -> None:
    recordings = [make_spooled() for _ in range(70)]
    await kept.append(*recordings)

    assert await kept.keeper.list_waiting(WEB, deadline=soon()) == tuple(recordings[-64:])
    assert await kept.keeper.list_waiting(DATABASE, deadline=soon()) == ()


async def test_the_end_is_a_last_attempt_within_its_time_and_the_rest_is_there_again(
    kept: Kept, path: Path
) -> None:
    web, database = make_spooled(), make_spooled(DATABASE)
    await kept.append(web, database)
    kept.database.locked = {WEB}
    deadline = soon(0.3)

    await kept.keeper.close(deadline=deadline)

    assert soon(0) < deadline + 1
    assert kept.database.ids(DATABASE) == ids(database)
    kept.database.locked = set()
    again = Kept(FileSpool(path, max_bytes=MIB), kept.database)
    await again.keeper.run_once()
    await again.keeper.close(deadline=soon())
    assert kept.database.ids(WEB) == ids(web)


async def test_what_waited_beyond_its_age_is_counted_and_said(kept: Kept) -> None:
    kept.database.is_away = True
    await kept.append(make_spooled())
    kept.now = NOW + timedelta(hours=1, seconds=1)

    await kept.keeper.run_once()

    assert kept.exposes('gate_spool_failures_total{reason="expired"} 1.0')
    assert kept.exposes("gate_spool_entries 0.0")
    assert "spool_max_age_hours" in kept.readiness.describe_notes()["spool losses"]


async def test_a_full_spool_is_counted_said_by_readiness_and_over_with_the_next_success(
    path: Path,
) -> None:
    kept = Kept(FileSpool(path, max_bytes=16 * 1024), Database())
    await kept.keeper.open()
    while (problem := await kept.keeper.append(make_spooled(), deadline=soon())) is None:
        pass

    assert kept.exposes('gate_spool_failures_total{reason="full"} 1.0')
    assert kept.readiness.describe_notes() == {"spool": problem.message}
    assert kept.readiness.describe() == {}

    await kept.keeper.run_once()
    await kept.append(make_spooled())
    assert kept.readiness.describe_notes() == {}
    await kept.spool.close()


async def test_a_spool_that_cannot_be_opened_is_reported_once_and_tried_again(
    path: Path,
) -> None:
    path.write_text("in the way")
    kept = Kept(FileSpool(path, max_bytes=MIB), Database())
    for _ in range(3):
        await kept.keeper.run_once()

    assert kept.exposes('gate_spool_failures_total{reason="unwritable"} 1.0')
    assert "make it a directory" in kept.readiness.describe_notes()["spool"]

    path.unlink()
    await kept.keeper.run_once()
    assert kept.readiness.describe_notes() == {}
    await kept.append(make_spooled())
    await kept.spool.close()


async def test_without_a_spool_a_lost_trace_is_counted_and_said() -> None:
    kept = Kept(AbsentSpool(), Database())
    await kept.keeper.run_once()
    assert kept.readiness.describe_notes() == {}

    problem = await kept.keeper.append(make_spooled(), deadline=soon())

    assert problem is not None
    assert "GATE_SPOOL_DIR" in problem.message
    assert kept.exposes('gate_spool_failures_total{reason="absent"} 1.0')
    await kept.keeper.flush(WEB, deadline=soon())
    await kept.keeper.close(deadline=soon())


async def test_for_how_long_the_oldest_has_been_waiting_is_a_metric(kept: Kept) -> None:
    kept.database.is_away = True
    await kept.append(make_spooled(), make_spooled(DATABASE))
    kept.now = later = NOW + timedelta(seconds=90)

    with pytest.raises(StorageUnavailableError):
        await kept.keeper.run_once()

    assert isinstance(later, datetime)
    assert kept.exposes("gate_spool_oldest_seconds 90.0")
