"""How fields of capacity read, and who is named as the writer of one."""

from typing import Any

import pytest

from gate.domain.capacity import (
    capacity_fields,
    describe_holding,
    describe_number,
    field_text,
    parse_field,
    resource_fields,
)
from gate.domain.move import Move
from gate.domain.request import owners_of
from gate.domain.snapshot import REPLICAS, Field, Part
from gate.domain.trace import UNLIMITED
from gate.domain.words import describe_path
from tests.timeline import minute

_LIMIT = Field(Part.RESOURCES, "web", "limits.memory")
_REQUEST = Field(Part.RESOURCES, "web", "requests.cpu")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (REPLICAS, "replicas"),
        (_LIMIT, "web limits.memory"),
        (Field(Part.RESOURCES, "", "requests.cpu"), "requests.cpu"),  # of the pod as a whole
        (Field(Part.RESOURCES, "replicas", "limits.cpu"), "replicas limits.cpu"),
    ],
)
def test_field_and_its_text_stand_for_each_other(field: Field, text: str) -> None:
    assert field_text(field) == text
    assert parse_field(text) == field


def test_only_replicas_cpu_and_memory_are_capacity() -> None:
    changed = {
        ("", "replicas"): 1,
        ("web", "limits.memory"): 2,
        ("web", "limits.nvidia.com/gpu"): 3,
        ("web", "replicas"): 4,
        ("web", "image"): 5,
        ("", "labels.replicas"): 6,
        ("web", "env.requests.cpu"): 7,
    }

    assert capacity_fields(changed) == (REPLICAS, _LIMIT)
    assert resource_fields(changed) == (_LIMIT,)


@pytest.mark.parametrize(
    ("field", "number", "words"),
    [
        (REPLICAS, 5, "5"),
        (_LIMIT, 512 * 2**20, "512Mi"),
        (_LIMIT, UNLIMITED, "none"),
        (_LIMIT, 0, "0"),
        (_REQUEST, 250, "250m"),
        (_REQUEST, 0, "none"),
    ],
)
def test_number_reads_as_people_write_it(field: Field, number: int, words: str) -> None:
    assert describe_number(field, number) == words


def test_holding_says_what_it_is_of() -> None:
    assert describe_holding(REPLICAS, 10) == "10 replicas"
    assert describe_holding(_LIMIT, 2**30) == "1Gi of web limits.memory"


def test_path_reads_in_quantities() -> None:
    moves = [Move(minute(0), UNLIMITED, 2**29), Move(minute(1), 2**29, 2**28)]

    words = describe_path(moves, then=UNLIMITED, show=lambda n: describe_number(_LIMIT, n))

    assert words == "none → 512Mi → 256Mi → none"


def managed(*entries: tuple[str, str, dict[str, Any]], **given: Any) -> dict[str, Any]:
    """Return an object with managed fields: manager, time, and what it owns."""
    return {
        "metadata": {
            "managedFields": [
                {"manager": manager, "time": time, "fieldsV1": fields, **given}
                for manager, time, fields in entries
            ]
        }
    }


def owning(containers: dict[str, Any], *, listing: str = "f:containers") -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": {listing: containers}}}}


def test_owner_of_each_field_is_the_one_that_wrote_it_last() -> None:
    memory: dict[str, Any] = {"f:resources": {"f:limits": {".": {}, "f:memory": {}}}}
    both: dict[str, Any] = {
        "f:resources": {"f:limits": {"f:memory": {}}, "f:requests": {"f:cpu": {}}}
    }
    body = managed(
        ("argocd", "2026-11-24T08:00:00Z", owning({'k:{"name":"web"}': memory})),
        ("helm", "2026-11-23T08:00:00Z", owning({'k:{"name":"web"}': both, "k:{}": {".": {}}})),
        (
            "istio",
            "2026-11-22T08:00:00Z",
            owning({'k:{"name":"init"}': both}, listing="f:initContainers"),
        ),
        ("hpa", "2026-11-21T08:00:00Z", {"f:spec": {"f:replicas": {}}}),
        ("flux", "2026-11-20T08:00:00Z", owning({'k:{"name":"web"}': {"f:image": {}}})),
    )

    assert owners_of(body) == {
        ("web", "image"): "flux",
        ("web", "limits.memory"): "argocd",
        ("web", "requests.cpu"): "helm",
        ("init", "limits.memory"): "istio",
        ("init", "requests.cpu"): "istio",
        ("", "replicas"): "hpa",
    }


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        {"f:spec": []},
        {"f:spec": {"f:template": {"f:spec": {"f:containers": ["web"]}}}},
        owning({'k:{"name":"web"}': []}),
        owning({'k:{"name":"web"}': {"f:resources": {"f:limits": "x"}}}),
        owning({"k:": None}),
    ],
)
def test_managed_fields_of_any_shape_name_nobody(fields: Any) -> None:
    assert owners_of(managed(("argocd", "2026-11-24T08:00:00Z", fields))) == {}
