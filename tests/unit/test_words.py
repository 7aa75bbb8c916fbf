"""Untrusted text, and spans, instants and values as they are put into words."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.move import Move
from gate.domain.words import clean, describe_instant, describe_path, describe_span, escape
from tests.timeline import minute

_bounded = settings(deadline=None, max_examples=200, derandomize=True)


@pytest.mark.parametrize(
    ("text", "limit", "escaped"),
    [
        ("web", 253, "web"),
        ("a\nb\tc", 253, "a\\nb\\tc"),
        ("\u202eabc\0", 253, "\\u202eabc\\x00"),
        ("%s <b> '; DROP", 253, "%s <b> '; DROP"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("\n\n\n\n", 6, "\\n\\n\\…"),
    ],
)
def test_untrusted_text_is_escaped_then_cut(text: str, limit: int, escaped: str) -> None:
    assert escape(text, limit=limit) == escaped


@_bounded
@given(st.text(), st.integers(2, 40))
def test_escaped_text_is_printable_and_within_its_limit(text: str, limit: int) -> None:
    escaped = escape(text, limit=limit)

    assert escaped.isprintable()
    assert len(escaped) <= limit


def test_text_is_cleaned_only_of_what_cannot_be_stored() -> None:
    assert clean("a\0\ud8ff\nü%s") == "a\ufffd\ufffd\nü%s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than 1 s"),
        (-5, "less than 1 s"),
        (0.4, "less than 1 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3605, "1 h 5 s"),
        (3661, "1 h 1 min"),
        (93_600, "26 h"),
    ],
)
def test_span_reads_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert describe_span(timedelta(seconds=seconds)) == words


def test_instant_reads_in_utc_to_the_second() -> None:
    east = timezone(timedelta(hours=2))

    assert describe_instant(datetime(2026, 11, 24, 8, 0, 59, 999999, UTC)) == "2026-11-24T08:00:59Z"
    assert describe_instant(datetime(2026, 11, 24, 1, 0, tzinfo=east)) == "2026-11-23T23:00:00Z"


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ([(5, 3), (3, 5)], "5 → 3 → 5"),
        ([(5, 3), (4, 6)], "5 → 3 → 4 → 6"),
        ([(None, 3), (3, 3)], "3"),
        ([(n, n + 1) for n in range(12)], "… → 5 → 6 → 7 → 8 → 9 → 10 → 11 → 12"),
        ([], ""),
    ],
)
def test_path_reads_as_the_values_held(moves: list[tuple[int | None, int]], words: str) -> None:
    assert describe_path(Move(minute(0), before, after) for before, after in moves) == words
