"""What can happen to gate itself and to its connections: once on record, as it was answered."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.strace import find_strace
from tests.faults.proxy import Break, Proxy
from tests.faults.stand import Stand, grow, make_workloads
from tests.faults.test_database import LIMIT, assert_recorded_once, stopped


async def test_what_a_killed_gate_had_spooled_is_recorded_once_and_a_torn_end_is_set_aside(
    stand: Stand,
) -> None:
    workloads = make_workloads(4)
    async with stand.replica() as replica:
        await stand.wait_until_ready(replica)
        async with stopped(stand):
            for _ in range(3):
                await replica.send_all(map(grow, workloads), limit=LIMIT)
            await replica.component.end(signal.SIGKILL)
    spooled = sorted(stand.spool().glob("*.spool"))
    with spooled[-1].open("ab") as torn:
        torn.write(b"\0\0\1\0torn")

    async with stand.replica() as again:
        await stand.wait_until_ready(again)
        await again.wait_until_flushed()
        await assert_recorded_once(stand, replica)
        readiness = await again.ask("/readyz")

    (aside,) = stand.spool().glob("*.corrupt")
    assert aside.read_bytes() == b"\0\0\1\0torn"
    assert str(aside) in readiness
    assert [line["reason"] for line in again.events("spool.failed")] == ["corrupt"]
    assert list(stand.spool().glob("*.spool")) == []


async def test_a_gate_killed_while_it_writes_has_everything_it_answered_on_record(
    stand: Stand,
) -> None:
    answered: list[str] = []
    for round_ in range(3):
        async with stand.replica() as replica:
            await stand.wait_until_ready(replica)
            reviews = list(map(grow, make_workloads(60, prefix=f"round-{round_}")))
            sending = [asyncio.ensure_future(replica.send(review)) for review in reviews]
            for first in asyncio.as_completed(sending[:10]):
                await first
            await replica.component.end(signal.SIGKILL)
            replies = await asyncio.gather(*sending, return_exceptions=True)
            answered += [
                review["request"]["uid"]
                for review, reply in zip(reviews, replies, strict=True)
                if not isinstance(reply, BaseException)
            ]

    recorded = [trace["request_uid"] for trace in await stand.traces()]
    assert len(answered) >= 30
    assert set(answered) <= set(recorded)
    assert len(recorded) == len(set(recorded))


async def test_a_gate_that_is_told_to_stop_hands_over_what_waits(stand: Stand) -> None:
    async with stand.replica() as replica:
        await stand.wait_until_ready(replica)
        async with stopped(stand):
            await replica.send_all(map(grow, make_workloads(8)), limit=LIMIT)
        code = await replica.component.end(signal.SIGTERM)

    assert code == 0
    await assert_recorded_once(stand, replica)
    assert list(stand.spool().glob("*.spool")) == []


async def test_a_gate_that_is_told_to_stop_while_the_database_is_away_leaves_it_to_the_next(
    stand: Stand,
) -> None:
    async with stand.replica() as replica:
        await stand.wait_until_ready(replica)
        async with stopped(stand):
            await replica.send_all(map(grow, make_workloads(8)), limit=LIMIT)
            await replica.component.end(signal.SIGTERM)
        (left,) = replica.events("spool.left")
    async with stand.replica() as again:
        await again.wait_until_flushed()

    assert left["entries"] == 8
    await assert_recorded_once(stand, replica)


@pytest.mark.parametrize("how", Break)
async def test_a_connection_that_breaks_leaves_exactly_one_trace_with_what_was_answered(
    stand: Stand, how: Break
) -> None:
    async with (
        Proxy(stand.dsn).serving() as proxy,
        stand.replica(dsn=proxy.dsn) as replica,
    ):
        await stand.wait_until_ready(replica)
        (web,) = make_workloads(1)
        await replica.send(grow(web), limit=10)
        proxy.breaks = how
        broken = await replica.send(grow(web), limit=LIMIT)
        await replica.wait_until_flushed()
        after = await replica.send(grow(web), limit=10)
        await assert_recorded_once(stand, replica)

    assert proxy.broken == 1
    assert (broken.is_allowed, after.is_allowed) == (True, True)
    assert after.words == ""
    traces = await stand.traces()
    assert [trace["version"] for trace in traces] == [1, 2, 3]
    assert {trace["verdict"] for trace in traces} == {"allow"}


async def test_failure_mode_closed_corrects_a_trace_whose_commit_was_not_confirmed(
    stand: Stand,
) -> None:
    async with (
        Proxy(stand.dsn).serving() as proxy,
        stand.replica(dsn=proxy.dsn, failure_mode="closed") as replica,
    ):
        await stand.wait_until_ready(replica)
        (web,) = make_workloads(1)
        proxy.breaks = Break.BEFORE_THE_REPLY
        broken = await replica.send(grow(web), limit=LIMIT)
        await replica.wait_until_flushed()
        await assert_recorded_once(stand, replica)

    assert not broken.is_allowed
    (trace,) = await stand.traces()
    assert (trace["verdict"], trace["execution_status"]) == ("deny", "blocked")


async def test_no_answer_leaves_before_its_trace_is_on_the_disk(stand: Stand) -> None:
    log, strace = stand.directory / "strace.log", find_strace(os.environ)
    spy = (
        *(str(strace.program), "--follow-forks", "--decode-fds=path,socket", "-qq"),
        *("--trace=write,writev,sendto,sendmsg,fsync", f"--output={log}"),
    )
    async with stand.replica(under=spy) as replica:
        await stand.wait_until_ready(replica)
        async with stopped(stand):
            await replica.send(grow(make_workloads(1, prefix="first")[0]), limit=LIMIT)
            for workload in make_workloads(10):
                await replica.send(grow(workload), limit=LIMIT)
        await replica.wait_until_flushed()
        end_children(replica.component.pid)  # strace itself would leave it running

    calls = list(follow(log, port=replica.port))

    assert calls.count("spool") >= 11
    is_safe = True
    for call in calls:
        is_safe = {"spool": False, "fsync": True}.get(call, is_safe)
        assert call != "answer" or is_safe


def end_children(pid: int) -> None:
    """Tell the processes that a process started to stop."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)


def follow(log: Path, *, port: int) -> Iterator[str]:
    """Yield writes to the spool, fsyncs of it once they are done, and writes to the API server."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if re.match(r"write\(\d+<[^>]*\.spool>", call):
            yield "spool"
        elif re.match(rf"(write|writev|sendto|sendmsg)\(\d+<TCP:\[127\.0\.0\.1:{port}->", call):
            yield "answer"
        if call.endswith("<unfinished ...>"):
            begun[thread] = call
        elif call.endswith("= 0"):
            whole = begun.pop(thread, "") if call.startswith("<...") else call
            if re.match(r"fsync\(\d+<[^>]*\.spool>", whole):
                yield "fsync"
