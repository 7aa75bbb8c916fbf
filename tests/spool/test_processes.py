"""A spooling process that is killed, that meets the end of its disk, or is looked at by strace."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gate.spool.store import FileSpool
from testbed.component import die_with_parent
from testbed.strace import find_strace
from tests.spool.disks import MIB, read_all, soon

ROOT = Path(__file__).parent.parent.parent
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LIMIT = 60


@asynccontextmanager
async def writing(
    path: Path,
    *more: str,
    rounds: int = 100_000,
    under: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process that spools into a directory, until it is killed."""
    process = await asyncio.create_subprocess_exec(
        *(*under, sys.executable, "-m", "tests.spool.writer", str(path), str(rounds), *more),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
    )
    try:
        async with asyncio.timeout(LIMIT):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_lines(process: asyncio.subprocess.Process, *, at_least: int) -> list[str]:
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().strip() for _ in range(at_least)]


async def kill(process: asyncio.subprocess.Process) -> list[str]:
    """Kill it, and return the whole lines it had said before."""
    process.kill()
    assert process.stdout is not None
    left = (await process.stdout.read()).decode()
    await process.wait()
    return [line for line in left.splitlines(keepends=True) if line.endswith("\n")]


async def read_back(path: Path) -> list[str]:
    """Return the ids in a spool that nobody holds any more."""
    spool = FileSpool(path, max_bytes=64 * MIB)
    problems = await spool.open()
    assert all(problem.reason == "corrupt" for problem in problems), problems
    ids = [recording.trace.action_id for recording in await read_all(spool)]
    await spool.close(deadline=soon())
    return ids


async def test_nothing_that_was_answered_is_lost_to_a_kill(tmp_path: Path) -> None:
    answered: list[str] = []
    for round_ in range(4):
        async with writing(tmp_path / "spool") as process:
            answered += await read_lines(process, at_least=10 + 7 * round_)
            answered += [line.strip() for line in await kill(process)]
    answered = [line for line in answered if ID.fullmatch(line)]

    kept = await read_back(tmp_path / "spool")

    assert len(answered) >= 80
    assert [action_id for action_id in kept if action_id in set(answered)] == answered
    assert len(kept) == len(set(kept))


@pytest.mark.parametrize("limit", [1_000, 8_000])
async def test_a_file_that_cannot_grow_is_a_full_spool_and_no_crash(
    tmp_path: Path, limit: int
) -> None:
    async with writing(tmp_path / "spool", str(limit)) as process:
        said = await read_lines(process, at_least=40)
        said += [line.strip() for line in await kill(process)]

    kept = await read_back(tmp_path / "spool")

    answered = [line for line in said if ID.fullmatch(line)]
    refused = [line for line in said if line.startswith("full the spool")]
    assert len(answered) + len(refused) == len(said)
    assert refused
    assert bool(answered) is (limit > 5_000)
    assert [action_id for action_id in kept if action_id in set(answered)] == answered


async def test_every_answer_follows_the_fsync_of_its_trace(tmp_path: Path) -> None:
    log, strace = tmp_path / "strace.log", find_strace(os.environ)
    spy = (
        *(str(strace.program), "--follow-forks", "--decode-fds=path", "--string-limit=100000"),
        *("--trace=openat,write,fsync", f"--output={log}"),
    )
    async with writing(
        tmp_path / "spool", rounds=10, under=spy, environment=strace.environment(os.environ)
    ) as process:
        said = await read_lines(process, at_least=40)
        assert await process.wait() == 0

    orders = list(follow(log.read_text(errors="replace").splitlines()))

    answers = [ids for event, ids in orders if event == "answer"]
    assert len(answers) >= len(said)
    safe: set[str] = set()
    written: set[str] = set()
    is_listed = False
    for event, ids in orders:
        match event:
            case "create":
                is_listed = False
            case "list":
                is_listed = True
            case "write":
                written |= ids
            case "sync":
                safe |= written
            case "answer":
                assert ids <= safe
                assert is_listed


def follow(lines: list[str]) -> Iterator[tuple[str, set[str]]]:
    """Yield what happened to segments and their directory, and the answers, in order.

    A call counts from its beginning where that is the later proof (a write of an answer) and from
    its end where that is (an fsync); strace splits calls that others interrupt.
    """
    begun: dict[str, str] = {}
    for line in lines:
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.startswith("write(1<"):
            yield "answer", set(ID.findall(call))
        elif call.startswith("write(") and ".spool>" in call.split(",", 1)[0]:
            yield "write", set(ID.findall(call))
        elif call.startswith("openat(") and ".spool" in call and "O_CREAT" in call:
            yield "create", set()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call
        elif call.endswith("= 0"):
            whole = begun.pop(thread, "") if call.startswith("<...") else call
            if whole.startswith("fsync("):
                yield ("sync" if ".spool>" in whole else "list"), set()
