"""The patterns in memory, read again now and then; admissions never wait for them."""

from collections.abc import Iterable

import structlog

from gate.domain.pattern import Pattern
from gate.errors import StorageUnavailableError
from gate.ports import Patterns, UnusablePattern
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)


class PatternBook:
    """Holds the active patterns as of the last successful read.

    Where a row is edited into one that cannot be used, its last usable version goes on: one bad
    edit must not disarm the guard.
    """

    def __init__(self, source: Patterns, *, metrics: Metrics) -> None:
        self._source = source
        self._metrics = metrics
        self._active: tuple[Pattern, ...] | None = None
        self._unusable: tuple[UnusablePattern, ...] = ()

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
        kept = self._find_last_usable(listing.problems)
        active = tuple(sorted((*listing.patterns, *kept), key=lambda pattern: pattern.id))
        if listing.problems != self._unusable:
            _report(listing.problems, kept)
        if active != self._active:
            log.info("patterns.read", names=[pattern.name for pattern in active])
        self._metrics.patterns_unusable.set(len(listing.problems))
        self._active, self._unusable = active, listing.problems

    def _find_last_usable(self, unusable: Iterable[UnusablePattern]) -> tuple[Pattern, ...]:
        ids = {row.id for row in unusable}
        return tuple(pattern for pattern in self._active or () if pattern.id in ids)


def _report(unusable: Iterable[UnusablePattern], kept: Iterable[Pattern]) -> None:
    ids = {pattern.id for pattern in kept}
    for row in unusable:
        goes_on = row.id in ids
        log.error(
            "pattern.unusable",
            problem=row.problem,
            effect="its last usable version goes on" if goes_on else "it is not looked for",
        )
