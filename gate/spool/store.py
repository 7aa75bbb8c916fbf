"""The spool: what many reviews append at once shares one fsync, off the event loop."""

import asyncio
import errno
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from gate.domain.record import Recording
from gate.domain.workload import WorkloadKey
from gate.ports.spool import SpooledEntry, SpoolProblem, SpoolReason, SpoolSize
from gate.spool.codec import Label, decode_recording, encode_recording
from gate.spool.directory import Position, SetAside, SpoolDirectory, SpoolHeldError
from gate.spool.thread import DiskThread

_SEGMENT_AT_MOST = 4 * 1024 * 1024
_SEGMENTS = 16  # of this many, one at most lies idle because a single entry of it still waits
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A recording on its way to the disk, and who waits for it."""

    label: Label
    payload: bytes
    done: "asyncio.Future[SpoolProblem | None]"


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of an entry on the disk."""

    position: Position
    spooled_at: datetime


class FileSpool:
    """Keeps recordings in a directory of at most `max_bytes`; satisfies the port `Spool`."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._directory = SpoolDirectory(
            path, segment_bytes=min(_SEGMENT_AT_MOST, max_bytes // _SEGMENTS)
        )
        self._thread = DiskThread()
        self._entries: dict[WorkloadKey, dict[int, _Known]] = {}
        self._number = 0
        self._waiting: list[_Waiting] = []
        self._writing: list[_Waiting] = []
        self._closed: SpoolProblem | None = self._complain("it has not been opened yet")

    async def open(self) -> tuple[SpoolProblem, ...]:
        """Take hold of the directory where that is not done yet, and read what it holds."""
        if self._closed is None:
            return ()
        try:
            found = await self._do(self._directory.open)
        except SpoolHeldError:
            self._closed = self._complain(
                "another process holds it; give every replica a directory of its own"
            )
        except OSError as error:
            self._closed = self._explain(error)
        else:
            self._closed = None
            self._number = max(self._number, found.highest)
            for stored in found.stored:
                self._note(stored.label, stored.position)
            return tuple(map(_report_damage, found.aside))
        return (self._closed,)

    async def append(self, recording: Recording, *, deadline: float) -> SpoolProblem | None:
        """Keep a recording; it survives a loss of power once None is returned.

        Raises TypeError where the recording holds what JSON cannot.
        """
        if self._closed is not None:
            return self._closed
        self._number += 1
        spooled_at = recording.spooled_at or recording.trace.seen.at
        label = Label(self._number, recording.key, spooled_at)
        payload = encode_recording(recording, label)
        queued = sum(len(waiting.payload) for waiting in self._waiting)
        if self._directory.size + queued + len(payload) > self._max_bytes:
            return self._explain_full()
        done: asyncio.Future[SpoolProblem | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(label, payload, done))
        self._write_waiting()
        try:
            async with asyncio.timeout_at(deadline):
                return await done
        except TimeoutError:
            return SpoolProblem(
                SpoolReason.LATE,
                f"the disk under {self._path} did not confirm a write in time; check its health",
            )

    def holds(self, key: WorkloadKey) -> bool:
        """Tell whether something of a workload waits."""
        return key in self._entries

    def list_keys(self) -> tuple[WorkloadKey, ...]:
        """Return the workloads of which something waits, those that waited first before others."""
        return tuple(self._entries)

    def measure(self) -> SpoolSize:
        """Tell how much waits, what is on its way to the disk included."""
        firsts = [next(iter(known.values())).spooled_at for known in self._entries.values()]
        return SpoolSize(
            entries=sum(map(len, self._entries.values())) + len(self._writing),
            bytes=self._directory.size,
            oldest=min(firsts, default=None),
        )

    async def read(
        self, key: WorkloadKey, *, after: int = 0, at_most: int = 64
    ) -> list[SpooledEntry]:
        """Return what waits of a workload with numbers beyond `after`, in order."""
        numbers = [number for number in self._entries.get(key, ()) if number > after]
        return await self._read_all(key, numbers[:at_most])

    async def read_latest(self, key: WorkloadKey, *, at_most: int = 64) -> list[SpooledEntry]:
        """Return the newest of what waits of a workload, in order."""
        return await self._read_all(key, list(self._entries.get(key, ()))[-at_most:])

    async def remove(self, key: WorkloadKey, numbers: Collection[int]) -> None:
        """Forget entries that are recorded."""
        known = self._entries.get(key, {})
        gone = {number: known.pop(number).position for number in numbers if number in known}
        if not gone:
            return
        if not known:
            self._entries.pop(key, None)
        with suppress(OSError):  # it comes up again at the next start, and is recognised
            await self._do(partial(self._directory.mark_done, gone))

    async def set_aside(self, entry: SpooledEntry) -> SpoolProblem:
        """Put an entry that can never be recorded into a file for people, and forget it.

        Where that file cannot be written, the entry stays, and the problem is that of the disk.
        """
        known = self._entries.get(entry.key, {}).get(entry.number)
        where = "is gone"
        if known is not None:
            try:
                aside = await self._do(partial(self._directory.set_recording_aside, known.position))
            except OSError as error:
                return self._explain(error)
            where = f"was set aside as {aside.file}"
            await self.remove(entry.key, [entry.number])
        why = (
            "this release cannot read it; did a newer one write it?"
            if entry.recording is None
            else "the database refuses it for ever; please report this"
        )
        return SpoolProblem(
            SpoolReason.REFUSED, f"a trace of {entry.key} that waited in the spool {where}: {why}"
        )

    async def expire(self, *, before: datetime) -> SpoolProblem | None:
        """Forget entries that were spooled before an instant; tell where there were any."""
        count = 0
        for key, known in list(self._entries.items()):
            old = [number for number, it in known.items() if it.spooled_at < before]
            count += len(old)
            await self.remove(key, old)
        if not count:
            return None
        return SpoolProblem(
            SpoolReason.EXPIRED,
            f"{count} traces waited in {self._path} beyond spool_max_age_hours and are lost; bring"
            f" the database back sooner, or raise the setting",
        )

    async def close(self, *, deadline: float) -> None:
        """Let go of the directory; what waits is still there at the next start.

        What is on its way to a disk that hangs is left alone at the deadline, and the directory
        held until the process has ended.
        """
        if self._closed is None:
            self._closed = self._complain("gate is stopping")
            with suppress(OSError):  # among them TimeoutError
                async with asyncio.timeout_at(deadline):
                    await self._let_go()
        self._thread.end()

    async def _let_go(self) -> None:
        while left := [it.done for it in (*self._writing, *self._waiting) if not it.done.done()]:
            await asyncio.wait(left)
        await self._do(self._directory.close)

    def _write_waiting(self) -> None:
        """Hand all that waits to the thread, unless it is busy: then it goes with the next lot."""
        if self._writing:
            return
        self._writing = [waiting for waiting in self._waiting if not waiting.done.cancelled()]
        self._waiting.clear()
        if not self._writing:
            return
        payloads = [waiting.payload for waiting in self._writing]
        writing = self._thread.submit(partial(self._directory.append, payloads))
        writing.add_done_callback(self._confirm)

    def _confirm(self, written: "asyncio.Future[list[Position]]") -> None:
        """Tell those who wait, also of a write that failed, and write what came meanwhile."""
        batch, self._writing = self._writing, []
        problem: SpoolProblem | None = None
        try:
            positions = written.result()
        except OSError as error:
            problem = self._explain(error)
        else:
            for waiting, position in zip(batch, positions, strict=True):
                self._note(waiting.label, position)
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_result(problem)
        self._write_waiting()

    def _note(self, label: Label, position: Position) -> None:
        self._entries.setdefault(label.key, {})[label.number] = _Known(position, label.spooled_at)

    async def _read_all(self, key: WorkloadKey, numbers: list[int]) -> list[SpooledEntry]:
        known = self._entries.get(key, {})
        wanted = [(number, known[number].position) for number in numbers]
        if not wanted or self._closed is not None:
            return []
        entries = await self._do(lambda: [self._read(key, *each) for each in wanted])
        left = self._entries.get(key, {})  # what went meanwhile may have gone with its file
        return [entry for entry in entries if entry.recording or entry.number in left]

    def _read(self, key: WorkloadKey, number: int, position: Position) -> SpooledEntry:
        try:
            return SpooledEntry(number, key, decode_recording(self._directory.read(position)))
        except OSError as error:
            problem = SpoolProblem(
                SpoolReason.UNREADABLE,
                f"a trace of {key} in the spool {self._path} cannot be read ({_words(error)});"
                f" it stays there and is tried again; check the disk and its permissions",
            )
            return SpooledEntry(number, key, None, problem)
        except ValueError:
            return SpooledEntry(number, key, None)

    async def _do(self, work: Callable[[], _T]) -> _T:
        """Do something in the thread that the files belong to, also where nobody waits any more."""
        return await asyncio.shield(self._thread.submit(work))

    def _explain(self, error: OSError) -> SpoolProblem:
        if error.errno in _NO_ROOM:
            return SpoolProblem(
                SpoolReason.FULL,
                f"the spool {self._path} has no room on its disk ({_words(error)}); give it more",
            )
        return self._complain(f"{_words(error)}; make it a directory that gate may write to")

    def _explain_full(self) -> SpoolProblem:
        return SpoolProblem(
            SpoolReason.FULL,
            f"the spool {self._path} holds spool_max_mib already; bring the database back, remove"
            f" files that were set aside, or raise the setting",
        )

    def _complain(self, what: str) -> SpoolProblem:
        return SpoolProblem(
            SpoolReason.UNWRITABLE, f"the spool {self._path} cannot be used: {what}"
        )


def _words(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _report_damage(aside: SetAside) -> SpoolProblem:
    return SpoolProblem(
        SpoolReason.CORRUPT,
        f"{aside.size} bytes of the spool could not be read and were set aside as {aside.file}; all"
        " before them is replayed. A crash in mid-write leaves such an end: no answer relied on it",
    )
