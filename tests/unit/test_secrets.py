"""Secrets never leave a snapshot; what is sealed still compares. No shape of an object raises."""

import copy
import gc
import hmac
import json
from collections.abc import Iterator
from dataclasses import asdict
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.change import Operation, compare, digest_request
from gate.domain.reading import Readings, take_snapshot
from gate.domain.request import metadata_of, owners_of, text_map
from gate.domain.seal import Seal
from gate.domain.snapshot import RESTARTED_AT, describe_state
from gate.domain.workload import Kind
from tests.reviews import Body, make_body
from tests.timeline import SEAL, make_request, minute, start_timeline

_OTHER = Seal(b"another key that only tests know of, really")
_SECRET = "hunter2"  # noqa: S105  # the word that must not be found anywhere
_NUMBER = "4111 1111 1111 1111"


def plant(secret: str) -> Body:
    """Return a workload with a secret in every place where people leave them."""
    body = make_body()
    template = body["spec"]["template"]
    holder = {
        "name": "app",
        "image": "web:1.0",
        "env": [
            {"name": "PASSWORD", "value": secret},
            {"name": "TWICE", "value": secret},
            {"name": "TWICE", "value": "x" + secret},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}},
        ],
        "envFrom": [{"prefix": secret, "secretRef": {"name": secret}}],
        "args": ["--password", secret],
        "command": ["sh", "-c", f"login {secret}"],
        "livenessProbe": {
            "httpGet": {"httpHeaders": [{"name": "Authorization", "value": secret}]},
            "exec": {"command": [secret]},
        },
        "lifecycle": {"preStop": {"exec": {"command": [secret]}}},
        "resources": {"claims": [{"name": secret}]},
        "volumeMounts": [{"mountPath": secret}],
        "workingDir": secret,
    }
    template["spec"] |= {
        "containers": [holder],
        "initContainers": [{**copy.deepcopy(holder), "name": "init"}],
        "volumes": [{"name": "v", "csi": {"volumeAttributes": {"password": secret}}}],
        "hostAliases": [{"hostnames": [secret]}],
        "imagePullSecrets": [{"name": secret}],
        "securityContext": {"sysctls": [{"name": "x", "value": secret}]},
    }
    foreign = {"example.com/token": secret}
    template["metadata"]["annotations"] = {
        **foreign,
        RESTARTED_AT[0]: secret,
        RESTARTED_AT[1]: _NUMBER,
    }
    body["metadata"]["annotations"] = {
        **foreign,
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"password": secret}),
    }
    body["spec"]["volumeClaimTemplates"] = [{"metadata": {"annotations": {"a": secret}}}]
    return body


def says(words: object) -> bool:
    """Tell whether a secret can be read in anything that is stored or shown."""
    text = f"{words!r} {words}"
    return _SECRET in text or _NUMBER in text


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("before", [make_body(), plant("correct horse")], ids=["none", "other"])
def test_planted_secrets_are_in_nothing_that_leaves_a_change(
    operation: Operation, before: Body
) -> None:
    old, new = take_snapshot(before, Readings(SEAL)), take_snapshot(plant(_SECRET), Readings(SEAL))
    change = compare(Kind.DEPLOYMENT, operation, before=old, after=new)
    assert change is not None

    for words in (
        new,
        change,
        change.fingerprint,
        [field.as_json() for field in change.fields],
        describe_state(new),
        digest_request(change, operation=operation, subresource="", actor="a"),
    ):
        assert not says(words)


async def test_planted_secrets_are_in_nothing_that_is_written_or_answered() -> None:
    timeline = await start_timeline()
    request = make_request(Operation.UPDATE, old=make_body(), new=plant(_SECRET))

    event = await timeline.review(request, at=minute(0))

    (recording,) = timeline.recordings
    assert not says(request)
    assert not says(asdict(recording))
    assert not says(event.reviewed)
    assert "hmac:" in json.dumps(recording.parameters)


def test_every_planted_secret_is_a_change_when_it_changes() -> None:
    old, new = (
        take_snapshot(plant(secret), Readings(SEAL)) for secret in ("correct horse", _SECRET)
    )

    change = compare(Kind.DEPLOYMENT, Operation.UPDATE, before=old, after=new)

    assert change is not None
    changed = {(field.field.container, field.field.name) for field in change.fields}
    assert changed == {
        *((c, n) for c in ("app", "init") for n in _CONTAINER_FIELDS),
        *(("", name) for name in _OTHER_FIELDS),
    }


_CONTAINER_FIELDS = (
    *("env.PASSWORD", "env.TWICE", "env.KEY", "envFrom", "args", "command", "livenessProbe"),
    *("lifecycle", "resources.claims", "volumeMounts", "workingDir"),
)
_OTHER_FIELDS = (
    *("template.volumes", "template.hostAliases", "template.imagePullSecrets"),
    *("template.securityContext", "template.annotations.example.com/token", RESTARTED_AT[0]),
    *("annotations.example.com/token", "volumeClaimTemplates"),
    "annotations.kubectl.kubernetes.io/last-applied-configuration",
)


