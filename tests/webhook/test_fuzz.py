"""Captured reviews, changed at random: understood or turned away, never anything else."""

import asyncio
import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gate.domain.actor import AgentRules
from gate.domain.request import Request
from gate.domain.seal import Seal
from gate.ports.policy import DeclaredModes
from gate.spool.absent import AbsentSpool
from gate.webhook.rejection import RejectedRequestError
from gate.webhook.response import render_response
from gate.webhook.review import Ungoverned, parse_review
from tests.admissions import SEEDED, make_admission
from tests.fakes.histories import MemoryHistories
from tests.webhook.gateway import FIXTURES, Clock, read_fixture

NAMES = sorted(path.stem for path in FIXTURES.glob("*.json"))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31 - 1, -(2**31), 2**63, 2**64, 10**30, "1Gi", "", "\0", "scale"])
    | st.floats()
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything inside a JSON value."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return [path]
    return [path, *(found for key, inner in items for found in paths_of(inner, (*path, key)))]


def put(review: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the review with another value at a path."""
    if not path:
        return value
    parent = review
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return review


@st.composite
def reviews(draw: st.DrawFn) -> bytes:
    """Draw a captured review with up to three values replaced."""
    review = read_fixture(draw(st.sampled_from(NAMES)))
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in paths_of(review) if "managedFields" not in path]
        review = put(review, draw(st.sampled_from(paths)), draw(JSON_VALUES))
    return json.dumps(review).encode()


def parse_or_explain(raw: bytes) -> Request | Ungoverned | str:
    """Return what a body asks about, or what it is told."""
    try:
        return parse_review(raw)
    except RejectedRequestError as rejection:
        return str(rejection)


async def review_twice(request: Request) -> None:
    """Take a request all the way, and once more on the history it left."""
    admission = await make_admission(
        MemoryHistories(),
        clock=Clock(),
        seal=Seal(bytes(32)),
        patterns=SEEDED,
        modes=DeclaredModes(),
        effectiveness={},
        spool=AbsentSpool(),
        agents=AgentRules(users=("*",)),
    )
    for _ in range(2):
        deadline = asyncio.get_running_loop().time() + 5
        reviewed = await admission.review(request, deadline=deadline)
        response = json.loads(render_response(reviewed.answer, request))["response"]
        assert response["uid"] == request.uid
        assert all(warning.isprintable() for warning in response.get("warnings", []))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reviews())
def test_changed_review_is_understood_or_turned_away(raw: bytes) -> None:
    parsed = parse_or_explain(raw)

    if isinstance(parsed, Request):
        asyncio.run(review_twice(parsed))
    elif isinstance(parsed, str):
        assert parsed.isprintable()
        assert len(parsed) < 300


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
@example(b'"\xff"')
@example(b'"\\ud800"')
def test_bytes_that_are_no_review_are_turned_away(raw: bytes) -> None:
    with pytest.raises(RejectedRequestError) as rejection:
        parse_review(raw)

    assert str(rejection.value).isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_parsing_leaves_the_objects_as_they_came(name: str) -> None:
    review = read_fixture(name)

    parsed = parse_review(json.dumps(copy.deepcopy(review)).encode())

    assert isinstance(parsed, Request)
    assert (parsed.new, parsed.old) == (review["request"]["object"], review["request"]["oldObject"])
