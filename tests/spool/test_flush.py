"""One workload's traces handed over on demand: its turn, contention, and outages."""

import asyncio

import pytest

from gate.domain.record import Recording
from gate.errors import BusyHistoryError, StorageUnavailableError
from gate.services.breaker import Breaker, GuardedHistories
from tests.postgres.records import DATABASE, WEB
from tests.spool.disks import make_spooled, soon
from tests.spool.kept import Kept, ids


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


async def test_an_outage_that_a_flush_meets_is_heard_of_by_the_breaker(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = Breaker()
    guarded = GuardedHistories(kept.database, breaker, metrics=kept.metrics)
    monkeypatch.setattr(kept.keeper, "_histories", guarded)
    kept.database.is_frozen = True
    await kept.append(make_spooled())

    for _ in range(3):
        with pytest.raises(StorageUnavailableError):
            await kept.keeper.flush(WEB, deadline=soon(0.3))

    assert breaker.is_open


async def test_a_history_that_others_keep_changing_is_busy_and_not_away(kept: Kept) -> None:
    async def race(_: Recording) -> None:
        kept.database.versions[WEB] += 1

    kept.database.before_write = race
    await kept.append(make_spooled())
    deadline = soon(0.4)

    with pytest.raises(BusyHistoryError, match="still being recorded"):
        await kept.keeper.flush(WEB, deadline=deadline)

    assert soon(0) < deadline
    assert kept.spool.holds(WEB)


async def test_in_the_background_a_busy_history_is_no_outage_and_keeps_no_other_waiting(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.services.spooling._PATIENCE", 0.2)

    async def race(write: Recording) -> None:
        await asyncio.sleep(0)
        if write.key == WEB:
            kept.database.versions[WEB] += 1

    kept.database.before_write = race
    await kept.append(make_spooled(), make_spooled(DATABASE))

    await kept.keeper.run_once()

    assert kept.spool.list_keys() == (WEB,)


async def test_a_review_has_its_turn_between_what_is_handed_over_in_the_background(
    kept: Kept,
) -> None:
    recordings = [make_spooled() for _ in range(60)]
    await kept.append(*recordings)
    passed = asyncio.Event()

    async def wait_for_review(_: Recording) -> None:
        if len(kept.database.traces) == 1:
            reviews.append(asyncio.create_task(review()))
        await asyncio.sleep(0)

    async def review() -> None:
        await kept.keeper.flush(WEB, deadline=soon())
        passed.set()

    reviews: list[asyncio.Task[None]] = []
    kept.database.before_write = wait_for_review

    await kept.keeper.run_once()

    async with asyncio.timeout_at(soon()):
        await passed.wait()
    assert kept.database.ids(WEB) == ids(*recordings)


async def test_whoever_waits_behind_a_replay_that_goes_on_is_told_so(kept: Kept) -> None:
    await kept.append(*(make_spooled() for _ in range(40)))
    is_slow = asyncio.Event()

    async def take_time(_: Recording) -> None:
        is_slow.set()
        await asyncio.sleep(0.03)

    kept.database.before_write = take_time
    replaying = asyncio.create_task(kept.keeper.run_once())
    await is_slow.wait()

    with pytest.raises(BusyHistoryError):
        await kept.keeper.flush(WEB, deadline=soon(0.2))

    await replaying
    assert len(kept.database.traces) == 40


async def test_whoever_waits_behind_a_replay_that_meets_an_outage_is_told_that(kept: Kept) -> None:
    kept.database.locked = {WEB}
    await kept.append(make_spooled())
    replaying = asyncio.create_task(kept.keeper.flush(WEB, deadline=soon(0.6)))
    await asyncio.sleep(0)

    with pytest.raises(StorageUnavailableError):
        await kept.keeper.flush(WEB, deadline=soon(0.2))

    with pytest.raises(StorageUnavailableError):
        await replaying


async def test_a_disk_that_hangs_is_an_outage_by_the_deadline(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    await kept.append(make_spooled())
    deadline = soon(0.1)
    with monkeypatch.context() as hung:
        hung.setattr(kept.spool, "read", hang)
        with pytest.raises(StorageUnavailableError, match="check its health"):
            await kept.keeper.flush(WEB, deadline=deadline)

    assert soon(0) < deadline + 1
