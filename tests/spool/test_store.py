"""The spool on a real disk: kept across restarts, damage set aside, and bounds."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gate.ports.spool import SpooledEntry, SpoolReason
from gate.spool.codec import Label, encode_recording
from gate.spool.frames import pack
from gate.spool.store import FileSpool
from tests.postgres.records import DATABASE, NOW, WEB
from tests.spool.disks import MIB, make_spooled, opened, read_all, segments, soon


async def test_what_was_appended_is_there_after_a_restart_in_order(path: Path) -> None:
    recordings = [make_spooled(key) for key in (WEB, DATABASE, WEB, WEB)]
    async with opened(path) as spool:
        for recording in recordings:
            assert await spool.append(recording, deadline=soon()) is None

    async with opened(path) as spool:
        assert spool.list_keys() == (WEB, DATABASE)
        assert await read_all(spool) == [*recordings[::2], recordings[3], recordings[1]]


async def test_appends_at_once_are_all_kept_in_the_order_they_came(path: Path) -> None:
    recordings = [make_spooled() for _ in range(200)]
    async with opened(path, max_bytes=16 * MIB) as spool:
        answers = await asyncio.gather(
            *(spool.append(recording, deadline=soon()) for recording in recordings)
        )

        assert answers == [None] * 200
        assert await read_all(spool) == recordings


async def test_what_was_removed_does_not_come_back_and_leaves_no_file(path: Path) -> None:
    first, second = make_spooled(), make_spooled()
    async with opened(path) as spool:
        for recording in (first, second):
            await spool.append(recording, deadline=soon())
        await spool.remove(WEB, [1])

    async with opened(path) as spool:
        assert await read_all(spool) == [second]
        await spool.remove(WEB, [2])
        assert spool.list_keys() == ()
        assert segments(path) == []

    async with opened(path) as spool:
        assert await read_all(spool) == []


async def test_what_is_appended_while_the_last_entry_is_removed_stays(path: Path) -> None:
    async with opened(path) as spool:
        for round_ in range(60):
            await spool.append(make_spooled(WEB), deadline=soon())
            (entry,) = await spool.read(WEB)
            other = make_spooled(DATABASE)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(spool.remove(WEB, [entry.number]))
                for _ in range(round_ % 7):
                    await asyncio.sleep(0)
                appending = tasks.create_task(spool.append(other, deadline=soon()))

            assert appending.result() is None
            (kept,) = await spool.read(DATABASE)
            assert kept.recording == other
            await spool.remove(DATABASE, [kept.number])

    assert segments(path) == []


async def test_numbers_go_on_after_a_restart(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())

        assert [entry.number for entry in await spool.read(WEB)] == [1, 2]
        assert [entry.number for entry in await spool.read(WEB, after=1)] == [2]
        assert [entry.number for entry in await spool.read(WEB, at_most=1)] == [1]


@pytest.mark.parametrize(
    "tail", [b"\0", b"\0\0\0\x10", pack(b"Ewhole")[:-1], b"\xff" * 100, b"\0" * 4096]
)
async def test_a_torn_end_is_set_aside_and_all_before_it_is_kept(path: Path, tail: bytes) -> None:
    recordings = [make_spooled() for _ in range(3)]
    async with opened(path) as spool:
        for recording in recordings:
            await spool.append(recording, deadline=soon())
    (segment,) = segments(path)
    whole = segment.read_bytes()
    segment.write_bytes(whole + tail)

    spool = FileSpool(path, max_bytes=MIB)
    (problem,) = await spool.open()
    kept = await read_all(spool)
    await spool.append(make_spooled(), deadline=soon())
    await spool.close(deadline=soon())

    aside = path / f"{segment.stem}-{len(whole)}.corrupt"
    assert problem.reason is SpoolReason.CORRUPT
    assert str(aside) in problem.message
    assert aside.read_bytes() == tail
    assert segment.read_bytes() == whole
    assert kept == recordings
    async with opened(path) as again:
        assert len(await read_all(again)) == 4


async def test_a_flipped_bit_hides_what_follows_but_not_what_came_before(path: Path) -> None:
    recordings = [make_spooled() for _ in range(3)]
    async with opened(path) as spool:
        for recording in recordings:
            await spool.append(recording, deadline=soon())
    (segment,) = segments(path)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    spool = FileSpool(path, max_bytes=MIB)
    (problem,) = await spool.open()

    assert problem.reason is SpoolReason.CORRUPT
    assert await read_all(spool) == recordings[:1]
    await spool.close(deadline=soon())


@pytest.mark.parametrize("payload", [b"", b"Eno label", b"D1,two", b"?", b'E{"number":7}\n{}'])
async def test_a_whole_frame_of_something_else_is_set_aside_like_a_torn_one(
    path: Path, payload: bytes
) -> None:
    recording = make_spooled()
    async with opened(path) as spool:
        await spool.append(recording, deadline=soon())
    (segment,) = segments(path)
    segment.write_bytes(segment.read_bytes() + pack(payload))

    spool = FileSpool(path, max_bytes=MIB)
    (problem,) = await spool.open()

    assert problem.reason is SpoolReason.CORRUPT
    assert await read_all(spool) == [recording]
    await spool.close(deadline=soon())


async def test_a_trace_of_another_release_comes_without_a_recording_and_can_be_set_aside(
    path: Path,
) -> None:
    recordings = [make_spooled() for _ in range(2)]
    label = Label(9, WEB, NOW)
    strange = encode_recording(recordings[0], label).replace(b'"UPDATE"', b'"REPLACE"')
    async with opened(path) as spool:
        for recording in recordings:
            await spool.append(recording, deadline=soon())
    (segment,) = segments(path)
    segment.write_bytes(segment.read_bytes() + pack(b"E" + strange))

    async with opened(path) as spool:
        *_, unread = await spool.read(WEB)
        problem = await spool.set_aside(unread)

        assert unread == SpooledEntry(9, WEB, None)
        assert "did a newer one write it?" in problem.message
        assert await read_all(spool) == recordings
    (file,) = path.glob("*.refused")
    assert file.read_bytes() == strange


async def test_a_number_that_was_done_is_never_given_again(path: Path) -> None:
    async with opened(path) as spool:
        for _ in range(3):
            await spool.append(make_spooled(), deadline=soon())
        await spool.remove(WEB, [2, 3])
    recording = make_spooled()
    async with opened(path) as spool:
        await spool.append(recording, deadline=soon())

    async with opened(path) as spool:
        assert [entry.number for entry in await spool.read(WEB)] == [1, 4]
        assert (await read_all(spool))[1] == recording


async def test_a_full_spool_says_so_and_takes_traces_again_once_there_is_room(path: Path) -> None:
    async with opened(path, max_bytes=16 * 1024) as spool:
        problem = None
        while problem is None:
            problem = await spool.append(make_spooled(), deadline=soon())
        kept = len(await read_all(spool))
        size = sum(file.stat().st_size for file in path.iterdir())

        assert problem.reason is SpoolReason.FULL
        assert "spool_max_mib" in problem.message
        assert size <= 16 * 1024

        await spool.remove(WEB, range(1, kept // 2))
        assert await spool.append(make_spooled(), deadline=soon()) is None


async def test_what_waits_beyond_its_age_is_given_up_and_counted(path: Path) -> None:
    old = replace(make_spooled(), spooled_at=NOW - timedelta(hours=2))
    new = make_spooled()
    async with opened(path) as spool:
        await spool.append(old, deadline=soon())
        await spool.append(new, deadline=soon())

        problem = await spool.expire(before=NOW - timedelta(hours=1))

        assert problem is not None
        assert problem.reason is SpoolReason.EXPIRED
        assert problem.message.startswith("1 traces")
        assert await read_all(spool) == [new]
        assert await spool.expire(before=NOW - timedelta(hours=1)) is None


async def test_a_refused_entry_lies_in_a_file_for_people(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
        (entry,) = await spool.read(WEB)

        problem = await spool.set_aside(entry)

        (file,) = path.glob("*.refused")
        assert str(file) in problem.message
        assert entry.recording is not None
        assert entry.recording.trace.action_id in file.read_text()
        assert spool.list_keys() == ()


async def test_a_directory_has_one_holder_and_the_next_can_take_over(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())
        second = FileSpool(path, max_bytes=MIB)

        (problem,) = await second.open()
        refused = await second.append(make_spooled(), deadline=soon())

        assert problem.reason is SpoolReason.UNWRITABLE
        assert "another process holds it" in problem.message
        assert refused == problem

    assert await second.open() == ()
    assert len(await read_all(second)) == 1
    await second.close(deadline=soon())


async def test_the_directory_is_private_to_the_account_that_gate_runs_as(path: Path) -> None:
    async with opened(path) as spool:
        await spool.append(make_spooled(), deadline=soon())

    assert path.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in path.iterdir())
