"""A disk that fails, hangs or vanishes: problems are values, and nothing is lost by them."""

import asyncio
import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from gate.ports.spool import SpooledEntry, SpoolReason
from gate.spool.codec import Label, encode_recording
from gate.spool.directory import Position, SpoolDirectory
from gate.spool.store import FileSpool
from tests.postgres.records import NOW, WEB
from tests.spool.disks import MIB, hung_disk, make_spooled, opened, read_all, segments, soon


async def test_a_removal_that_nobody_waits_for_any_more_is_done_all_the_same(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
        with hung_disk(spool):
            removing = asyncio.create_task(spool.remove(WEB, [1]))
            await asyncio.sleep(0)
            removing.cancel()
            await asyncio.wait([removing])

    assert segments(path) == []


async def test_a_disk_that_does_not_give_an_entry_now_keeps_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = make_spooled()
    async with opened(path) as spool:
        await spool.append(recording, deadline=soon())
        with monkeypatch.context() as exhausted:
            exhausted.setattr(SpoolDirectory, "read", partial(fail, errno.EMFILE))
            (entry,) = await spool.read(WEB)

        assert entry.recording is None
        assert entry.problem is not None
        assert entry.problem.reason is SpoolReason.UNREADABLE
        assert "too many open files" in entry.problem.message
        assert await read_all(spool) == [recording]


async def test_an_entry_that_cannot_be_set_aside_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
        (entry,) = await spool.read(WEB)
        with monkeypatch.context() as full:
            full.setattr(SpoolDirectory, "set_aside", partial(fail, errno.ENOSPC))
            problem = await spool.set_aside(entry)

        assert problem.reason is SpoolReason.FULL
        assert await spool.read(WEB) == [entry]
        assert (await spool.set_aside(entry)).reason is SpoolReason.REFUSED
        assert spool.list_keys() == ()


async def test_an_entry_that_was_damaged_since_the_start_is_set_aside_as_it_is(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
        (segment,) = segments(path)
        content = bytearray(segment.read_bytes())
        content[-2] ^= 1
        segment.write_bytes(content)

        (entry,) = await spool.read(WEB)
        problem = await spool.set_aside(entry)

        assert entry == SpooledEntry(1, WEB, None)
        assert problem.reason is SpoolReason.REFUSED
    (file,) = path.glob("*.refused")
    assert content.endswith(file.read_bytes())


async def test_the_end_waits_for_what_is_on_its_way_and_takes_no_more(path: Path) -> None:
    async with opened(path) as spool:
        with hung_disk(spool):
            appending = [
                asyncio.create_task(spool.append(make_spooled(), deadline=soon())) for _ in range(3)
            ]
            await asyncio.sleep(0)
            closing = asyncio.create_task(spool.close(deadline=soon()))
            await asyncio.sleep(0)
            refused = await spool.append(make_spooled(), deadline=soon())
        await closing

        assert [await each for each in appending] == [None] * 3
        assert refused is not None
        assert "gate is stopping" in refused.message
    async with opened(path) as again:
        assert len(await read_all(again)) == 3


async def test_a_disk_that_hangs_bounds_no_end_and_gets_no_segment_after_it(path: Path) -> None:
    spool = FileSpool(path, max_bytes=MIB)
    assert await spool.open() == ()
    await spool.append(make_spooled(), deadline=soon())
    with hung_disk(spool):
        late = [
            asyncio.create_task(spool.append(make_spooled(), deadline=soon(0.2))) for _ in range(2)
        ]
        await asyncio.sleep(0)
        deadline = soon(0.05)
        await spool.close(deadline=deadline)

        assert soon(0) < deadline + 1
        assert await spool.read(WEB) == []
        problems = [await each for each in late]
    assert [problem.reason for problem in problems if problem is not None] == ["late"] * 2
    assert len(segments(path)) == 1


def test_a_directory_that_was_let_go_of_is_left_alone(path: Path) -> None:
    directory = SpoolDirectory(path, segment_bytes=MIB)
    directory.open()
    (position,) = directory.append([encode_recording(make_spooled(), Label(1, WEB, NOW))])
    directory.close()
    content = segments(path)[0].read_bytes()

    directory.mark_done({1: position})
    for write in (partial(directory.append, [b"{}"]), partial(directory.set_aside, "x", b"")):
        with pytest.raises(OSError, match="not held"):
            write()

    (segment,) = segments(path)
    assert segment.read_bytes() == content


async def test_a_place_that_is_no_directory_is_a_problem_with_words_and_never_an_exception(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "missing" / "deeper", Path("/proc/spool")):
        spool = FileSpool(place, max_bytes=MIB)

        (problem,) = await spool.open()

        assert problem.reason is SpoolReason.UNWRITABLE
        assert str(place) in problem.message
        assert await spool.append(make_spooled(), deadline=soon()) == problem
        await spool.close(deadline=soon())


async def test_a_directory_that_vanishes_is_a_problem_and_its_return_is_noticed(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
        await spool.remove(WEB, [1])
        path.rename(path.with_name("gone"))

        problem = await spool.append(make_spooled(), deadline=soon())
        path.with_name("gone").rename(path)

        assert problem is not None
        assert problem.reason is SpoolReason.UNWRITABLE
        assert await spool.append(make_spooled(), deadline=soon()) is None


async def test_one_that_gave_up_is_told_late_and_others_are_served(path: Path) -> None:
    async with opened(path) as spool:
        late, kept = await asyncio.gather(
            spool.append(make_spooled(), deadline=soon(-1)),
            spool.append(make_spooled(), deadline=soon()),
        )

        assert late is not None
        assert late.reason is SpoolReason.LATE
        assert kept is None


async def test_what_is_on_its_way_to_the_disk_is_measured(path: Path) -> None:
    async with opened(path) as spool:
        with hung_disk(spool):
            appending = asyncio.create_task(spool.append(make_spooled(), deadline=soon()))
            await asyncio.sleep(0)
            assert spool.measure().entries == 1

        assert await appending is None
        assert spool.measure().entries == 1


def fail(number: int, *_: object) -> Sequence[Position]:
    raise OSError(number, "of this test")