def test_what_is_remembered_of_an_object_holds_no_secret() -> None:
    readings = Readings(SEAL)

    take_snapshot(plant(_SECRET), readings)

    held = list(texts_in(readings))
    assert "web:1.0" in held
    assert not any(_SECRET in text for text in held)


def texts_in(start: object) -> Iterator[str]:
    """Yield every text and every bytes that an object leads to, code apart."""
    seen: dict[int, object] = {}
    waiting = [start]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, type | FunctionType | ModuleType):
            continue
        seen[id(held)] = held
        if isinstance(held, str | bytes):
            yield held if isinstance(held, str) else held.decode("latin-1")
        waiting.extend(gc.get_referents(held))


def test_key_of_a_seal_is_not_shown() -> None:
    assert repr(SEAL) == str(SEAL) == "Seal()"


@pytest.mark.parametrize(
    "value",
    ["2026-11-24T08:00:00Z", "2026-11-24T09:00:00+01:00", "2026-11-24 08:00:00.123456+00:00"],
)
def test_instant_of_a_restart_is_kept_as_it_is(value: str) -> None:
    assert restart_shown(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "hunter2hunter2",
        _NUMBER,
        "1234567890",
        "00:11:22:33:44:55",
        "2026-11-24T08:00:00Z hunter2",
        "",
    ],
)
def test_anything_else_in_its_place_is_sealed(value: str) -> None:
    assert str(restart_shown(value)).startswith("hmac:")


def restart_shown(value: str) -> object:
    body = make_body()
    body["spec"]["template"]["metadata"]["annotations"] = {RESTARTED_AT[0]: value}
    snapshot = take_snapshot(body, Readings(SEAL))
    return next(v.shown for field, v in snapshot.items() if field.name == RESTARTED_AT[0])


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_bounded = settings(deadline=None, max_examples=100, derandomize=True)


@_bounded
@given(_json, _json)
def test_equal_values_seal_equal_and_different_ones_differ(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert SEAL(one) == SEAL(copy.deepcopy(one))
    assert (SEAL(one) == SEAL(other)) is same
    assert one is None or SEAL(one) != _OTHER(one)


@pytest.mark.parametrize("size", [32, 63, 64, 65, 100])
def test_a_seal_is_the_beginning_of_an_hmac(size: int) -> None:
    key = bytes(range(size))

    assert Seal(key)("hunter2") == "hmac:" + hmac.digest(key, b'"hunter2"', "sha256").hex()[:32]


def test_order_of_keys_does_not_matter_to_a_seal() -> None:
    assert SEAL({"a": 1, "b": 2}) == SEAL({"b": 2, "a": 1})
    assert SEAL(None) is None


_NAMES = (
    *("kind", "metadata", "spec", "template", "containers", "initContainers", "name", "image"),
    *("resources", "limits", "requests", "cpu", "memory", "env", "envFrom", "labels"),
    *("annotations", "replicas", "strategy", "managedFields", "fieldsV1", "f:spec", "Scale"),
)
_named = st.sampled_from(_NAMES)
_weird = st.recursive(
    _json | _named,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_named, inner, max_size=5),
    max_leaves=25,
)
_bodies = st.dictionaries(_named, _weird, max_size=6)


def with_paths(body: Any, weird: object, at: int) -> Any:
    """Put something weird at one place of an otherwise ordinary workload."""
    ordinary = plant("x")
    template = ordinary["spec"]["template"]
    holder = template["spec"]["containers"][0]
    places: list[tuple[Any, str]] = [
        *((ordinary, name) for name in ("metadata", "spec")),
        *((ordinary["metadata"], name) for name in ("labels", "annotations", "managedFields")),
        *((ordinary["spec"], name) for name in ("replicas", "template", "strategy", "containers")),
        *((template, name) for name in ("metadata", "spec")),
        *((template["metadata"], name) for name in ("labels", "annotations")),
        *((template["spec"], name) for name in ("containers", "initContainers", "resources")),
        *((holder, name) for name in ("name", "image", "resources", "env", "envFrom", "args")),
        (holder["resources"], "limits"),
    ]
    place, name = places[at % len(places)]
    place[name] = weird
    return {**ordinary, **body}


@_bounded
@given(_bodies, _bodies, _weird, st.integers(0, 100), st.booleans())
def test_no_shape_of_an_object_raises(
    old: Body,
    new: Body,
    weird: object,
    at: int,
    ordinary: bool,  # noqa: FBT001  # hypothesis draws it
) -> None:
    if ordinary:
        new = with_paths({}, weird, at)
    before, after = take_snapshot(old, Readings(SEAL)), take_snapshot(new, Readings(SEAL))

    for operation in Operation:
        change = compare(Kind.DEPLOYMENT, operation, before=before, after=after)
        if change is not None:
            json.dumps([field.as_json() for field in change.fields])
            digest_request(change, operation=operation, subresource="", actor="a")
    json.dumps(describe_state(after))
    assert compare(Kind.DEPLOYMENT, Operation.UPDATE, before=after, after=after) is None
    owners_of(new)
    text_map(metadata_of(new).get("labels"))
