"""What a database needs before gate can decide, tried until it has it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from gate.errors import GateError, SchemaNotCurrentError
from gate.services.readiness import Readiness

log = structlog.get_logger(__name__)

_NAME = "database"
_PAUSE = timedelta(seconds=1)


async def prepare_database(
    steps: Sequence[Callable[[], Awaitable[object]]],
    readiness: Readiness,
    *,
    pause: timedelta = _PAUSE,
) -> None:
    """Do all steps in order, again from the first after a failure, until none fails.

    Meanwhile the replica is not ready, and says why.
    """
    readiness.report(_NAME, "not reached yet")
    while True:
        try:
            for step in steps:
                await step()
        except GateError as error:
            if readiness.report(_NAME, str(error)):
                log.warning("database.not_ready", error=str(error))
            await asyncio.sleep(pause.total_seconds())
        else:
            readiness.clear(_NAME)
            log.info("database.ready")
            return


def require_current(pending: Sequence[str]) -> None:
    """Raise SchemaNotCurrentError where revisions are still to be applied."""
    if pending:
        raise SchemaNotCurrentError(
            f"the schema lacks {len(pending)} revision(s), {', '.join(pending)}: run `gate migrate`"
        )
