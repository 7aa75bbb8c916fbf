"""What kubelet and Prometheus ask, over plain HTTP on a port of its own."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gate.domain.words import escape
from gate.telemetry import Metrics

_OK = "ok\n"


def make_probe_app(
    *,
    metrics: Metrics,
    readiness: Callable[[], Mapping[str, str]],
    notes: Callable[[], Mapping[str, str]] = dict,
) -> web.Application:
    """Return the application that serves `/healthz`, `/readyz` and `/metrics`.

    `readiness` names what is not ready and why; nothing named is ready. A server that drains is
    not ready: whoever wires the two says so there. `notes` names what people should look at though
    it keeps no review away.
    """

    async def tell_health(_: web.Request) -> web.Response:
        return web.Response(text=_OK)

    async def tell_readiness(_: web.Request) -> web.Response:
        problems = readiness()
        text = _list(problems) + _list(notes())
        if not problems:
            return web.Response(text=_OK + text)
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=text)

    async def tell_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.expose(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", tell_health)
    app.router.add_get("/readyz", tell_readiness)
    app.router.add_get("/metrics", tell_metrics)
    return app


def _list(named: Mapping[str, str]) -> str:
    return "".join(escape(f"{name}: {text}", limit=500) + "\n" for name, text in named.items())
