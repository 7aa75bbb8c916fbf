"""The thread that blocks on the disk, so that nothing else does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")
_Jobs = SimpleQueue[Callable[[], None] | None]


class DiskThread:
    """Does one thing after another; a disk that hangs keeps it, but not the process from ending.

    An executor would not do: its threads are waited for when the process ends.
    """

    def __init__(self) -> None:
        self._jobs: _Jobs = SimpleQueue()
        self._is_started = self._is_ended = False

    def submit(self, work: Callable[[], _T]) -> "asyncio.Future[_T]":
        """Do something after all that was given before; OSError once the thread was ended."""
        done: Future[_T] = Future()
        if self._is_ended:
            done.set_exception(OSError("the spool is closed"))
        else:
            self._start()
            self._jobs.put(partial(_do, work, done))
        return asyncio.wrap_future(done)

    def end(self) -> None:
        """End the thread after all that was given to it."""
        self._is_ended = True
        self._jobs.put(None)

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            Thread(target=_work, args=(self._jobs,), name="gate-spool", daemon=True).start()


def _work(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()


def _do(work: Callable[[], _T], done: "Future[_T]") -> None:
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
        done.set_exception(error)
    else:
        done.set_result(result)
