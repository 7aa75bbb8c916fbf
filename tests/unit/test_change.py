"""What a change is called, which fields it lists, and which values are the same."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from gate.domain.change import (
    ActionType,
    Change,
    Operation,
    compare,
    digest_request,
)
from gate.domain.reading import Readings, take_snapshot
from gate.domain.snapshot import RESTARTED_AT, describe_state
from gate.domain.workload import Kind
from tests.reviews import Body, make_body, make_scale
from tests.timeline import SEAL

Edit = Callable[[Body], object]


def container(body: Body) -> Any:
    return body["spec"]["template"]["spec"]["containers"][0]


def template(body: Body) -> Any:
    return body["spec"]["template"]


def resources(group: str, **entries: object) -> Edit:
    return lambda body: container(body)["resources"].update({group: entries})


def annotate(name: str, value: str) -> Edit:
    return lambda body: template(body)["metadata"].update(annotations={name: value})


def change_of(*edits: Edit, start: tuple[Edit, ...] = (), kind: Kind = Kind.DEPLOYMENT) -> Change:
    """Return the change that some edits make of a small workload."""
    change = compare_bodies(*edits, start=start, kind=kind)
    assert change is not None
    return change


def compare_bodies(
    *edits: Edit, start: tuple[Edit, ...] = (), kind: Kind = Kind.DEPLOYMENT
) -> Change | None:
    old = make_body(kind)
    for edit in start:
        edit(old)
    new = copy.deepcopy(old)
    for edit in edits:
        edit(new)
    return compare(
        kind,
        Operation.UPDATE,
        before=take_snapshot(old, Readings(SEAL)),
        after=take_snapshot(new, Readings(SEAL)),
    )


def set_spec(**entries: object) -> Edit:
    return lambda body: body["spec"].update(entries)


def set_pod(**entries: object) -> Edit:
    return lambda body: template(body)["spec"].update(entries)


def set_container(**entries: object) -> Edit:
    return lambda body: container(body).update(entries)


def set_metadata(**entries: object) -> Edit:
    return lambda body: body["metadata"].update(entries)


_SIDECAR = {"name": "sidecar", "image": "proxy:2", "resources": {"limits": {"cpu": "1"}}}
_SCALE, _IMAGE = set_spec(replicas=7), set_container(image="web:2.0")
_RESTART = annotate(RESTARTED_AT[0], "2026-11-24T08:00:00Z")
_ENVIRONMENT = set_container(env=[{"name": "A", "value": "1"}])
_TEMPLATE, _STRATEGY = set_container(args=["-v"]), set_spec(paused=True)
_METADATA = set_metadata(labels={"app": "other"})
_RESOURCES = resources("limits", cpu="1")


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([_SCALE], "scale_deployment"),
        ([resources("requests", cpu="1")], "increase_resources"),
        ([_RESOURCES], "decrease_resources"),
        ([resources("requests", cpu="1"), _RESOURCES], "adjust_resources"),
        ([set_pod(resources={"requests": {"memory": "1Gi"}})], "increase_resources"),
        ([_IMAGE], "update_image"),
        ([_RESTART], "restart_deployment"),
        ([annotate(RESTARTED_AT[1], "2026-11-24 08:00:00.123456+00:00")], "restart_deployment"),
        ([_ENVIRONMENT], "update_environment"),
        ([set_container(envFrom=[{"secretRef": {"name": "x"}}])], "update_environment"),
        ([_TEMPLATE], "update_template"),
        ([set_pod(volumes=[{"name": "data"}])], "update_template"),
        ([set_pod(serviceAccountName="other")], "update_template"),
        ([annotate("example.com/x", "1")], "update_template"),
        ([lambda b: template(b)["metadata"].update(labels={"v": "2"})], "update_template"),
        ([lambda b: template(b)["spec"]["containers"].append(_SIDECAR)], "update_template"),
        ([set_pod(initContainers=[_SIDECAR])], "update_template"),
        ([set_pod(initContainers=[{**_SIDECAR, "restartPolicy": "Always"}])], "update_template"),
        ([set_container(name="renamed")], "update_template"),
        ([_STRATEGY], "update_strategy"),
        ([set_spec(strategy={"type": "Recreate"})], "update_strategy"),
        ([set_spec(revisionHistoryLimit=1)], "update_strategy"),
        ([set_spec(progressDeadlineSeconds=1)], "update_strategy"),
        ([set_spec(volumeClaimTemplates=[{"metadata": {"name": "d"}}])], "update_strategy"),
        ([set_spec(somethingNew={"a": 1})], "update_strategy"),
        ([_METADATA], "update_metadata"),
        ([set_metadata(annotations={"a": "b"})], "update_metadata"),
    ],
)
def test_change_is_named_by_what_it_does(edits: list[Edit], expected: str) -> None:
    assert change_of(*edits).action_type == expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [(_SCALE, "scale_statefulset"), (_RESTART, "restart_statefulset"), (_IMAGE, "update_image")],
)
def test_scaling_and_restarting_are_named_by_kind(edit: Edit, expected: str) -> None:
    assert change_of(edit, kind=Kind.STATEFUL_SET).action_type == expected


def test_mixed_change_is_named_by_its_consequence() -> None:
    by_consequence = [
        (_SCALE, "scale_deployment"),
        (_RESOURCES, "decrease_resources"),
        (_IMAGE, "update_image"),
        (_RESTART, "restart_deployment"),
        (_ENVIRONMENT, "update_environment"),
        (_TEMPLATE, "update_template"),
        (_STRATEGY, "update_strategy"),
        (_METADATA, "update_metadata"),
    ]

    for index in range(len(by_consequence)):
        edits = [edit for edit, _ in by_consequence[index:]]
        change = change_of(*reversed(edits))

        assert change.action_type == by_consequence[index][1]
        assert len(change.fields) >= len(edits)


def test_creation_and_deletion_are_named_so() -> None:
    held = take_snapshot(make_body(replicas=4), Readings(SEAL))

    created = compare(Kind.DEPLOYMENT, Operation.CREATE, before=None, after=held)
    deleted = compare(Kind.DEPLOYMENT, Operation.DELETE, before=held, after=None)

    assert created is not None
    assert deleted is not None
    assert created.action_type is ActionType.CREATE_WORKLOAD
    assert created.fields[0].as_json() == {"field": "replicas", "before": None, "after": 4}
    assert deleted.action_type is ActionType.DELETE_WORKLOAD
    assert [c.as_json() for c in deleted.fields] == [{"field": "replicas", "before": 4, "after": 0}]


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body.update(status={"replicas": 9}),
        set_metadata(generation=9, resourceVersion="9", managedFields=[{}], finalizers=["x"]),
        resources("limits"),
        set_pod(nodeSelector=None),
        set_spec(paused=None),
        set_container(command=None),
    ],
)
def test_change_of_nothing_that_counts_is_no_change(edit: Edit) -> None:
    assert compare_bodies(edit) is None


def test_same_objects_are_no_change() -> None:
    assert compare_bodies() is None


@pytest.mark.parametrize(
    ("replicas", "counted"),
    [(None, 1), (0, 0), (1, 1), (2**31 - 1, 2**31 - 1), ("x", 1), (True, 1)],
)
def test_absent_replicas_of_an_object_are_one(replicas: object, counted: int) -> None:
    state = describe_state(take_snapshot(make_body(replicas=replicas), Readings(SEAL)))

    assert state["replicas"] == counted


@pytest.mark.parametrize("replicas", [0, 4])
def test_scale_leaves_out_no_replicas_where_there_are_none(replicas: int) -> None:
    scale = make_scale(make_body(replicas=replicas))

    assert describe_state(take_snapshot(scale, Readings(SEAL))) == {"replicas": replicas}


def test_change_shows_values_and_amounts() -> None:
    change = change_of(
        _SCALE,
        resources("limits", memory="512Mi", cpu="1.5"),
        start=(resources("limits", memory="256Mi", cpu="500m"),),
    )

    assert [field.as_json() for field in change.fields] == [
        {"field": "replicas", "before": 5, "after": 7},
        {
            "container": "app",
            "field": "limits.cpu",
            "before": "500m",
            "after": "1.5",
            "before_millicores": 500,
            "after_millicores": 1500,
        },
        {
            "container": "app",
            "field": "limits.memory",
            "before": "256Mi",
            "after": "512Mi",
            "before_bytes": 268435456,
            "after_bytes": 536870912,
        },
    ]


def test_container_that_came_changes_the_template_and_is_listed_whole() -> None:
    change = change_of(lambda body: template(body)["spec"]["containers"].append(_SIDECAR))

    assert change.action_type is ActionType.UPDATE_TEMPLATE
    assert [field.as_json() for field in change.fields] == [
        {
            "container": "sidecar",
            "field": "limits.cpu",
            "before": None,
            "after": "1",
            "after_millicores": 1000,
        },
        {"container": "sidecar", "field": "image", "before": None, "after": "proxy:2"},
        {"field": "template.containers", "before": ["app"], "after": ["app", "sidecar"]},
    ]


def test_containers_that_came_with_other_limits_are_other_requests() -> None:
    def bring(cpu: str) -> Change:
        sidecar = {**_SIDECAR, "resources": {"limits": {"cpu": cpu}}}
        return change_of(lambda body: template(body)["spec"]["containers"].append(sidecar))

    def digest_of(change: Change) -> str:
        return digest_request(change, operation=Operation.UPDATE, subresource="", actor="agent")

    assert digest_of(bring("1")) != digest_of(bring("2"))
    assert bring("1").fingerprint != bring("2").fingerprint


def test_extended_resource_without_a_limit_is_none_of_it() -> None:
    change = change_of(
        lambda body: template(body)["spec"]["containers"][0].update(
            resources={"limits": {"nvidia.com/gpu": "1"}}
        )
    )

    assert change.action_type is ActionType.INCREASE_RESOURCES


def test_reordered_containers_are_a_change_of_the_list_only() -> None:
    two = (lambda body: template(body)["spec"]["containers"].append(_SIDECAR),)

    change = change_of(lambda body: template(body)["spec"]["containers"].reverse(), start=two)

    assert [(f.field.container, f.field.name) for f in change.fields] == [
        ("", "template.containers")
    ]


_LIMIT, _REQUEST = resources("limits", cpu="1"), resources("requests", cpu="1")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (resources("limits"), _LIMIT, "decrease_resources"),
        (_LIMIT, resources("limits"), "increase_resources"),
        (resources("requests"), _REQUEST, "increase_resources"),
        (_REQUEST, resources("requests"), "decrease_resources"),
        (_LIMIT, resources("limits", cpu="1001m"), "increase_resources"),
        (_LIMIT, resources("limits", cpu="999m"), "decrease_resources"),
        (_LIMIT, resources("limits", cpu="nonsense"), "adjust_resources"),
        (
            resources("limits", **{"nvidia.com/gpu": "1"}),
            resources("limits", **{"nvidia.com/gpu": 2}),
            "increase_resources",
        ),
        (
            resources("limits", cpu="1", memory="1Gi"),
            resources("limits", cpu="2", memory="512Mi"),
            "adjust_resources",
        ),
    ],
)
def test_direction_of_resources_knows_what_absence_means(
    before: Edit, after: Edit, expected: str
) -> None:
    assert change_of(after, start=(before,)).action_type == expected


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("cpu", "1", 1),
        ("cpu", "1", "1000m"),
        ("cpu", 0.5, "500m"),
        ("cpu", "1e3", 1000),
        ("cpu", 1e3, "1k"),
        ("memory", "1Gi", "1024Mi"),
        ("memory", "1.5Gi", "1536Mi"),
        ("memory", "1.5Gi", 1610612736),
        ("memory", "1E", "1e18"),
        ("ephemeral-storage", "1e3", "1000"),
        ("ephemeral-storage", "1.50", "1.5"),
        ("cpu", "nonsense", "nonsense"),
    ],
)
def test_equal_quantities_are_no_change_and_one_fingerprint(
    name: str, one: object, other: object
) -> None:
    def to(value: object) -> Change:
        return change_of(resources("limits", **{name: value}), start=(resources("limits"),))

    same = compare_bodies(
        resources("limits", **{name: other}), start=(resources("limits", **{name: one}),)
    )

    assert same is None
    assert to(one).fingerprint == to(other).fingerprint


@pytest.mark.parametrize("nonsense", ["lots", "", "1 Gi", "1gi", "--1", "1e", "٣", "1" * 65])
def test_nonsense_is_kept_as_text(nonsense: str) -> None:
    change = change_of(resources("limits", memory=nonsense))

    assert change.fields[0].as_json()["after"] == nonsense
    assert "after_bytes" not in change.fields[0].as_json()


def test_restart_instant_is_masked_in_the_change_and_not_in_the_request() -> None:
    first, second = (
        change_of(annotate(RESTARTED_AT[0], f"2026-11-24T08:0{n}:00Z")) for n in (1, 2)
    )

    def request(change: Change) -> str:
        return digest_request(change, operation=Operation.UPDATE, subresource="", actor="a")

    assert first.fingerprint == second.fingerprint
    assert request(first) != request(second)


def test_request_is_told_by_operation_subresource_actor_and_old_values() -> None:
    to_seven = change_of(_SCALE)
    from_six = change_of(_SCALE, start=(set_spec(replicas=6),))
    update, create = Operation.UPDATE, Operation.CREATE

    digests = {
        digest_request(to_seven, operation=update, subresource="", actor="a"),
        digest_request(to_seven, operation=create, subresource="", actor="a"),
        digest_request(to_seven, operation=update, subresource="scale", actor="a"),
        digest_request(to_seven, operation=update, subresource="", actor="b"),
        digest_request(from_six, operation=update, subresource="", actor="a"),
    }

    assert len(digests) == 5
    assert to_seven.fingerprint == from_six.fingerprint


def test_state_keeps_capacity_images_and_strategy_and_digests_the_rest() -> None:
    plain = describe_state(take_snapshot(make_body(), Readings(SEAL)))
    body = make_body()
    resources("limits", cpu="1")(body)
    set_container(args=["-v"])(body)

    edited = describe_state(take_snapshot(body, Readings(SEAL)))

    assert set(plain) == {"replicas", "containers", "selector", "digest", "metadata"}
    assert edited["containers"] == {"app": {"image": "web:1.0", "limits.cpu": "1"}}
    assert edited["digest"] != plain["digest"]
