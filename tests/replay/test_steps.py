"""States before and after, rebuilt from whatever a log holds."""

from typing import Any

import pytest

from gate.replay.patch import UnpatchableError, apply_patch, outline_patch
from gate.replay.step import Gap
from tests.replay.logs import (
    HUMAN,
    LoggedWorkload,
    make_event,
    read_captured,
    replay,
    rows_of,
    swing,
)
from tests.reviews import AGENT, make_body

RESPONSES = ("responseObject",)
BODIES = ("responseObject", "requestObject")


def sides(entries: list[Any], **given: Any) -> list[tuple[object, object]]:
    return [(row.before, row.after) for row in rows_of(entries, **given)]


@pytest.mark.parametrize("strip", [(), RESPONSES])
def test_before_is_what_the_last_change_left(strip: tuple[str, ...]) -> None:
    assert sides(swing(3, 8), strip=strip) == [
        ({"replicas": 5}, {"replicas": 3}),
        ({"replicas": 3}, {"replicas": 8}),
    ]


@pytest.mark.parametrize("strip", [(), RESPONSES])
def test_changes_by_others_move_the_state_and_are_no_rows(strip: tuple[str, ...]) -> None:
    workload = LoggedWorkload()
    workload.patch(3, minute=0)
    workload.scale(9, minute=1, user=HUMAN)
    workload.scale(4, minute=2)

    assert sides(workload.entries, strip=strip) == [
        (None, {"replicas": 3}),
        ({"replicas": 9}, {"replicas": 4}),
    ]


def test_a_scale_to_zero_is_read_from_an_answer_that_leaves_it_out() -> None:
    workload = LoggedWorkload(kind="StatefulSet", name="db")
    workload.create(minute=-1)
    workload.scale(0, minute=0)

    (row,) = rows_of(workload.entries)

    assert (row.kind, row.before, row.after) == ("StatefulSet", {"replicas": 5}, {"replicas": 0})


def test_an_unknown_value_before_is_null_and_counted() -> None:
    workload = LoggedWorkload()
    workload.patch(3, minute=0)

    replayed, ((row,),) = replay(workload.entries)

    assert row.before is None
    assert row.action_type == "scale_deployment"
    assert replayed.counts.unknown_before == 1


def test_an_unknown_value_before_is_no_reduction_of_resources() -> None:
    limits = {"spec": {"template": {"spec": {"containers": [
        {"name": "app", "resources": {"limits": {"memory": "256Mi"}}}
    ]}}}}  # fmt: skip

    (row,) = rows_of([make_event(request=limits)])

    assert row.action_type == "adjust_resources"
    assert row.before is None
    assert row.after == {"containers": {"app": {"limits.memory": "256Mi"}}}


def test_an_update_of_something_unknown_is_a_gap_and_known_from_then_on() -> None:
    body = make_body(replicas=4)
    changed = make_body(replicas=6)
    changed["metadata"]["resourceVersion"] = "101"
    entries = [
        make_event(verb="update", minute=0, request=body, response=body),
        make_event(verb="update", minute=1, request=changed, response=changed),
    ]

    replayed, rows = replay(entries)

    assert replayed.counts.gaps == {Gap.BEFORE: 1}
    assert [(row.before, row.after) for (row,) in rows] == [({"replicas": 4}, {"replicas": 6})]


def test_without_bodies_only_creations_and_deletions_are_known() -> None:
    workload = LoggedWorkload()
    workload.create(minute=-1, user=AGENT)
    workload.patch(3, minute=0)
    workload.entries.append(make_event(verb="delete", minute=1))

    replayed, rows = replay(workload.entries, strip=BODIES)

    assert [(row.action_type, row.before, row.after) for (row,) in rows] == [
        ("create_workload", None, None),
        ("delete_workload", None, {"replicas": 0}),
    ]
    assert replayed.counts.gaps == {Gap.CONTENT: 1}


