"""Unusual and hostile input: decided, recorded so that it can be stored, never a traceback."""

import json
from typing import Any

import pytest
import structlog

from tests.reviews import AGENT, Body, StoredWorkload, make_body, make_review
from tests.webhook.gateway import Gateway

CONTEXT = "ai.prometheus-alerts-slm.io/"
LONGEST_NAME = ".".join(["a" * 63] * 3 + ["b" * 61])
LONGEST_NAMESPACE = "n" * 63


def scaled(before: Any, after: Any) -> Body:
    """Return the review of a change of replicas, None meaning that they are left out."""
    return make_review(make_body(replicas=before), make_body(replicas=after))


def changes_of(gateway: Gateway) -> list[dict[str, Any]]:
    """Return the changes of the only trace."""
    (recording,) = gateway.histories.recordings
    changes: list[dict[str, Any]] = json.loads(json.dumps(recording.parameters["changes"]))
    return changes


async def test_other_kinds_and_subresources_are_admitted_without_a_trace(gateway: Gateway) -> None:
    others = [
        ({"group": "apps", "version": "v1", "resource": "daemonsets"}, ""),
        ({"group": "apps", "version": "v1", "resource": "deployments"}, "status"),
        ({"group": "", "version": "v1", "resource": "pods"}, "exec"),
        ({"group": "example.com", "version": "v1", "resource": "deployments"}, ""),
        ({"version": "v1", "resource": "namespaces"}, None),
    ]
    for resource, subresource in others:
        review = scaled(5, 3)
        review["request"] |= {"resource": resource, "subResource": subresource, "object": None}

        reply = await gateway.send(review)

        assert reply.response == {"uid": review["request"]["uid"], "allowed": True}
    assert gateway.histories.reads == 0
    counted = gateway.count(
        "gate_admission_reviews_total",
        operation="UPDATE",
        kind="other",
        verdict="allow",
        mode="enforce",
    )
    assert counted == len(others)


async def test_connect_is_admitted_without_a_trace(gateway: Gateway) -> None:
    review = make_review(None, make_body(), operation="CONNECT")

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.send(review)

    assert reply.is_allowed
    assert gateway.histories.recordings == []
    assert [(line["event"], line["ungoverned"]) for line in lines] == [
        ("admission.allowed", "apps/deployments")
    ]


@pytest.mark.parametrize(
    ("before", "after", "recorded"),
    [
        (None, 3, (1, 3)),
        (5, None, (5, 1)),
        (5, 0, (5, 0)),
        (0, 2**31 - 1, (0, 2**31 - 1)),
        (5, -1, (5, -1)),
        (5, 2**63, (5, str(2**63))),
        (5, int("9" * 4000), (5, "9" * 4000)),
        (5, True, (5, 1)),
        (5, "7", (5, 1)),
        (5, 7.5, (5, 1)),
        (5, {"a": []}, (5, 1)),
    ],
)
async def test_replicas_of_any_value_are_decided(
    gateway: Gateway, before: Any, after: Any, recorded: tuple[int, Any]
) -> None:
    reply = await gateway.send(scaled(before, after))

    assert reply.is_allowed
    assert changes_of(gateway) == [
        {"field": "replicas", "before": recorded[0], "after": recorded[1]}
    ]


async def test_scale_without_replicas_is_zero(gateway: Gateway) -> None:
    await gateway.send(StoredWorkload(subresource="scale").scale(0))

    assert changes_of(gateway) == [{"field": "replicas", "before": 5, "after": 0}]


@pytest.mark.parametrize(
    "strange",
    [None, 7, "spec", [], {}, {"template": []}, {"template": {"spec": {"containers": 7}}}],
)
@pytest.mark.parametrize("part", ["spec", "metadata", "status"])
async def test_objects_of_any_shape_are_decided(gateway: Gateway, part: str, strange: Any) -> None:
    review = scaled(5, 3)
    review["request"]["object"][part] = strange

    reply = await gateway.send(review)

    assert reply.is_allowed
    assert gateway.count("gate_admission_failures_total", stage="undecided") == 0


@pytest.mark.parametrize(
    "resources",
    [
        ("1", "1000m"),
        ("1000m", 1),
        ("0.5", "500m"),
        ("1e3", "1k"),
        (0.5, "500m"),
    ],
)
async def test_equal_quantities_are_no_change(gateway: Gateway, resources: tuple[Any, Any]) -> None:
    old, new = make_body(), make_body()
    for body, quantity in zip((old, new), resources, strict=True):
        container = body["spec"]["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": quantity}}

    await gateway.send(make_review(old, new))

    assert gateway.histories.recordings == []


@pytest.mark.parametrize(
    ("before", "after", "action_type", "amounts"),
    [
        ("1Gi", "1.5Gi", "increase_resources", {"before_bytes": 2**30, "after_bytes": 3 * 2**29}),
        ("1Gi", "1G", "decrease_resources", {"before_bytes": 2**30, "after_bytes": 10**9}),
        ("1Gi", "lots", "adjust_resources", {"before_bytes": 2**30}),
        ("1Gi", "9" * 500, "adjust_resources", {"before_bytes": 2**30}),
        ("nonsense", "1e999", "adjust_resources", {}),
    ],
)
async def test_other_quantities_are_compared_and_nonsense_is_kept(
    gateway: Gateway, before: str, after: str, action_type: str, amounts: dict[str, int]
) -> None:
    old, new = make_body(), make_body()
    for body, quantity in ((old, before), (new, after)):
        container = body["spec"]["template"]["spec"]["containers"][0]
        container["resources"] = {"limits": {"memory": quantity}}

    reply = await gateway.send(make_review(old, new))

    shown = {"container": "app", "field": "limits.memory", "before": before, "after": after}
    assert reply.is_allowed
    assert changes_of(gateway) == [shown | amounts]
    assert gateway.histories.recordings[0].trace.action_type == action_type


