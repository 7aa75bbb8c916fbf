"""The event loop of a command, and what signals do to it."""

import asyncio
import signal
from collections.abc import Coroutine

import structlog
import uvloop

from gate.services.tasks import owned_tasks

log = structlog.get_logger(__name__)


def run_until_stopped(main: Coroutine[object, object, None]) -> None:
    """Run to the end; the first SIGTERM or SIGINT cancels, and what winds down is no failure."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_supervise(main))


async def _supervise(main: Coroutine[object, object, None]) -> None:
    loop = asyncio.get_running_loop()
    is_stopping = asyncio.Event()
    async with owned_tasks() as tasks:
        task = tasks.create_task(main)

        def stop(name: str) -> None:
            if not is_stopping.is_set():
                is_stopping.set()
                log.info("process.stopping", signal=name)
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number.name)