def test_a_creation_after_a_deletion_starts_from_nothing() -> None:
    workload = LoggedWorkload()
    workload.create(minute=0, user=AGENT)
    deletion = make_event(verb="delete", minute=1)
    workload.entries.append(deletion)
    workload.body["metadata"]["uid"] = "another"
    workload.create(minute=2, user=AGENT)

    assert sides(workload.entries) == [
        (None, {"replicas": 5}),
        ({"replicas": 5}, {"replicas": 0}),
        ({"replicas": 0}, {"replicas": 5}),
    ]


def test_a_deleted_collection_is_one_event_and_one_change_each() -> None:
    web, api = LoggedWorkload(), LoggedWorkload(name="api")
    web.create(minute=0)
    api.create(minute=0)
    gone = make_event(verb="deletecollection", name=None, minute=1)

    rows = rows_of([*web.entries, *api.entries, gone])

    assert [(row.name, row.action_type) for row in rows] == [
        ("web", "delete_workload"),
        ("api", "delete_workload"),
    ]


def test_a_deleted_collection_is_told_by_the_answer_where_there_is_one() -> None:
    items = [{"metadata": {"name": "web"}}]
    gone = make_event(
        verb="deletecollection",
        name=None,
        query="labelSelector=app%3Dweb",
        response={"kind": "DeploymentList", "items": items},
    )

    assert [row.name for row in rows_of([gone])] == ["web"]


def test_a_selected_collection_that_nothing_tells_is_a_gap() -> None:
    gone = make_event(verb="deletecollection", name=None, query="labelSelector=app%3Dweb")

    replayed, rows = replay([gone])

    assert rows == []
    assert replayed.counts.gaps == {Gap.COLLECTION: 1}


def test_an_answer_of_the_known_state_is_no_change() -> None:
    workload = LoggedWorkload()
    workload.create(minute=0)
    repeated = make_event(minute=1, request={"spec": {"replicas": 5}}, response=workload.body)

    assert rows_of([*workload.entries, repeated]) == []


def test_an_entry_that_comes_late_does_not_turn_the_state_back() -> None:
    workload = LoggedWorkload()
    workload.create(minute=-1)
    first = workload.patch(3, minute=0)
    second = workload.patch(8, minute=0.01)
    third = workload.patch(4, minute=0.02)

    assert sides([workload.entries[0], second, first, third]) == [
        ({"replicas": 5}, {"replicas": 8}),
        (None, {"replicas": 3}),
        ({"replicas": 8}, {"replicas": 4}),
    ]


def test_a_status_that_is_written_shows_the_object_and_is_no_change() -> None:
    body = make_body(replicas=7)
    status = make_event(
        verb="update", subresource="status", minute=0, user=AGENT, request=body, response=body
    )
    patched = make_event(minute=1, request={"spec": {"replicas": 2}})

    assert sides([status, patched]) == [({"replicas": 7}, {"replicas": 2})]


def test_secrets_are_not_shown() -> None:
    workload = LoggedWorkload()
    workload.create(minute=0)
    container = {"name": "app", "env": [{"name": "PASSWORD", "value": "hunter2"}]}
    change = {"spec": {"template": {"spec": {"containers": [container]}}}}

    (row,) = rows_of([*workload.entries, make_event(minute=1, request=change)])

    assert row.after == {"containers": {"app": {"env.PASSWORD": "(sealed)"}}}


def test_a_real_log_is_read_as_what_was_done() -> None:
    rows = rows_of(read_captured())

    assert [(row.name, row.action_type, row.verdict) for row in rows] == [
        ("web", "scale_deployment", "allow"),
        ("web", "scale_deployment", "allow"),
        ("web", "scale_deployment", "deny"),
        ("web", "scale_deployment", "allow"),
        ("db", "scale_statefulset", "allow"),
        ("api", "decrease_resources", "allow"),
        ("api", "increase_resources", "allow"),
        ("api", "restart_deployment", "allow"),
        ("api", "update_metadata", "allow"),
        ("web", "scale_deployment", "deny"),
        ("web", "scale_deployment", "allow"),
    ]
    assert [(row.before, row.after) for row in rows[:4]] == [
        ({"replicas": 5}, {"replicas": 3}),
        ({"replicas": 3}, {"replicas": 5}),
        ({"replicas": 5}, {"replicas": 3}),
        ({"replicas": 3}, {"replicas": 6}),
    ]


