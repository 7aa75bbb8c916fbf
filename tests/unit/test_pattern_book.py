"""The patterns in memory: the last good version of a row goes on when an edit breaks it."""

from dataclasses import dataclass, replace

import pytest
import structlog

from gate.domain.pattern import Pattern
from gate.errors import StorageUnavailableError
from gate.ports import PatternListing, UnusablePattern
from gate.services.patterns import PatternBook
from gate.telemetry import Metrics
from tests.timeline import SCALE_OSCILLATION

FIRST = SCALE_OSCILLATION
SECOND = replace(SCALE_OSCILLATION, id=2, name="second")
BROKEN = UnusablePattern(1, "pattern 'scale-oscillation' (id 1): min_occurrences: too small")


@dataclass
class Table:
    """Satisfies `Patterns`; what it holds can be edited."""

    listing: PatternListing

    async def list_active(self) -> PatternListing:
        return self.listing

    def edit(self, *patterns: Pattern, broken: tuple[UnusablePattern, ...] = ()) -> None:
        self.listing = PatternListing(patterns, broken)


@pytest.fixture
def table() -> Table:
    return Table(PatternListing((FIRST, SECOND)))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def book(table: Table, metrics: Metrics) -> PatternBook:
    """Return a book that has read the table once."""
    book = PatternBook(table, metrics=metrics)
    await book.run_once()
    return book


def test_nothing_is_looked_for_before_the_first_read(table: Table, metrics: Metrics) -> None:
    with pytest.raises(StorageUnavailableError, match="have not been read"):
        _ = PatternBook(table, metrics=metrics).active


async def test_last_good_version_of_a_broken_row_goes_on_in_its_place(
    table: Table, book: PatternBook
) -> None:
    table.edit(SECOND, broken=(BROKEN,))

    for _ in range(3):
        await book.run_once()

    assert book.active == (FIRST, SECOND)


async def test_other_rows_are_followed_while_one_is_broken(table: Table, book: PatternBook) -> None:
    edited = replace(SECOND, min_occurrences=5)
    table.edit(edited, broken=(BROKEN,))

    await book.run_once()

    assert book.active == (FIRST, edited)


async def test_corrected_row_replaces_the_version_that_went_on(
    table: Table, book: PatternBook
) -> None:
    corrected = replace(FIRST, min_occurrences=4)
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    table.edit(corrected, SECOND)

    await book.run_once()

    assert book.active == (corrected, SECOND)


async def test_broken_row_that_is_deactivated_is_looked_for_no_more(
    table: Table, book: PatternBook
) -> None:
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    table.edit(SECOND)
    await book.run_once()
    table.edit(SECOND, broken=(BROKEN,))

    await book.run_once()

    assert book.active == (SECOND,)


async def test_unusable_rows_are_counted_until_they_are_corrected(
    table: Table, book: PatternBook, metrics: Metrics
) -> None:
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    broken = metrics.expose()
    table.edit(FIRST, SECOND)

    await book.run_once()

    assert b"gate_patterns_unusable 1.0" in broken
    assert b"gate_patterns_unusable 0.0" in metrics.expose()


async def test_problem_is_logged_once_with_what_goes_on(table: Table, book: PatternBook) -> None:
    table.edit(SECOND, broken=(BROKEN,))

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            await book.run_once()

    assert lines == [
        {
            "event": "pattern.unusable",
            "log_level": "error",
            "problem": BROKEN.problem,
            "effect": "its last usable version goes on",
        }
    ]


async def test_row_that_was_never_usable_is_said_not_to_be_looked_for(
    table: Table, metrics: Metrics
) -> None:
    table.edit(SECOND, broken=(BROKEN,))
    book = PatternBook(table, metrics=metrics)

    with structlog.testing.capture_logs() as lines:
        await book.run_once()

    assert book.active == (SECOND,)
    assert lines[0]["effect"] == "it is not looked for"
