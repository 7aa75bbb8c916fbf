"""What the spool could not keep, read or hand over: counted, said, and over when it is."""

import errno
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gate.errors import StorageUnavailableError
from gate.spool.absent import AbsentSpool
from gate.spool.directory import SpoolDirectory
from gate.spool.store import FileSpool
from tests.postgres.records import DATABASE, NOW, WEB
from tests.spool.database import Database
from tests.spool.disks import MIB, hung_disk, make_spooled, soon
from tests.spool.kept import Kept, ids


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


async def test_a_trace_that_the_disk_does_not_give_now_waits_and_is_told_once(
    kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EMFILE, "of this test")

    recording = make_spooled()
    await kept.append(recording)
    with monkeypatch.context() as exhausted:
        exhausted.setattr(SpoolDirectory, "read", fail)
        for _ in range(3):
            await kept.keeper.run_once()

    assert kept.exposes('gate_spool_failures_total{reason="unreadable"} 1.0')
    assert "too many open files" in kept.readiness.describe_notes()["spool"]
    await kept.keeper.run_once()
    assert kept.database.ids(WEB) == ids(recording)
    assert kept.readiness.describe_notes() == {}
    assert list(path.glob("*.refused")) == []


async def test_a_refused_trace_that_cannot_be_set_aside_waits_and_is_told_once(
    kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "of this test")

    recording = make_spooled()
    kept.database.refused = set(ids(recording))
    await kept.append(recording)
    with monkeypatch.context() as full:
        full.setattr(SpoolDirectory, "set_aside", fail)
        for _ in range(3):
            await kept.keeper.run_once()

    assert kept.exposes('gate_spool_failures_total{reason="full"} 1.0')
    assert kept.spool.holds(WEB)
    await kept.keeper.run_once()
    assert len(list(path.glob("*.refused"))) == 1
    assert kept.spool.list_keys() == ()


async def test_what_waited_beyond_its_age_is_counted_and_said(kept: Kept) -> None:
    kept.database.is_away = True
    await kept.append(make_spooled())
    kept.now = NOW + timedelta(hours=1, seconds=1)

    await kept.keeper.run_once()

    assert kept.exposes('gate_spool_failures_total{reason="expired"} 1.0')
    assert kept.exposes("gate_spool_entries 0.0")
    assert "spool_max_age_hours" in kept.readiness.describe_notes()["spool losses"]


async def test_a_full_spool_is_counted_said_by_readiness_and_over_once_nothing_waits(
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
    assert kept.readiness.describe_notes() == {}
    await kept.append(make_spooled())
    await kept.spool.close(deadline=soon())


async def test_a_note_of_a_slow_disk_is_over_once_it_answers_and_nothing_waits(kept: Kept) -> None:
    assert isinstance(kept.spool, FileSpool)
    with hung_disk(kept.spool):
        problem = await kept.keeper.append(make_spooled(), deadline=soon(0.05))
        await kept.keeper.run_once()

        assert problem is not None
        assert kept.readiness.describe_notes() == {"spool": problem.message}
    await kept.append(make_spooled())  # comes after it
    kept.keeper._report(problem)
    await kept.keeper.run_once()

    assert kept.readiness.describe_notes() == {}


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
    await kept.spool.close(deadline=soon())


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
