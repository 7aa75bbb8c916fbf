"""Requests that are no review: one line that says what is wrong, and nothing recorded."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from tests.reviews import Body, StoredWorkload, make_body, make_review
from tests.webhook.gateway import OLD_TOKEN, TOKEN, Gateway, Reply
from tests.webhook.tls import HOST, TestAuthority

JSON = "application/json"


def assert_rejected(gateway: Gateway, reply: Reply, *, status: int, reason: str, line: str) -> None:
    """Check the whole answer, the count, and that nothing came of it."""
    assert (reply.status, reply.text) == (status, f"{line}\n")
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert "Retry-After" not in reply.headers
    assert gateway.count("gate_admission_rejected_requests_total", reason=reason) == 1
    assert gateway.count("gate_admission_duration_seconds_count") == 0
    assert gateway.histories.reads == 0
    assert gateway.histories.recordings == []


def without(review: Body, *path: str) -> Body:
    """Return the review without one of its fields."""
    parent = review
    for name in path[:-1]:
        parent = parent[name]
    del parent[path[-1]]
    return review


def having(review: Body, **fields: object) -> Body:
    """Return the review with other fields in its request."""
    review["request"].update(fields)
    return review


def scaling() -> Body:
    return StoredWorkload().scale(3)


BODIES = [
    pytest.param(b"", "the body is not JSON: EOF while parsing a value at line 1 column 0", id="0"),
    pytest.param(
        b"{", "the body is not JSON: EOF while parsing an object at line 1 column 1", id="{"
    ),
    pytest.param(
        b"replicas: 3", "the body is not JSON: expected value at line 1 column 1", id="yaml"
    ),
    pytest.param(
        b"[" * 100_000,
        "the body is not JSON: recursion limit exceeded at line 1 column 202",
        id="depth",
    ),
    pytest.param(b"[]", "the body is not an AdmissionReview: it is not a JSON object", id="list"),
    pytest.param(b"{}", "the body is not an AdmissionReview: its kind is missing", id="empty"),
    pytest.param(
        b'{"kind": "Pod", "apiVersion": "v1"}',
        'the body is not an AdmissionReview: its kind is "Pod"',
        id="pod",
    ),
    pytest.param(
        b'{"kind": ["Pod"], "apiVersion": "v1"}',
        "the body is not an AdmissionReview: its kind is not text",
        id="kind-list",
    ),
    pytest.param(
        b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}',
        'apiVersion is "admission.k8s.io/v1beta1"; supported is admission.k8s.io/v1',
        id="v1beta1",
    ),
    pytest.param(
        b'{"kind": "AdmissionReview"}',
        "apiVersion is missing; supported is admission.k8s.io/v1",
        id="no-version",
    ),
    pytest.param(
        b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {}}',
        "request is missing",
        id="no-request",
    ),
]
REVIEWS = [
    pytest.param(without(scaling(), "request", "uid"), "request.uid is missing", id="no-uid"),
    pytest.param(
        having(scaling(), uid=""),
        "request.uid is wrong: String should have at least 1 character",
        id="empty-uid",
    ),
    pytest.param(
        having(scaling(), operation="FROB"),
        "request.operation is wrong: Input should be 'CREATE', 'UPDATE', 'DELETE' or 'CONNECT'",
        id="operation",
    ),
    pytest.param(
        without(scaling(), "request", "userInfo"), "request.userInfo is missing", id="no-user"
    ),
    pytest.param(
        having(scaling(), object=None),
        "request.object is missing; UPDATE carries it",
        id="update-without-object",
    ),
    pytest.param(
        having(scaling(), oldObject=None),
        "request.oldObject is missing; UPDATE carries it",
        id="update-without-old-object",
    ),
    pytest.param(
        make_review(None, None, operation="CREATE"),
        "request.object is missing; CREATE carries it",
        id="create-without-object",
    ),
    pytest.param(
        make_review(None, None, operation="DELETE"),
        "request.oldObject is missing; DELETE carries it",
        id="delete-without-old-object",
    ),
    pytest.param(
        having(scaling(), object=["s3cret"]),
        "request.object is wrong: Input should be an object",
        id="object-list",
    ),
    pytest.param(
        having(make_review(None, make_body(name=""), operation="CREATE"), name=None),
        "request.name is missing, and so is the object's metadata.name",
        id="no-name",
    ),
    pytest.param(
        having(make_review(None, make_body(namespace=""), operation="CREATE")),
        "request.namespace is missing, and so is the object's metadata.namespace",
        id="no-namespace",
    ),
    pytest.param(
        having(scaling(), userInfo={"username": "a", "extra": {"\n" * 500: 7}}),
        "request.userInfo.extra." + "\\n" * 38 + "… is wrong: Input should be a valid array",
        id="path-is-cut",
    ),
]


@pytest.mark.parametrize(("body", "line"), BODIES)
async def test_body_that_is_no_review_is_told_what_is_wrong(
    gateway: Gateway, body: bytes, line: str
) -> None:
    reply = await gateway.post(body)

    assert_rejected(gateway, reply, status=400, reason="not-a-review", line=line)


@pytest.mark.parametrize(("review", "line"), REVIEWS)
async def test_review_that_lacks_something_is_told_what(
    gateway: Gateway, review: Body, line: str
) -> None:
    reply = await gateway.send(review)

    assert_rejected(gateway, reply, status=400, reason="not-a-review", line=line)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(gateway: Gateway, method: str) -> None:
    reply = await gateway.post(None, method=method)

    line = f"{method} is not served here; reviews are sent with POST"
    assert_rejected(gateway, reply, status=405, reason="method", line=line)
    assert reply.headers["Allow"] == "POST"


async def test_answer_to_head_is_refused_without_a_body(gateway: Gateway) -> None:
    reply = await gateway.post(None, method="HEAD")

    assert (reply.status, reply.text) == (405, "")
    assert gateway.count("gate_admission_rejected_requests_total", reason="method") == 1


@pytest.mark.parametrize(
    "content_type", ["application/yaml", "text/plain", "application/x-www-form-urlencoded"]
)
async def test_other_content_types_are_refused(gateway: Gateway, content_type: str) -> None:
    reply = await gateway.post(b"{}", headers={"Content-Type": content_type})

    line = f"the content type is {content_type}; reviews are application/json"
    assert_rejected(gateway, reply, status=415, reason="content-type", line=line)


async def test_content_type_may_name_its_charset(gateway: Gateway) -> None:
    body = json.dumps(scaling()).encode()

    reply = await gateway.post(body, headers={"Content-Type": f"{JSON}; charset=UTF-8"})

    assert reply.is_allowed


@pytest.mark.parametrize("token", ["wrong", TOKEN[:-1], TOKEN + "x", "%00", "%ED%A0%80", "ü"])
async def test_wrong_token_is_not_found(gateway: Gateway, token: str) -> None:
    url = f"https://{HOST}:{gateway.server.port}/validate/{token}"

    reply = await gateway.post(json.dumps(scaling()), url=url)

    line = "the token in the path is not valid; it is part of the webhook's clientConfig"
    assert_rejected(gateway, reply, status=404, reason="wrong-token", line=line)


async def test_token_of_before_a_rotation_is_accepted(gateway: Gateway) -> None:
    url = f"https://{HOST}:{gateway.server.port}/validate/{OLD_TOKEN}"

    reply = await gateway.post(json.dumps(scaling()), url=url)

    assert reply.is_allowed


@pytest.mark.parametrize("target", ["/%76alidate/{}", "https://elsewhere/validate/{}"])
async def test_path_may_be_written_in_other_ways(
    gateway: Gateway, authority: TestAuthority, target: str
) -> None:
    async with raw_connection(gateway, authority) as (reader, writer):
        escaped = f"%{ord(TOKEN[0]):x}{TOKEN[1:]}"
        writer.write(f"GET {target.format(escaped)} HTTP/1.1\r\nHost: gate\r\n\r\n".encode())
        status = await reader.readline()

    assert status == b"HTTP/1.1 405 Method Not Allowed\r\n"


@pytest.mark.parametrize(
    "target", ["*", f"//validate/{TOKEN}", f"/validate/../validate/{TOKEN}", "/validate/%2F"]
)
async def test_unusual_targets_are_not_found(
    gateway: Gateway, authority: TestAuthority, target: str
) -> None:
    async with raw_connection(gateway, authority) as (reader, writer):
        writer.write(f"OPTIONS {target} HTTP/1.1\r\nHost: gate\r\n\r\n".encode())
        status = await reader.readline()

    assert status == b"HTTP/1.1 404 Not Found\r\n"


@pytest.mark.parametrize(
    "path",
    ["", "/", "/validate", "/validate/", f"/validate/{TOKEN}/", f"/validate/{TOKEN}/more"],
)
async def test_other_paths_are_not_found_and_the_token_is_not_repeated(
    gateway: Gateway, path: str
) -> None:
    url = f"https://{HOST}:{gateway.server.port}{path}"

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.post(json.dumps(scaling()), url=url)

    line = "nothing is served at this path; reviews are posted to /validate/<token>"
    assert_rejected(gateway, reply, status=404, reason="unknown-path", line=line)
    assert lines == []


async def test_rejected_body_is_logged_by_what_is_wrong_and_never_by_what_it_holds(
    gateway: Gateway,
) -> None:
    review = having(scaling(), object="s3cret", name=["s3cret"])

    with structlog.testing.capture_logs() as lines:
        reply = await gateway.send(review)

    assert lines == [
        {
            "event": "request.rejected",
            "log_level": "warning",
            "reason": "not-a-review",
            "error": "request.name is wrong: Input should be a valid string",
        }
    ]
    assert "s3cret" not in reply.text


async def test_review_of_five_megabytes_is_decided(gateway: Gateway) -> None:
    workload = StoredWorkload()
    workload.body["metadata"]["annotations"] = {"notes": "ä" * 1_250_000}
    review = json.dumps(workload.scale(3), ensure_ascii=False).encode()

    reply = await gateway.post(review)

    assert len(review) > 5_000_000
    assert reply.is_allowed
    assert gateway.histories.recordings[0].trace.action_type == "scale_deployment"


async def test_body_of_nine_megabytes_is_too_large(gateway: Gateway) -> None:
    reply = await gateway.post(b" " * 9_000_000)

    line = "the body is larger than 8 MiB"
    assert_rejected(gateway, reply, status=413, reason="too-large", line=line)


async def test_body_without_a_length_is_cut_off_at_the_same_size(gateway: Gateway) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 1_000_000

    reply = await gateway.post(stream())

    line = "the body is larger than 8 MiB"
    assert_rejected(gateway, reply, status=413, reason="too-large", line=line)


async def test_compressed_body_is_refused_without_unpacking_it(gateway: Gateway) -> None:
    bomb = gzip.compress(b" " * 20_000_000)

    reply = await gateway.post(bomb, headers={"Content-Type": JSON, "Content-Encoding": "gzip"})

    line = "the content encoding is gzip; reviews are not compressed"
    assert_rejected(gateway, reply, status=415, reason="content-type", line=line)


async def test_broken_http_is_refused_and_not_quoted_in_the_log(
    gateway: Gateway, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"POST /validate/{TOKEN} HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n"

    async with raw_connection(gateway, authority) as (reader, writer):
        writer.write(f"{head}s3cret is no chunk\r\n".encode())
        status = await reader.readline()

    assert status.endswith(b" 400 Bad Request\r\n")
    assert caplog.text == ""


async def test_body_that_does_not_arrive_is_not_waited_for_beyond_the_deadline(
    gateway: Gateway, authority: TestAuthority
) -> None:
    async with raw_connection(gateway, authority) as (reader, writer):
        writer.write(incomplete_request("200ms"))
        status = await reader.readline()

    assert status == b"HTTP/1.1 400 Bad Request\r\n"
    assert gateway.count("gate_admission_rejected_requests_total", reason="incomplete") == 1


async def test_client_that_hangs_up_early_is_no_error(
    gateway: Gateway, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_connection(gateway, authority) as (_, writer):
        writer.write(incomplete_request("3s"))
        await writer.drain()

    reply = await gateway.send(scaling())

    assert reply.is_allowed
    assert caplog.text == ""


async def test_plain_http_is_not_spoken(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection(HOST, gateway.server.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")

    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert not answer.startswith(b"HTTP")


@asynccontextmanager
async def raw_connection(
    gateway: Gateway, authority: TestAuthority
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, gateway.server.port, ssl=authority.trust())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


def incomplete_request(timeout: str) -> bytes:
    """Return a request that promises more of a body than it brings."""
    return (
        f"POST /validate/{TOKEN}?timeout={timeout} HTTP/1.1\r\nHost: gate\r\n"
        f"Content-Type: {JSON}\r\nContent-Length: 100\r\n\r\n{{"
    ).encode()
