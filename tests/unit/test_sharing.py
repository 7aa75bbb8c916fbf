"""What makes reviews fast changes nothing: parts read once, JSON parsed apart from validation."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate.domain.canonical import digest, encode
from gate.domain.change import Operation, compare
from gate.domain.reading import Readings, take_snapshot
from gate.domain.seal import Seal
from gate.domain.snapshot import describe_state
from gate.domain.workload import Kind
from gate.webhook.review import _AdmissionReview, _validate
from tests.reviews import make_body, make_review

SEAL = Seal(b"0123456789abcdef0123456789abcdef")

names = st.sampled_from(["app", "proxy", "cpu", "memory", "a", "", "é"])
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**63, 2**64, -(2**70), 1.0, 1.5]),
    st.sampled_from(["", "1", "100m", "0.1", "1Gi", "x", "\0", "\ud800", "2026-11-24T08:00:00Z"]),
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3)
)
containers = st.fixed_dictionaries(
    {"name": names},
    optional={
        "image": leaves,
        "resources": st.dictionaries(
            st.sampled_from(["requests", "limits", "claims"]),
            st.dictionaries(names, leaves, max_size=3),
        ),
        "env": st.lists(st.fixed_dictionaries({"name": names}, optional={"value": trees})),
        "args": trees,
    },
)
edits = st.one_of(
    st.tuples(st.just(("spec", "replicas")), leaves),
    st.tuples(st.just(("spec", "paused")), trees),
    st.tuples(st.just(("spec", "unheard-of")), trees),
    st.tuples(st.just(("metadata", "labels")), st.dictionaries(names, leaves, max_size=3)),
    st.tuples(st.just(("metadata", "annotations")), st.dictionaries(names, leaves, max_size=3)),
    st.tuples(st.just(("spec", "template", "metadata")), trees),
    st.tuples(st.just(("spec", "template", "spec", "containers")), st.lists(containers)),
    st.tuples(st.just(("spec", "template", "spec", "hostNetwork")), leaves),
    st.tuples(st.just(("spec", "template", "spec", "volumes")), trees),
    st.tuples(st.just(("spec", "template")), trees),
)


def edit(body: dict[str, Any], changes: list[tuple[tuple[str, ...], object]]) -> dict[str, Any]:
    edited = copy.deepcopy(body)
    for path, value in changes:
        parent: Any = edited
        for name in path[:-1]:
            parent = parent.get(name) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            parent[path[-1]] = value
    return edited


bodies = st.lists(edits, max_size=4).map(lambda changes: edit(make_body(), changes))


@given(old=bodies, changes=st.lists(edits, max_size=2))
def test_snapshots_taken_together_are_those_taken_apart(
    old: dict[str, Any], changes: list[tuple[tuple[str, ...], object]]
) -> None:
    new = edit(old, changes)

    readings = Readings(SEAL)
    together = take_snapshot(old, readings), take_snapshot(new, readings)
    apart = take_snapshot(old, Readings(SEAL)), take_snapshot(new, Readings(SEAL))

    assert together == apart
    for one, other in zip(together, apart, strict=True):
        assert one is not None
        assert {field: encode(value.shown) for field, value in one.items()} == {
            field: encode(value.shown) for field, value in other.items()
        }
    assert compare(
        Kind.DEPLOYMENT, Operation.UPDATE, before=together[0], after=together[1]
    ) == compare(Kind.DEPLOYMENT, Operation.UPDATE, before=apart[0], after=apart[1])


@given(
    seen=st.lists(bodies, min_size=2, max_size=6),
    room=st.sampled_from([0, 5_000, 20_000, 2_000_000]),
)
def test_what_was_read_earlier_changes_nothing_in_what_is_read_later(
    seen: list[dict[str, Any]], room: int
) -> None:
    readings = Readings(SEAL, room=room)

    for body in [*seen, *seen]:
        snapshot, alone = take_snapshot(body, readings), take_snapshot(body, Readings(SEAL))

        assert [*snapshot] == [*alone]
        assert [encode(value.shown) for value in snapshot.values()] == [
            encode(value.shown) for value in alone.values()
        ]
        assert snapshot == alone
        assert encode(describe_state(snapshot)) == encode(describe_state(alone))


def test_a_part_is_read_again_only_after_it_had_to_make_room() -> None:
    def name(number: int) -> dict[str, Any]:
        return edit(make_body(), [(("metadata", "labels"), {"number": str(number)})])

    readings = Readings(SEAL, room=10_000)
    first = take_snapshot(name(0), readings)

    for number in range(1, 100):
        again = take_snapshot(name(number), readings)
        assert sum(group in first.groups for group in again.groups) == 3
    forgotten = take_snapshot(name(0), readings)

    assert forgotten == first
    assert sum(group in first.groups for group in forgotten.groups) == 3


def test_a_part_without_fields_takes_room_too() -> None:
    def leave_out(number: int) -> dict[str, Any]:
        return edit(make_body(), [(("spec",), {f"absent{number}": None})])

    readings = Readings(SEAL, room=10_000)
    first = take_snapshot(leave_out(0), readings)

    for number in range(1, 20):
        take_snapshot(leave_out(number), readings)
    again = take_snapshot(leave_out(0), readings)

    assert [group in first.groups for group in again.groups if not group.fields] == [False, True]


def test_a_part_that_there_is_no_room_for_at_all_is_read_every_time() -> None:
    readings = Readings(SEAL, room=0)

    one, other = take_snapshot(make_body(), readings), take_snapshot(make_body(), readings)

    assert one == other
    assert [group for group in one.groups if group in other.groups] == [one.groups[0]]
    assert compare(Kind.DEPLOYMENT, Operation.UPDATE, before=one, after=other) is None


def test_values_that_both_objects_hold_are_one_object() -> None:
    old = make_body(replicas=3)

    readings = Readings(SEAL)

    before = take_snapshot(old, readings)
    after = take_snapshot(edit(old, [(("spec", "replicas"), 4)]), readings)

    differing = [field.name for field in before if before[field] is not after[field]]
    assert differing == ["replicas"]


@given(trees, trees)
def test_values_are_encoded_alike_exactly_when_their_json_is(one: object, other: object) -> None:
    def write(value: object) -> str:
        return json.dumps(value, sort_keys=True)

    assert (encode(one) == encode(other)) is (write(one) == write(other))
    assert (digest(one) == digest(other)) is (write(one) == write(other))


@given(
    st.recursive(
        trees | st.sampled_from(["UPDATE", "AdmissionReview", "admission.k8s.io/v1"]),
        lambda inner: st.dictionaries(
            st.sampled_from(["kind", "apiVersion", "request", "uid", "operation", "userInfo"]),
            inner,
        ),
    )
    | st.tuples(
        st.sampled_from(["uid", "name", "object", "oldObject", "dryRun", "userInfo", "operation"]),
        trees,
    ).map(lambda change: edit(make_review(make_body(), make_body()), [(("request",), change[1])]))
    | st.tuples(
        st.sampled_from(["uid", "name", "object", "oldObject", "dryRun", "userInfo", "operation"]),
        trees,
    ).map(
        lambda change: edit(
            make_review(make_body(), make_body()), [(("request", change[0]), change[1])]
        )
    )
)
def test_a_body_is_validated_as_pydantic_does_it_in_one_go(value: object) -> None:
    raw = json.dumps(value).encode()

    assert outcome(_validate, raw) == outcome(validate_in_one_go, raw)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"kind": NaN}', b"\xff", b'{"a":1,"a":2}', b"[1,]"])
def test_what_is_no_review_is_refused_in_the_same_words(raw: bytes) -> None:
    assert outcome(_validate, raw) == outcome(validate_in_one_go, raw)


def validate_in_one_go(raw: bytes) -> object:
    return _AdmissionReview.model_validate_json(raw).request


def outcome(validate: Callable[[bytes], object], raw: bytes) -> str:
    """Return what a validation yields or refuses; as text, for NaN is not equal to itself."""
    try:
        return repr(validate(raw))
    except ValidationError as error:
        return repr(error.errors())
