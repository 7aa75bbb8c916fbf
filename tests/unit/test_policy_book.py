"""The policy in memory: the last good version of a row goes on when an edit breaks it."""

from dataclasses import dataclass, replace

import pytest
import structlog

from gate.domain.pattern import Mode, Pattern
from gate.domain.policy import FailureMode
from gate.errors import StorageUnavailableError
from gate.ports.policy import DeclaredModes, NamespaceModes, PolicyListing, UnusablePattern
from gate.services.policy import PolicyBook
from gate.services.readiness import Readiness
from gate.telemetry import Metrics
from tests.timeline import SCALE_OSCILLATION

FIRST = SCALE_OSCILLATION
SECOND = replace(SCALE_OSCILLATION, id=2, name="second")
BROKEN = UnusablePattern(1, "pattern 'scale-oscillation' (id 1): min_occurrences: too small")


@dataclass
class Table:
    """Satisfies `PolicySource`; what it holds can be edited."""

    listing: PolicyListing

    async def read(self) -> PolicyListing:
        return self.listing

    def edit(self, *patterns: Pattern, broken: tuple[UnusablePattern, ...] = ()) -> None:
        self.listing = PolicyListing(patterns, broken)


@pytest.fixture
def table() -> Table:
    return Table(PolicyListing((FIRST, SECOND)))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def book(table: Table, metrics: Metrics) -> PolicyBook:
    """Return a book that has read the table once."""
    book = PolicyBook(table, metrics=metrics, readiness=Readiness())
    await book.run_once()
    return book


def test_nothing_is_looked_for_before_the_first_read(table: Table, metrics: Metrics) -> None:
    with pytest.raises(StorageUnavailableError, match="has not been read"):
        _ = PolicyBook(table, metrics=metrics, readiness=Readiness()).current


async def test_last_good_version_of_a_broken_row_goes_on_in_its_place(
    table: Table, book: PolicyBook
) -> None:
    table.edit(SECOND, broken=(BROKEN,))

    for _ in range(3):
        await book.run_once()

    assert book.current.patterns == (FIRST, SECOND)


async def test_other_rows_are_followed_while_one_is_broken(table: Table, book: PolicyBook) -> None:
    edited = replace(SECOND, min_occurrences=5)
    table.edit(edited, broken=(BROKEN,))

    await book.run_once()

    assert book.current.patterns == (FIRST, edited)


async def test_corrected_row_replaces_the_version_that_went_on(
    table: Table, book: PolicyBook
) -> None:
    corrected = replace(FIRST, min_occurrences=4)
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    table.edit(corrected, SECOND)

    await book.run_once()

    assert book.current.patterns == (corrected, SECOND)


async def test_broken_row_that_is_deactivated_is_looked_for_no_more(
    table: Table, book: PolicyBook
) -> None:
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    table.edit(SECOND)
    await book.run_once()
    table.edit(SECOND, broken=(BROKEN,))

    await book.run_once()

    assert book.current.patterns == (SECOND,)


async def test_unusable_rows_are_counted_until_they_are_corrected(
    table: Table, book: PolicyBook, metrics: Metrics
) -> None:
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    broken = metrics.expose()
    table.edit(FIRST, SECOND)

    await book.run_once()

    assert b"gate_patterns_unusable 1.0" in broken
    assert b"gate_patterns_unusable 0.0" in metrics.expose()


async def test_problem_is_logged_once_with_what_goes_on(table: Table, book: PolicyBook) -> None:
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
    book = PolicyBook(table, metrics=metrics, readiness=Readiness())

    with structlog.testing.capture_logs() as lines:
        await book.run_once()

    assert book.current.patterns == (SECOND,)
    assert lines[0]["effect"] == "it is not looked for"


EVERYWHERE = DeclaredModes(
    mode=Mode.AUDIT,
    namespaces=(
        NamespaceModes("shop", mode=Mode.ENFORCE),
        NamespaceModes("sh*", mode=Mode.AUDIT, failure_mode=FailureMode.CLOSED),
    ),
)


