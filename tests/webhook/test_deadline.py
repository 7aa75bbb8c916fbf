"""The time-out that the API server names, and what is left of it."""

from datetime import timedelta

import pytest

from gate.webhook.deadline import read_time_limit


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        ("3s", 2.65),
        ("1s", 0.65),
        ("30s", 29.65),
        ("500ms", 0.25),
        ("1.5s", 1.15),
        ("0m10s", 9.65),
        ("2s500ms", 2.15),
        ("5000000us", 4.65),
        ("5000000µs", 4.65),
        ("3000000000ns", 2.65),
    ],
)
def test_margin_is_kept_of_a_go_duration(timeout: str, seconds: float) -> None:
    limit = read_time_limit(timeout)

    assert limit == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "timeout",
    ["", "3", "s", "-3s", "0s", "3 s", "3S", "٣s", "1e3s", "3s;", "NaNs", "s" * 100, "1s" * 30],
)
def test_missing_or_impossible_time_out_is_ten_seconds(timeout: str) -> None:
    assert read_time_limit(timeout) == timedelta(seconds=9.65)


@pytest.mark.parametrize("timeout", ["31s", "1m0s", "999999999h999999999h"])
def test_longer_than_the_api_server_ever_waits_is_thirty_seconds(timeout: str) -> None:
    assert read_time_limit(timeout) == timedelta(seconds=29.65)


def test_half_of_a_very_short_time_out_is_used() -> None:
    assert read_time_limit("100ms") == timedelta(milliseconds=50)
