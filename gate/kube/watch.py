"""Watches every Deployment and StatefulSet of a cluster, without a gap as long as that can be."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import orjson
import structlog
from kubernetes_asyncio import client

from gate.domain.observation import Observation, observe
from gate.domain.reading import Readings
from gate.domain.request import Body, metadata_of
from gate.domain.seal import Seal
from gate.domain.workload import Kind, WorkloadKey
from gate.errors import ClusterError
from gate.kube.client import REQUEST_LIMIT, Cluster, translated
from gate.ports.workloads import Observer
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_Ask = Callable[..., Awaitable[Any]]  # a method of the client library, which has no types here

_PLURALS = {Kind.DEPLOYMENT: "deployments", Kind.STATEFUL_SET: "statefulsets"}
_PAGE = 250
_LIST_LIMIT = 60  # seconds for one page
_BREATHE_EVERY = 4  # objects, so that reading a large cluster never holds up admissions
_FINE, _ABSENT, _GONE = 200, 404, 410
_TRIES = 3
_CONNECT = 10  # seconds
_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=0.2), timedelta(seconds=15)


class _InterruptedError(Exception):
    """A watch ended before its time; `is_lost` where it cannot be taken up where it ended."""

    def __init__(self, reason: str, told: str, *, is_lost: bool = False) -> None:
        super().__init__(told)
        self.reason = reason
        self.is_lost = is_lost


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """How long a watch is asked for, and for how long it may say nothing.

    It ends before it may be taken for dead: where nothing changed since it began, the API server
    sends no bookmarks either.
    """

    length: timedelta = timedelta(minutes=1)
    silence: timedelta = timedelta(seconds=100)


class WorkloadWatch:
    """Tells an observer of every state of every workload, and reads single ones."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        name: str,
        seal: Seal,
        clock: Callable[[], datetime],
        metrics: Metrics,
        limits: WatchLimits = WatchLimits(),
    ) -> None:
        """Watch a cluster that is called `name` in workload keys."""
        self._api = client.AppsV1Api(cluster.api)
        self._name = name
        self._readings = Readings(seal)
        self._clock = clock
        self._metrics = metrics
        self._limits = limits

    async def run(self, observer: Observer) -> None:
        """Watch until cancelled; a cluster that cannot be reached is tried again and again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind in Kind:
                    tasks.create_task(self._follow(kind, observer))
        finally:
            for kind in Kind:
                self._metrics.watch_continuous_since.labels(kind).set(0)

    async def read(self, key: WorkloadKey) -> Observation | None:
        """Return the present state of a workload, by a quorum of the store; None if there is none.

        Raises ClusterError.
        """
        plural = _PLURALS[key.kind]
        is_deployment = key.kind is Kind.DEPLOYMENT
        ask = (
            self._api.read_namespaced_deployment
            if is_deployment
            else self._api.read_namespaced_stateful_set
        )
        with translated(f"read {key}", permission=f"get on {plural}.apps"):
            try:
                body = await _fetch(ask, key.name, key.namespace, _request_timeout=REQUEST_LIMIT)
            except client.ApiException as error:
                if error.status == _ABSENT:
                    return None
                raise
        return self._observe(body, key.kind, is_next=False)

    async def _follow(self, kind: Kind, observer: Observer) -> None:
        """List, watch from there, and take the watch up again wherever it ends."""
        position: str | None = None
        failures = 0
        while True:
            try:
                if position is None:
                    position = await self._list(kind, observer)
                started = self._clock()
                async with aclosing(self._watch(kind, position)) as events:
                    async for event in events:
                        position = self._take_in(kind, event, observer)
                        failures = 0
            except _InterruptedError as interruption:
                # A position that is refused again and again is of another store: one restored.
                is_lost = interruption.is_lost or failures >= _TRIES
                position = None if is_lost else position
                self._report(kind, interruption.reason, str(interruption), failures)
            except ClusterError as error:
                self._report(kind, "unreachable", str(error), failures)
            else:
                # It was asked for so long and no longer, and began with all there was by then.
                observer.confirm(kind, at=started)
                failures = 0
                continue
            failures += 1
            await _pause(failures)

    async def _list(self, kind: Kind, observer: Observer) -> str:
        """Tell of everything there is, and return the position from which to watch on."""
        at = self._clock()
        listed: list[Observation] = []
        token = ""
        while True:
            page = await self._fetch_page(kind, token)
            items = page.get("items")
            for number, body in enumerate(items if isinstance(items, list) else ()):
                listed.append(self._observe(body, kind, is_next=False))
                if number % _BREATHE_EVERY == 0:
                    await asyncio.sleep(0)
            metadata = metadata_of(page)
            token = str(metadata.get("continue") or "")
            if not token:
                observer.see_all(kind, listed, at=at)
                log.info("watch.listed", kind=kind, workloads=len(listed))
                return str(metadata.get("resourceVersion"))

    async def _fetch_page(self, kind: Kind, token: str) -> Body:
        options: dict[str, object] = {"limit": _PAGE, "_request_timeout": _LIST_LIMIT}
        if token:
            options["_continue"] = token
        plural = _PLURALS[kind]
        with translated(f"list {plural}", permission=f"list on {plural}.apps"):
            try:
                return await _fetch(self._lister(kind), **options)
            except client.ApiException as error:
                if error.status == _GONE:
                    raise _InterruptedError(
                        "expired", "a page of the list", is_lost=True
                    ) from error
                raise

    async def _watch(self, kind: Kind, position: str) -> AsyncGenerator[Body, None]:
        """Give the events after a position; ends when the time asked for is over."""
        plural = _PLURALS[kind]
        silence = self._limits.silence.total_seconds()
        with translated(f"watch {plural}", permission=f"watch on {plural}.apps"):
            response = await self._lister(kind)(
                watch=True,
                allow_watch_bookmarks=True,
                resource_version=position,
                timeout_seconds=int(self._limits.length.total_seconds()),
                _preload_content=False,
                _request_timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT, sock_read=silence),
            )
            async with response:
                if response.status != _FINE:
                    is_expired = response.status == _GONE
                    reason = "expired" if is_expired else "refused"
                    told = f"status {response.status}"
                    raise _InterruptedError(reason, told, is_lost=is_expired)
                async for event in _events(response):
                    yield event

    def _take_in(self, kind: Kind, event: Body, observer: Observer) -> str:
        """Tell of one event and return the position after it."""
        body = event.get("object")
        if not isinstance(body, dict):
            raise _InterruptedError("unreadable", "an event without an object", is_lost=True)
        if event.get("type") == "ERROR":
            raise _read_error(body)
        if event.get("type") == "BOOKMARK":
            observer.confirm(kind, at=self._clock())
        else:
            seen = self._observe(body, kind, is_next=True)
            observer.see(replace(seen, is_gone=event.get("type") == "DELETED"))
        return str(metadata_of(body).get("resourceVersion"))

    def _observe(self, body: Body, kind: Kind, *, is_next: bool) -> Observation:
        return observe(
            body,
            cluster=self._name,
            kind=kind,
            at=self._clock(),
            readings=self._readings,
            is_next=is_next,
        )

    def _lister(self, kind: Kind) -> _Ask:
        is_deployment = kind is Kind.DEPLOYMENT
        ask: _Ask = (
            self._api.list_deployment_for_all_namespaces
            if is_deployment
            else self._api.list_stateful_set_for_all_namespaces
        )
        return ask

    def _report(self, kind: Kind, reason: str, told: str, failures: int) -> None:
        self._metrics.watch_interruptions.labels(kind, reason).inc()
        tell = log.warning if failures == 0 else log.debug
        tell("watch.interrupted", kind=kind, reason=reason, told=told)


async def _fetch(ask: _Ask, *arguments: str, **options: object) -> Body:
    """Return the object that a request answers with, as it is on the wire."""
    response = await ask(*arguments, _preload_content=False, **options)
    async with response:
        if response.status != _FINE:
            raise await _refusal(response)
        body = _parse(await response.read())
        if body is None:
            raise aiohttp.ClientPayloadError(
                "the answer is not a JSON object; look for a proxy that answers instead"
            )
        return body


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Body]:
    """Give the events of a watch, one a line, until the server ends it."""
    while True:
        try:
            line = await response.content.readline()
        except aiohttp.ServerTimeoutError as error:
            raise _InterruptedError("silent", "no event and no bookmark in time") from error
        except ValueError as error:
            raise _InterruptedError("unreadable", "an event is too long", is_lost=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _InterruptedError("disconnected", str(error)) from error
        if not line:
            return
        event = _parse(line)
        if event is None:  # half a line, where a stream was cut off
            raise _InterruptedError("unreadable", "a line is not a JSON object", is_lost=True)
        yield event


def _parse(text: bytes) -> Body | None:
    """Return the object that a JSON text holds; None where it holds none."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


async def _refusal(response: aiohttp.ClientResponse) -> client.ApiException:
    error = client.ApiException(status=response.status, reason=response.reason)
    error.body = await response.read()
    return error


def _read_error(status: Body) -> _InterruptedError:
    message = str(status.get("message"))
    if status.get("code") == _GONE:
        return _InterruptedError("expired", message, is_lost=True)
    return _InterruptedError("refused", message)


async def _pause(failures: int) -> None:
    """Wait a little longer after each failure in a row."""
    longest = min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LAST_PAUSE)
    jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
    await asyncio.sleep(longest.total_seconds() * jitter)