async def test_modes_of_the_rows_win_and_the_first_entry_that_says_it_holds(
    metrics: Metrics,
) -> None:
    table = Table(PolicyListing((FIRST,), modes=EVERYWHERE))
    book = PolicyBook(table, metrics=metrics, readiness=Readiness())

    await book.run_once()

    modes, failure_modes = book.current.modes, book.current.failure_modes
    assert [modes.holding_in(n) for n in ("shop", "ship", "other")] == ["enforce", "audit", "audit"]
    assert [failure_modes.holding_in(n) for n in ("shop", "other")] == ["closed", "open"]


async def test_settings_hold_where_the_rows_name_no_mode(table: Table, metrics: Metrics) -> None:
    book = PolicyBook(
        table,
        metrics=metrics,
        readiness=Readiness(),
        mode=Mode.AUDIT,
        failure_mode=FailureMode.CLOSED,
    )

    await book.run_once()

    assert book.current.modes.default is Mode.AUDIT
    assert book.current.failure_modes.default is FailureMode.CLOSED


def test_modes_of_the_file_hold_before_the_first_read(table: Table, metrics: Metrics) -> None:
    book = PolicyBook(table, metrics=metrics, readiness=Readiness(), declared=EVERYWHERE)

    assert book.latest.patterns == ()
    assert book.latest.modes.default is Mode.AUDIT
    assert book.latest.failure_modes.holding_in("shop") is FailureMode.CLOSED


async def test_last_usable_modes_go_on_when_their_row_is_broken(metrics: Metrics) -> None:
    table, readiness = Table(PolicyListing((FIRST,), modes=EVERYWHERE)), Readiness()
    book = PolicyBook(table, metrics=metrics, readiness=readiness)
    await book.run_once()
    before = book.current
    table.listing = PolicyListing((FIRST,), modes=None, modes_problem="policy_settings: no")

    await book.run_once()

    assert book.current == before
    assert b"gate_policy_modes_unusable 1.0" in metrics.expose()
    assert readiness.describe_notes() == {"patterns": "policy_settings: no"}
    assert readiness.describe() == {}


async def test_unusable_row_is_a_note_until_it_is_corrected(table: Table, metrics: Metrics) -> None:
    readiness = Readiness()
    book = PolicyBook(table, metrics=metrics, readiness=readiness)
    table.edit(SECOND, broken=(BROKEN,))
    await book.run_once()
    broken = readiness.describe_notes()
    table.edit(FIRST, SECOND)

    await book.run_once()

    assert broken == {"patterns": BROKEN.problem}
    assert readiness.describe_notes() == {}


async def test_version_is_of_all_that_decides_and_of_no_row_number(
    table: Table, book: PolicyBook
) -> None:
    versions = [book.current.version]
    for listing in (
        PolicyListing((replace(FIRST, id=7), replace(SECOND, id=3))),
        PolicyListing((replace(FIRST, min_occurrences=5), SECOND)),
        PolicyListing((FIRST, SECOND), modes=EVERYWHERE),
        PolicyListing((FIRST,)),
    ):
        table.listing = listing
        await book.run_once()
        versions.append(book.current.version)

    assert versions[0] == versions[1]
    assert len(set(versions)) == 4


async def test_policy_that_a_review_holds_is_not_changed_by_a_later_read(
    table: Table, book: PolicyBook
) -> None:
    held = book.current
    table.edit(SECOND)

    await book.run_once()

    assert held.patterns == (FIRST, SECOND)
    assert book.current.patterns == (SECOND,)


async def test_patterns_that_are_too_many_are_counted_and_noted(metrics: Metrics) -> None:
    readiness = Readiness()
    listing = PolicyListing((FIRST,), left_out=7, left_out_problem="too many: 'second', 6 more")
    book = PolicyBook(Table(listing), metrics=metrics, readiness=readiness)

    with structlog.testing.capture_logs() as lines:
        await book.run_once()

    assert book.current.patterns == (FIRST,)
    assert [line["event"] for line in lines] == ["pattern.left_out", "policy.read"]
    assert readiness.describe_notes() == {"patterns": "too many: 'second', 6 more"}
    assert b"gate_patterns_unusable 7.0" in metrics.expose()
