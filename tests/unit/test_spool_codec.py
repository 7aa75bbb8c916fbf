"""Recordings on the disk: what comes back is what was put there."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain.context import Context
from gate.domain.escalation import NewEscalation
from gate.domain.record import NewDetection, Recording
from gate.domain.trace import Sighting, Trace
from gate.spool.codec import Label, decode_label, decode_recording, encode_recording
from tests.postgres.records import NOW, WEB, make_detection
from tests.spool.disks import make_spooled

# Lone surrogates and NUL included: an agent's words may hold anything.
texts = st.text(st.characters(), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False)
documents = st.dictionaries(
    texts,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)
instants = st.datetimes(timezones=st.just(UTC))
spans = st.timedeltas()
changes = st.dictionaries(st.tuples(texts, texts), st.tuples(scalars, scalars), max_size=3)


def build(kind: type[Any], **given_: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values of a dataclass; instants and JSON are ours, the rest follows from the types."""
    ours = {
        part.name: instants if part.type is datetime else spans
        for part in fields(kind)
        if part.type in (datetime, timedelta)
    }
    return st.builds(kind, **{**ours, **given_})


sightings = build(Sighting, state=st.none() | documents)
traces = build(
    Trace,
    seen=sightings,
    changed=changes,
    state_after=st.none() | documents,
    decision=documents,
    score=st.none() | st.floats(0, 1),
)
detections = build(
    NewDetection, evidence=documents, prevention_details=documents, confidence=st.floats(0, 1)
)
recordings = build(
    Recording,
    trace=traces,
    labels=st.none() | st.dictionaries(texts, texts, max_size=3),
    parameters=documents,
    decision=documents,
    context=build(Context, confidence=st.none() | st.floats(0, 1)),
    opens=st.lists(detections, max_size=2).map(tuple),
    asks=st.none() | build(NewEscalation, change=documents),
    spooled_at=st.none() | instants,
)


LABEL = Label(7, WEB, NOW)


def edited(recording: Recording, edit: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a payload whose recording was edited as JSON."""
    label, _, text = encode_recording(recording, LABEL).partition(b"\n")
    body = json.loads(text)
    edit(body)
    return label + b"\n" + json.dumps(body).encode()


@given(recordings, build(Label))
def test_every_recording_comes_back_as_it_was(recording: Recording, label: Label) -> None:
    payload = encode_recording(recording, label)

    assert decode_label(payload) == label
    assert decode_recording(payload) == recording


def test_instants_keep_their_microseconds_and_their_zone() -> None:
    until = NOW + timedelta(microseconds=1)
    recording = replace(make_spooled(), opens=(make_detection(until=until),))

    read = decode_recording(encode_recording(recording, LABEL))

    assert read.opens[0].until == until
    assert read.opens[0].until.tzinfo is UTC


def test_a_field_of_a_later_release_is_left_out_and_a_missing_one_takes_its_default() -> None:
    recording = replace(make_spooled(), enforces=(7,))

    added = edited(recording, lambda body: body.update(of_a_later_release=True))
    removed = edited(recording, lambda body: body.pop("enforces"))

    assert decode_recording(added) == recording
    assert decode_recording(removed) == replace(recording, enforces=())


@pytest.mark.parametrize("text", [b"", b"no JSON", b"[]", b"{}", b'{"key":7}', b"\xff"])
def test_what_is_no_recording_and_no_label_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_recording(b"\n" + text)
    with pytest.raises(ValueError, match=r"."):
        decode_label(text + b"\n")


def test_a_value_of_another_type_is_a_value_error() -> None:
    payload = edited(make_spooled(), lambda body: body["key"].update(name=7))

    with pytest.raises(ValueError, match="int instead of str"):
        decode_recording(payload)
