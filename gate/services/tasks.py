"""Groups of tasks whose failures read like failures."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from gate.errors import GateError


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Own the tasks of a block; a single GateError leaves it without the group around it."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except ExceptionGroup as group:
        if len(group.exceptions) == 1 and isinstance(group.exceptions[0], GateError):
            raise group.exceptions[0] from None
        raise


async def run_apart(work: Callable[[], Coroutine[object, object, None]]) -> None:
    """Do some work in a task of its own, for what winds down while its caller is being cancelled.

    There, early releases of Python 3.11 take every time-out for that cancellation.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(work())
