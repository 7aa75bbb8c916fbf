"""The watch of workloads, in front of an API server that says what a test wants it to say."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from aiohttp import web
from kubernetes_asyncio import client

from gate.domain.observation import Observation
from gate.domain.seal import Seal
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import ClusterError
from gate.kube.client import Cluster
from gate.kube.watch import WatchLimits, WorkloadWatch
from gate.services.clock import utc_now
from gate.telemetry import Metrics

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
_DEPLOYMENTS, _STATEFUL_SETS = "/apis/apps/v1/deployments", "/apis/apps/v1/statefulsets"
_SHORT = WatchLimits(silence=timedelta(seconds=0.3))
WEB = WorkloadKey("prod", "shop", Kind.DEPLOYMENT, "web")


def deployment(resource_version: int, *, replicas: int = 5) -> dict[str, object]:
    return {
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "one",
            "resourceVersion": str(resource_version),
            "generation": 1,
        },
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web"}]}}},
        "status": {"observedGeneration": 1, "replicas": replicas},
    }


def listing(resource_version: int, *items: dict[str, object], more: str = "") -> dict[str, object]:
    return {
        "metadata": {"resourceVersion": str(resource_version), "continue": more},
        "items": list(items),
    }


def event(kind: str, body: dict[str, object]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def answers(body: dict[str, object], status: int = 200) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return answer


def streams(*events: bytes, then: str = "stay") -> Answer:
    """Return a watch that sends events and then stays silent, ends, or breaks off."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for each in events:
            await response.write(each)
        if then == "break":
            assert request.transport is not None
            request.transport.abort()
        elif then == "stay":
            await asyncio.sleep(30)
        return response

    return answer


@dataclass
class Server:
    """Gives the answers in order, and notes the positions it was asked to watch from."""

    answers: list[Answer]
    asked: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == _STATEFUL_SETS:
            await asyncio.sleep(30)
        is_watch = "watch" in request.query
        self.asked.append(request.query["resourceVersion"] if is_watch else "list")
        answer = self.answers.pop(0) if self.answers else streams()
        return await answer(request)


@dataclass
class Observer:
    """Notes what it is told."""

    seen: list[Observation] = field(default_factory=list)
    lists: list[Sequence[Observation]] = field(default_factory=list)
    confirmed: int = 0

    def see(self, seen: Observation) -> None:
        self.seen.append(seen)

    def see_all(self, kind: Kind, listed: Sequence[Observation], *, at: datetime) -> None:
        del kind, at
        self.lists.append(listed)

    def confirm(self, kind: Kind, *, at: datetime) -> None:
        del kind, at
        self.confirmed += 1


@asynccontextmanager
async def serving(server: Server, metrics: Metrics) -> AsyncIterator[WorkloadWatch]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with client.ApiClient(configuration) as api:
        yield WorkloadWatch(
            Cluster(api),
            name="prod",
            seal=Seal(b"k" * 32),
            clock=utc_now,
            metrics=metrics,
            limits=_SHORT,
        )
    await runner.cleanup()


