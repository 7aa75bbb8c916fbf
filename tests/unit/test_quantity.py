"""Kubernetes quantities as integers that compare."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.quantity import Amount, Unit, describe_amount, parse_amount, parse_quantity

_bounded = settings(deadline=None, max_examples=200, derandomize=True)


@pytest.mark.parametrize(
    ("resource", "text", "expected"),
    [
        ("cpu", "0.0001", Amount(1, Unit.MILLICORES)),
        ("cpu", "1u", Amount(1, Unit.MILLICORES)),
        ("cpu", "+2", Amount(2000, Unit.MILLICORES)),
        ("cpu", "-1", Amount(-1000, Unit.MILLICORES)),
        ("memory", "0.5", Amount(1, Unit.BYTES)),
        ("memory", "1Ei", Amount(2**60, Unit.BYTES)),
        ("memory", ".5Ki", Amount(512, Unit.BYTES)),
        ("gpu", "1", None),
    ],
)
def test_amounts_are_integers_rounded_up(resource: str, text: str, expected: Amount | None) -> None:
    assert parse_amount(resource, text) == expected


@pytest.mark.parametrize("text", ["1e999", "9" * 64, "1e-999", "-1e999", "0e999", "1e9999999999"])
def test_huge_exponents_cost_nothing(text: str) -> None:
    start = time.process_time()

    for _ in range(100):
        parse_amount("memory", text)

    assert time.process_time() - start < 0.5


@_bounded
@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "k", "M", "Ki", "Mi", "m"]))
def test_quantity_is_the_number_it_stands_for(number: int, suffix: str) -> None:
    factor = {"": 1, "k": 10**3, "M": 10**6, "Ki": 2**10, "Mi": 2**20, "m": None}[suffix]

    parsed = parse_quantity(f"{number}{suffix}")

    assert parsed is not None
    assert parsed == (number * factor if factor is not None else parsed)
    assert parsed * 1000 == (number if factor is None else number * factor * 1000)


@_bounded
@given(st.text())
def test_any_text_is_a_quantity_or_none(text: str) -> None:
    assert (parse_amount("cpu", text) is None) == (parse_quantity(text) is None)


@pytest.mark.parametrize(
    ("resource", "text", "words"),
    [
        ("cpu", "0.25", "250m"),
        ("cpu", "2000m", "2"),
        ("cpu", "1500m", "1500m"),
        ("memory", "536870912", "512Mi"),
        ("memory", "1.5Gi", "1536Mi"),
        ("memory", "2048Mi", "2Gi"),
        ("memory", "500M", "500M"),
        ("memory", "1001", "1001"),
        ("memory", "0", "0"),
    ],
)
def test_amount_reads_as_a_quantity_in_its_largest_whole_unit(
    resource: str, text: str, words: str
) -> None:
    amount = parse_amount(resource, text)

    assert amount is not None
    assert describe_amount(amount) == words


@_bounded
@given(st.integers(-(2**63), 2**63), st.sampled_from(["cpu", "memory"]))
def test_amount_as_it_reads_is_the_same_amount(value: int, resource: str) -> None:
    amount = Amount(value, {"cpu": Unit.MILLICORES, "memory": Unit.BYTES}[resource])

    assert parse_amount(resource, describe_amount(amount)) == amount
