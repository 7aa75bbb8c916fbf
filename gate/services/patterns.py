"""The patterns in memory, read again now and then; admissions never wait for them."""

import structlog

from gate.domain.pattern import Pattern
from gate.errors import StorageUnavailableError
from gate.ports import Patterns

log = structlog.get_logger(__name__)


class PatternBook:
    """Holds the active patterns as of the last successful read."""

    def __init__(self, source: Patterns) -> None:
        self._source = source
        self._active: tuple[Pattern, ...] | None = None
        self._problems: tuple[str, ...] = ()

    @property
    def active(self) -> tuple[Pattern, ...]:
        """Return the patterns that are looked for.

        Raises StorageUnavailableError until they have been read once: nothing was looked for then.
        """
        if self._active is None:
            raise StorageUnavailableError("the patterns have not been read from the database yet")
        return self._active

    async def run_once(self) -> None:
        """Read the patterns again; one that cannot be used is reported and leaves the others be."""
        listing = await self._source.list_active()
        if listing.problems != self._problems:
            for problem in listing.problems:
                log.error("pattern.unusable", problem=problem)
        if listing.patterns != self._active:
            log.info("patterns.read", names=[pattern.name for pattern in listing.patterns])
        self._active, self._problems = listing.patterns, listing.problems
