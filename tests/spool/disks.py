"""Spools in a test's own directory."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from gate.domain.record import Recording
from gate.domain.workload import WorkloadKey
from gate.spool.store import FileSpool
from tests.postgres.records import NOW, WEB, make_recording

MIB = 1024 * 1024


def soon(seconds: float = 10) -> float:
    return asyncio.get_running_loop().time() + seconds


def make_spooled(key: WorkloadKey = WEB) -> Recording:
    """Return a recording as it waits on the disk."""
    recording = make_recording(None, key=key)
    trace = replace(recording.trace, changed={("", "replicas"): (5, 3)})
    return replace(recording, trace=trace, spooled_at=NOW)


@asynccontextmanager
async def opened(path: Path, *, max_bytes: int = MIB) -> AsyncIterator[FileSpool]:
    """Open a spool that has nothing to complain of."""
    spool = FileSpool(path, max_bytes=max_bytes)
    try:
        assert await spool.open() == ()
        yield spool
    finally:
        await spool.close(deadline=soon())


@contextmanager
def hung_disk(spool: FileSpool) -> Iterator[None]:
    """Let everything that is given to the spool's thread meanwhile wait for the end of this."""
    goes_on = threading.Event()
    spool._thread.submit(goes_on.wait)
    try:
        yield
    finally:
        goes_on.set()


async def read_all(spool: FileSpool) -> list[Recording]:
    """Return everything that waits, workload by workload."""
    return [
        entry.recording
        for key in spool.list_keys()
        for entry in await spool.read(key, at_most=1_000_000)
        if entry.recording is not None
    ]


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.spool"))