async def test_names_at_their_longest_are_recorded_and_shown_whole(gateway: Gateway) -> None:
    workload = StoredWorkload(make_body(namespace=LONGEST_NAMESPACE, name=LONGEST_NAME))
    for replicas in (3, 5):
        review = workload.scale(replicas)
        await gateway.send(review)
        workload.persist(review)
        gateway.clock.advance(minutes=10)

    refused = await gateway.send(workload.scale(3))
    warned = await gateway.send(workload.scale(8))

    message = refused.response["status"]["message"]
    assert f"of Deployment {LONGEST_NAMESPACE}/{LONGEST_NAME}.\n" in message
    assert message.endswith(f"\nTrace: {gateway.histories.recordings[2].trace.action_id}")
    assert all(len(warning) <= 256 for warning in warned.response["warnings"])
    key = gateway.histories.recordings[-1].key
    assert (key.namespace, key.name) == (LONGEST_NAMESPACE, LONGEST_NAME)


HOSTILE = [
    pytest.param("line\r\nSet-Cookie: x=1\t\x1b[31mred\x7f", id="control"),
    pytest.param("%s %d %(name)s {0} {x!r}", id="format"),
    pytest.param("'; DROP TABLE resource_action_traces; --", id="sql"),
    pytest.param("<script>alert(1)</script>&amp;", id="html"),
    pytest.param("ünï-コード-\U0001f680-\u202e-\u2028", id="unicode"),
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_context_is_stored_as_it_is_and_logged_in_one_line(
    gateway: Gateway, text: str
) -> None:
    workload = StoredWorkload()
    review = workload.edit(
        lambda new: new["metadata"].update(annotations={CONTEXT + "reasoning": text})
    )

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.send(review)

    (recording,) = gateway.histories.recordings
    assert reply.is_allowed
    assert recording.context.reasoning == text
    assert len(lines) == 1
    assert text not in repr(lines)


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_names_are_shown_escaped_and_leave_the_message_whole(
    gateway: Gateway, text: str
) -> None:
    workload = StoredWorkload(make_body(name=text))
    for replicas in (3, 5):
        review = workload.scale(replicas)
        await gateway.send(review)
        workload.persist(review)
        gateway.clock.advance(minutes=10)

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.send(workload.scale(3))

    status = reply.response["status"]
    assert gateway.histories.recordings[-1].key.name == text
    assert all(map(str.isprintable, status["message"].splitlines()))
    assert len(status["message"].splitlines()) == 6
    assert status["message"].endswith(f"{gateway.histories.recordings[-1].trace.action_id}")
    assert status["details"]["name"] == text
    assert all(str(value).isprintable() for value in lines[0].values())


async def test_nul_is_replaced_wherever_it_stands_and_the_trace_says_so(gateway: Gateway) -> None:
    workload = StoredWorkload(make_body(name="we\0b"))
    review = workload.edit(
        lambda new: new["metadata"].update(
            labels={"a\0": "b\0"}, annotations={CONTEXT + "reasoning": "be\0cause"}
        ),
        user=f"{AGENT}\0",
    )

    reply = await gateway.send(review)

    (recording,) = gateway.histories.recordings
    assert reply.is_allowed
    assert recording.key.name == "we\ufffdb"
    assert recording.labels == {"a\ufffd": "b\ufffd"}
    assert recording.actor.name == f"{AGENT}\ufffd"
    assert recording.context.reasoning == "be\ufffdcause"
    assert recording.decision["input_problems"] == [
        "the request held U+0000, which cannot be stored; U+FFFD stands for it"
    ]
    assert "\\u0000" not in json.dumps(repr(recording))


async def test_escaped_backslash_before_u0000_is_no_nul(gateway: Gateway) -> None:
    review = StoredWorkload().edit(
        lambda new: new["metadata"].update(annotations={CONTEXT + "reasoning": "\\u0000"})
    )

    await gateway.send(review)

    (recording,) = gateway.histories.recordings
    assert recording.context.reasoning == "\\u0000"
    assert "input_problems" not in recording.decision


async def test_malformed_context_is_cut_or_dropped_and_the_trace_says_so(gateway: Gateway) -> None:
    review = StoredWorkload().edit(
        lambda new: new["metadata"].update(
            annotations={
                CONTEXT + "confidence": "7",
                CONTEXT + "reasoning": "x" * 2_000_000,
                CONTEXT + "alert-severity": "catastrophic",
            }
        )
    )

    reply = await gateway.send(review)

    (recording,) = gateway.histories.recordings
    assert reply.is_allowed
    assert recording.context.confidence is None
    assert recording.context.alert_severity is None
    assert recording.context.reasoning == "x" * 4000
    assert recording.decision["input_problems"] == [
        "reasoning was 2000000 characters long and is cut to 4000",
        "alert-severity is none of info, warning, critical and is dropped",
        "confidence is not a number from 0 to 1 and is dropped",
    ]