async def watch(
    *given: Answer, until: Callable[[Server, Observer], bool]
) -> tuple[Server, Observer]:
    """Watch a server that answers so until a condition holds."""
    server, observer = Server(list(given)), Observer()
    async with (
        serving(server, Metrics()) as watching,
        asyncio.timeout(20),
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(watching.run(observer))
        while not until(server, observer):  # noqa: ASYNC110 - others set what is waited for
            await asyncio.sleep(0.01)
        running.cancel()
    return server, observer


async def test_everything_is_listed_page_by_page_and_watched_from_there() -> None:
    server, observer = await watch(
        answers(listing(100, deployment(90), more="next")),
        answers(listing(100, deployment(91))),
        streams(event("MODIFIED", deployment(101, replicas=3))),
        until=lambda _, observer: bool(observer.seen),
    )

    assert server.asked == ["list", "list", "100"]
    assert [[each.resource_version for each in listed] for listed in observer.lists] == [
        ["90", "91"]
    ]
    (seen,) = observer.seen
    assert (seen.key, seen.state["replicas"], seen.is_next) == (WEB, 3, True)
    assert [each.is_next for each in observer.lists[0]] == [False, False]


async def test_a_deleted_workload_is_gone() -> None:
    _, observer = await watch(
        answers(listing(100, deployment(90))),
        streams(event("DELETED", deployment(101))),
        until=lambda _, observer: bool(observer.seen),
    )

    assert observer.seen[0].is_gone


@pytest.mark.parametrize("then", ["break", "end", "stay"])
async def test_a_watch_that_breaks_ends_or_falls_silent_goes_on_where_it_was(then: str) -> None:
    bookmark: dict[str, object] = {"metadata": {"resourceVersion": "110"}}
    server, observer = await watch(
        answers(listing(100)),
        streams(event("ADDED", deployment(105)), event("BOOKMARK", bookmark), then=then),
        streams(event("MODIFIED", deployment(120))),
        until=lambda _, observer: len(observer.seen) == 2,
    )

    assert server.asked == ["list", "100", "110"]
    assert (observer.confirmed, len(observer.lists)) == (1 + (then == "end"), 1)


async def test_a_watch_that_ends_in_its_time_confirms_that_nothing_happened_before_it() -> None:
    server, observer = await watch(
        answers(listing(100)),
        streams(then="end"),
        streams(then="break"),
        streams(),
        until=lambda server, _: len(server.asked) == 4,
    )

    assert server.asked == ["list", "100", "100", "100"]
    assert observer.confirmed == 1


@pytest.mark.parametrize(
    "expired",
    [
        answers({"code": 410, "message": "too old"}, 410),
        streams(event("ERROR", {"code": 410, "message": "too old resource version"})),
    ],
    ids=["status", "event"],
)
async def test_an_expired_position_is_replaced_by_a_new_list(expired: Answer) -> None:
    server, observer = await watch(
        answers(listing(100)),
        expired,
        answers(listing(200, deployment(150))),
        until=lambda server, _: len(server.asked) == 4,
    )

    assert server.asked == ["list", "100", "list", "200"]
    assert len(observer.lists) == 2


@pytest.mark.parametrize("line", [b'{"type": "BOOKMARK", "object": {"meta', b"null\n", b"<html>\n"])
async def test_half_a_line_or_none_that_is_an_event_ends_nothing_but_that_watch(
    line: bytes,
) -> None:
    server, observer = await watch(
        answers(listing(100)),
        streams(event("ADDED", deployment(105)), line, then="end"),
        answers(listing(200, deployment(150))),
        until=lambda server, _: len(server.asked) == 4,
    )

    assert server.asked == ["list", "100", "list", "200"]
    assert [each.resource_version for each in observer.seen] == ["105"]


async def test_a_position_that_is_refused_again_and_again_is_given_up() -> None:
    refusal = answers({"code": 504, "message": "Too large resource version"}, 504)
    server, _ = await watch(
        answers(listing(900)),
        *[refusal] * 4,
        answers(listing(100)),
        until=lambda server, _: len(server.asked) == 7,
    )

    assert server.asked == ["list", *["900"] * 4, "list", "100"]


async def test_a_page_of_a_list_that_expired_starts_the_list_anew() -> None:
    server, _ = await watch(
        answers(listing(100, deployment(90), more="next")),
        answers({"code": 410}, 410),
        answers(listing(200)),
        until=lambda server, _: len(server.asked) == 4,
    )

    assert server.asked == ["list", "list", "list", "200"]


async def test_a_single_workload_is_read_or_is_not_there() -> None:
    server = Server([answers(deployment(90)), answers({"code": 404}, 404)])
    async with serving(server, Metrics()) as watching:
        found, missing = await watching.read(WEB), await watching.read(WEB)

    assert found is not None
    assert (found.key, found.resource_version, found.is_next) == (WEB, "90", False)
    assert missing is None


def says(text: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text)

    return answer


@pytest.mark.parametrize("text", ['{"metadata": {', "[]"])
async def test_an_answer_that_is_no_object_is_told_in_words(text: str) -> None:
    async with serving(Server([says(text)]), Metrics()) as watching:
        with pytest.raises(ClusterError, match="read shop/Deployment/web: the answer is not"):
            await watching.read(WEB)


async def test_a_list_that_is_no_object_is_asked_for_again() -> None:
    server, observer = await watch(
        says("<html>"),
        answers(listing(100, deployment(90))),
        until=lambda _, observer: bool(observer.lists),
    )

    assert server.asked[:2] == ["list", "list"]
    assert len(observer.lists[0]) == 1


async def test_a_missing_permission_is_named() -> None:
    server = Server([answers({"message": "forbidden"}, 403)])
    async with serving(server, Metrics()) as watching:
        with pytest.raises(
            ClusterError, match=r"the missing permission is get on deployments\.apps"
        ):
            await watching.read(WEB)