def test_a_real_log_without_answers_gives_the_same_verdicts() -> None:
    with_answers = rows_of(read_captured())
    without = rows_of(read_captured(), strip=RESPONSES)

    def scaled(rows: list[Any]) -> list[tuple[object, ...]]:
        return [
            (row.time, row.name, row.verdict, row.before["replicas"], row.after["replicas"])
            for row in rows
            if row.action_type.startswith("scale")
        ]

    assert scaled(without) == scaled(with_answers)


OBJECT = {"spec": {"replicas": 5, "list": [1, 2], "containers": [{"name": "a", "image": "x"}]}}


@pytest.mark.parametrize(
    ("patch", "spec"),
    [
        ({"spec": {"replicas": 3}}, {"replicas": 3}),
        ({"spec": {"replicas": None}}, {"replicas": ...}),
        ({"spec": {"list": [3]}}, {"list": [3]}),
        (
            {"spec": {"containers": [{"name": "a", "tty": True}, {"name": "b", "image": "y"}]}},
            {
                "containers": [
                    {"name": "a", "image": "x", "tty": True},
                    {"name": "b", "image": "y"},
                ]
            },
        ),
        ({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, {"containers": []}),
        (
            {"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}},
            {"containers": [{"name": "c"}]},
        ),
        ({"spec": {"$setElementOrder/containers": [{"name": "a"}]}}, {}),
        ([{"op": "replace", "path": "/spec/replicas", "value": 3}], {"replicas": 3}),
        ([{"op": "replace", "path": "/metadata/managedFields/0", "value": {}}], {}),
        ([{"op": "replace", "path": "/spec/list/1", "value": 3}], {"list": [1, 3]}),
        ([{"op": "remove", "path": "/spec/replicas"}], {"replicas": ...}),
        ([{"op": "add", "path": "/spec/list/-", "value": 3}], {"list": [1, 2, 3]}),
        ([{"op": "add", "path": "/spec/list/0", "value": 3}], {"list": [3, 1, 2]}),
        ([{"op": "copy", "from": "/spec/list/1", "path": "/spec/replicas"}], {"replicas": 2}),
        (
            [{"op": "move", "from": "/spec/list", "path": "/spec/a~1b"}],
            {"list": ..., "a/b": [1, 2]},
        ),
        ([{"op": "test", "path": "/spec/replicas", "value": 5}], {}),
    ],
)
def test_patches_do_what_the_api_server_would(patch: Any, spec: dict[str, Any]) -> None:
    expected = {**OBJECT["spec"], **spec}
    expected = {name: value for name, value in expected.items() if value is not ...}

    assert apply_patch(OBJECT, patch) == {"spec": expected}
    assert OBJECT["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    "patch",
    [
        None,
        "text",
        [None],
        [{"op": "remove", "path": "/spec/nothing"}],
        [{"op": "replace", "path": "/spec/nothing/inside", "value": 1}],
        [{"op": "replace", "path": "/spec/list/2", "value": 1}],
        [{"op": "add", "path": "/spec/list/9", "value": 1}],
        [{"op": "add", "path": "", "value": {}}],
        [{"op": "add", "path": "/spec/replicas/x", "value": 1}],
    ],
)
def test_a_patch_that_does_not_fit_is_told(patch: Any) -> None:
    with pytest.raises(UnpatchableError):
        apply_patch(OBJECT, patch)


def test_what_a_json_patch_sets_is_told_without_the_object() -> None:
    steps = [{"op": "replace", "path": "/spec/replicas", "value": 3}]

    assert outline_patch(steps) == {"spec": {"replicas": 3}}


def test_what_a_json_patch_does_to_a_list_is_not() -> None:
    steps = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "x"}]

    with pytest.raises(UnpatchableError):
        outline_patch(steps)
