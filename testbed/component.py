"""One process of the control plane: started with a log of its own, and always ended by its pid."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

STOP_LIMIT: Final = timedelta(seconds=10)
TAIL_LINES: Final = 20
PR_SET_PDEATHSIG: Final = 1


class ControlPlaneError(Exception):
    """Something of the control plane failed; the message carries the end of its log or output."""


class Component:
    """A running process and its log."""

    def __init__(self, name: str, *, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    async def end(self, ending: signal.Signals) -> int:
        """Send a signal and return the exit code; raises TimeoutError after STOP_LIMIT."""
        self._process.send_signal(ending)
        async with asyncio.timeout(STOP_LIMIT.total_seconds()):
            return await self._process.wait()

    def last_lines(self) -> str:
        """Return the end of the log, with what it belongs to."""
        lines = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        state = f"ended with {self._process.returncode}" if self.has_ended() else "still runs"
        return "\n".join((f"{self.name} {state}; the end of {self._log}:", *lines))

    async def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL after STOP_LIMIT or when cancelled meanwhile."""
        if self.has_ended():
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_LIMIT.total_seconds()):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        finally:
            if not self.has_ended():
                self._process.kill()


@asynccontextmanager
async def running(
    command: Sequence[str], *, name: str, directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[Component]:
    """Run a command until the block is left, its output going to `<directory>/<name>.log`."""
    log = directory / f"{name}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C must reach this process only, so that components end in order.
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    component = Component(name, process=process, log=log)
    try:
        yield component
    finally:
        await component.stop()


def die_with_parent() -> Callable[[], None]:
    """Return what a child runs before exec so that the kernel ends it when its parent dies.

    To the kernel the parent is the thread that started the child: keep the event loop in one that
    lives as long as the child must. Only Linux offers this; elsewhere contexts alone end children.
    """
    if sys.platform != "linux":
        return lambda: None
    # Everything is looked up before the fork: between fork and exec only system calls are safe.
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent, getppid, leave = os.getpid(), os.getppid, os._exit

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if getppid() != parent:
            leave(1)

    return ask_kernel
