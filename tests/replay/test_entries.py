"""What of a log counts as a change that took effect, and by whom."""

import orjson
import pytest

from gate.domain.workload import Kind
from gate.replay.call import Call, UnreadableError, Verb
from gate.replay.entry import read_line
from tests.replay.logs import Entry, at, make_entry, make_event
from tests.reviews import AGENT

PATCH = {"spec": {"replicas": 3}}


def read(entry: Entry) -> Call | None:
    calls = list(read_line(orjson.dumps(entry)))
    return calls[0] if calls else None


def test_a_complete_write_is_read() -> None:
    call = read(make_event(request=PATCH, response={"kind": "Deployment"}))

    assert call is not None
    assert (call.verb, call.kind, call.namespace, call.name, call.subresource) == (
        Verb.PATCH,
        Kind.DEPLOYMENT,
        "shop",
        "web",
        "",
    )
    assert call.identity.name == AGENT
    assert call.request == PATCH


@pytest.mark.parametrize(
    "given",
    [
        {"stage": "RequestReceived"},
        {"stage": "Panic"},
        {"code": 403},
        {"code": 409},
        {"code": 500},
        {"query": "dryRun=All"},
        {"query": "fieldManager=x&dryRun=All&force=true"},
        {"verb": "delete", "request": {"kind": "DeleteOptions", "dryRun": ["All"]}},
        {"verb": "get"},
        {"verb": "watch"},
        {"resource": "replicasets"},
        {"resource": "pods"},
        {"subresource": "rollback"},
        {
            "objectRef": {
                "resource": "deployments",
                "apiGroup": "extensions",
                "apiVersion": "v1beta1",
            }
        },
    ],
)
def test_what_did_not_happen_or_is_no_change_of_a_workload_is_none(given: Entry) -> None:
    assert read(make_event(**{"request": PATCH, **given})) is None


def test_an_impersonated_user_is_who_asked() -> None:
    entry = make_event(user="admin", impersonatedUser={"username": AGENT, "groups": ["agents"]})

    call = read(entry)

    assert call is not None
    assert call.identity.name == AGENT
    assert call.identity.groups == ("agents",)


def test_the_end_of_a_call_is_its_time() -> None:
    call = read(make_event(requestReceivedTimestamp=at(0), stageTimestamp=at(2)))

    assert call is not None
    assert call.at.minute == 2


def test_a_created_object_is_named_by_the_answer() -> None:
    response = {"kind": "Deployment", "metadata": {"name": "web-x7"}, "spec": {}}

    call = read(make_event(verb="create", name=None, response=response, code=201))

    assert call is not None
    assert call.name == "web-x7"


def test_a_list_of_events_is_read_like_lines() -> None:
    listed = {"kind": "EventList", "items": [make_event(), make_event(name="api")]}

    assert [call.name for call in read_line(orjson.dumps(listed))] == ["web", "api"]


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"3", b'"deployments"', b"not json", b'{"a": 1}}', b"\xff\xfe", b"\x00"],
)
def test_a_broken_line_is_told(line: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"^it is not (JSON|a JSON object)$"):
        list(read_line(line))


@pytest.mark.parametrize(
    "time", [None, 5, "yesterday", "2026-03-10T09:00:00", "9999-12-31T23:59:59Z"]
)
def test_an_entry_without_a_usable_time_is_told(time: object) -> None:
    entry = make_event(stageTimestamp=time, requestReceivedTimestamp=None)

    with pytest.raises(UnreadableError, match="time"):
        read(entry)


def test_google_entries_tell_the_same() -> None:
    call = read(
        make_entry(
            request={"@type": "k8s.io/Patch", "spec": {"replicas": 3.0}},
            response={"@type": "apps.k8s.io/v1.Deployment", "spec": {"replicas": 3}},
        )
    )

    assert call is not None
    assert (call.verb, call.namespace, call.name, call.subresource) == (
        Verb.PATCH,
        "shop",
        "web",
        "",
    )
    assert call.identity.name == AGENT
    assert call.request == {"spec": {"replicas": 3}}
    assert call.response == {"spec": {"replicas": 3}}


def test_a_google_entry_of_a_scale_is_told_by_its_method() -> None:
    call = read(
        make_entry(
            method="statefulsets.scale.update",
            resource_name="apps/v1/namespaces/shop/statefulsets/db/scale",
        )
    )

    assert call is not None
    assert (call.kind, call.name, call.subresource) == (Kind.STATEFUL_SET, "db", "scale")


@pytest.mark.parametrize(
    "given",
    [
        {"code": 7},
        {"method": "deployments.list"},
        {"method": "deployments"},
        {"method": "replicasets.patch"},
        {"request": {"dryRun": ["All"]}},
    ],
)
def test_google_entries_of_anything_else_are_none(given: Entry) -> None:
    assert read(make_entry(**given)) is None
