"""Groups of tasks whose failures read like failures."""

import asyncio
from collections.abc import AsyncIterator
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
