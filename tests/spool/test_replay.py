"""Traces from the disk to the database: in order, once, and none in the way of another."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gate.domain.record import Recording
from gate.domain.trace import ExecutionStatus, Verdict
from gate.errors import StorageUnavailableError
from gate.spool.store import FileSpool
from tests.postgres.records import DATABASE, NOW, WEB
from tests.spool.database import AWAY
from tests.spool.disks import MIB, make_spooled, soon
from tests.spool.kept import Kept, ids, named


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
    await kept.spool.close(deadline=soon())
    copies = {file: file.read_bytes() for file in path.glob("*.spool")}
    for _ in range(2):
        for file, content in copies.items():
            file.write_bytes(content)
        again = Kept(FileSpool(path, max_bytes=MIB), kept.database)
        await again.keeper.run_once()
        await again.spool.close(deadline=soon())

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
    keys = [named(f"web-{number}") for number in range(50)]
    await kept.append(*(make_spooled(key) for key in keys))

    with pytest.raises(StorageUnavailableError, match=AWAY):
        await kept.keeper.run_once()

    assert kept.database.calls <= 10
    assert kept.exposes("gate_spool_entries 50.0")
    kept.database.is_away = False
    await kept.keeper.run_once()
    assert len(kept.database.traces) == 50


async def test_a_locked_workload_keeps_no_other_waiting(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.services.spooling._PATIENCE", 0.2)
    keys = [named(f"web-{number}") for number in range(30)]
    kept.database.locked = set(keys[:10])
    await kept.append(*(make_spooled(key) for key in keys))

    for _ in range(2):
        with pytest.raises(StorageUnavailableError):
            await kept.keeper.run_once()

    assert len(kept.database.traces) == 20
    assert set(kept.spool.list_keys()) == kept.database.locked


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
