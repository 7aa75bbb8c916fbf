"""What is known to be refused while the database is away."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.domain.pattern import Mode, PatternType, Strategy
from gate.domain.trace import History, OpenDetection
from gate.domain.workload import WorkloadKey
from gate.errors import StorageUnavailableError
from gate.ports.detections import KnownDetection
from gate.services.detections import DetectionBook
from tests.postgres.records import DATABASE, NOW, WEB, make_detection, make_recording

SCALER, FIXER = "scaler", "fixer"
FIRST = OpenDetection(
    id=1,
    pattern_id=1,
    pattern_type=PatternType.SCALE_OSCILLATION,
    evidence_kind="reversal",
    fields=("replicas",),
    until=NOW + timedelta(minutes=30),
    mode=Mode.ENFORCE,
    prevention_applied=True,
    summary="replicas went 5 → 3 → 5",
)
CASCADE = replace(FIRST, id=2, pattern_id=4, evidence_kind="cascade", fields=(), actor=SCALER)
DECISION = {"objections": [{"pattern_id": 1, "pattern": PatternType.SCALE_OSCILLATION}]}


class Listing:
    """A database's open detections."""

    def __init__(self, *known: tuple[WorkloadKey, OpenDetection]) -> None:
        self.known = [KnownDetection(*one) for one in known]
        self.error: StorageUnavailableError | None = None

    async def list_open_detections(self, cluster: str, *, now: datetime) -> list[KnownDetection]:
        if self.error is not None:
            raise self.error
        return [
            one for one in self.known if one.key.cluster == cluster and one.detection.until > now
        ]


def make_book(
    *known: tuple[WorkloadKey, OpenDetection], at_most: int = 100
) -> tuple[DetectionBook, Listing]:
    listing = Listing(*known)
    return DetectionBook(listing, cluster="prod", clock=lambda: NOW, at_most=at_most), listing


async def test_listed_detections_bind_their_workload_until_they_end() -> None:
    book, _ = make_book((WEB, FIRST))
    await book.run_once()

    assert book.known(WEB, SCALER, NOW) == (FIRST,)
    assert book.known(WEB, FIXER, FIRST.until - timedelta(seconds=1)) == (FIRST,)
    assert book.known(WEB, SCALER, FIRST.until) == ()
    assert book.known(DATABASE, SCALER, NOW) == ()


async def test_one_that_binds_an_actor_binds_it_in_the_whole_namespace_and_nobody_else() -> None:
    book, _ = make_book((WEB, CASCADE))
    await book.run_once()

    elsewhere = replace(DATABASE, namespace="elsewhere")
    assert book.known(DATABASE, SCALER, NOW) == (CASCADE,)
    assert book.known(DATABASE, FIXER, NOW) == ()
    assert book.known(elsewhere, SCALER, NOW) == ()


async def test_a_database_that_is_away_takes_nothing_from_what_is_known() -> None:
    book, listing = make_book((WEB, FIRST))
    await book.run_once()
    listing.error = StorageUnavailableError("PostgreSQL did not answer in time")

    with pytest.raises(StorageUnavailableError):
        await book.run_once()

    assert book.known(WEB, SCALER, NOW) == (FIRST,)


async def test_one_that_was_resolved_is_forgotten_with_the_next_listing() -> None:
    book, listing = make_book((WEB, FIRST))
    await book.run_once()
    listing.known = []

    await book.run_once()

    assert book.known(WEB, SCALER, NOW) == ()


def test_a_history_replaces_what_was_known_of_its_workload() -> None:
    book, _ = make_book()
    longer = replace(FIRST, id=3, until=NOW + timedelta(hours=2))
    audited = replace(FIRST, id=4, mode=Mode.AUDIT, until=NOW + timedelta(hours=3))
    book.learn(History(WEB, detections=(FIRST,)), now=NOW)

    book.learn(History(WEB, detections=(longer, audited, CASCADE)), now=NOW)
    assert book.known(WEB, FIXER, NOW) == (longer,)
    assert set(book.known(WEB, SCALER, NOW)) == {longer, CASCADE}

    book.learn(History(WEB), now=NOW)
    assert book.known(WEB, FIXER, NOW) == ()


async def test_one_opened_here_binds_at_once_and_survives_a_listing_without_it() -> None:
    book, listing = make_book()
    new = make_detection()
    book.learn_opened(make_recording(opens=(new,), decision=DECISION), is_recorded=True)

    await book.run_once()
    (own,) = book.known(WEB, SCALER, NOW)
    listing.known = [KnownDetection(WEB, replace(own, id=9))]
    await book.run_once()

    assert own == replace(FIRST, id=None, until=new.until, strategy=Strategy.COOLING_PERIOD)
    assert book.known(WEB, SCALER, NOW) == (replace(own, id=9),)


def test_one_opened_here_that_binds_an_actor_binds_it_elsewhere_in_the_namespace() -> None:
    book, _ = make_book()
    book.learn_opened(
        make_recording(opens=(replace(make_detection(), bound_actor=SCALER),)), is_recorded=True
    )

    assert [known.actor for known in book.known(DATABASE, SCALER, NOW)] == [SCALER]
    assert book.known(DATABASE, FIXER, NOW) == ()


def test_memory_is_bounded_and_those_that_end_first_go() -> None:
    book, _ = make_book(at_most=20)
    for number in range(100):
        key = replace(WEB, name=f"web-{number}")
        until = NOW + timedelta(minutes=1 + number)
        book.learn(History(key, detections=(replace(FIRST, id=number, until=until),)), now=NOW)

    kept = [n for n in range(100) if book.known(replace(WEB, name=f"web-{n}"), SCALER, NOW)]

    assert kept == list(range(100 - len(kept), 100))
    assert 18 <= len(kept) <= 20


async def test_what_is_learned_while_the_listing_is_under_way_is_kept() -> None:
    book, listing = make_book()

    class Slow(Listing):
        async def list_open_detections(
            self, cluster: str, *, now: datetime
        ) -> list[KnownDetection]:
            listed = await listing.list_open_detections(cluster, now=now)
            book.learn(History(WEB, detections=(FIRST,)), now=NOW)
            return listed

    book._source = Slow()
    await book.run_once()

    assert book.known(WEB, SCALER, NOW) == (FIRST,)


@pytest.mark.parametrize("is_recorded", [True, False])
def test_what_waits_on_the_disk_binds_though_the_database_does_not_know_it(
    *, is_recorded: bool
) -> None:
    book, _ = make_book()
    book.learn_opened(make_recording(opens=(make_detection(),)), is_recorded=is_recorded)

    book.learn(History(WEB), now=NOW)

    assert bool(book.known(WEB, SCALER, NOW)) is not is_recorded
