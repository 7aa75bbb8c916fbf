"""What kubelet and Prometheus ask, over plain HTTP on a port of its own."""

from collections.abc import Callable, Mapping
from http import HTTPMethod, HTTPStatus

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gate.domain.words import escape
from gate.telemetry import Metrics
from gate.webhook.server import Handler

_OK = "ok\n"
_METHODS = (HTTPMethod.GET, HTTPMethod.HEAD)


def make_probe_handler(
    *,
    metrics: Metrics,
    readiness: Callable[[], Mapping[str, str]],
    notes: Callable[[], Mapping[str, str]] = dict,
) -> Handler:
    """Return the handler that serves `/healthz`, `/readyz` and `/metrics`.

    `readiness` names what is not ready and why; nothing named is ready. A server that drains is
    not ready: whoever wires the two says so there. `notes` names what people should look at though
    it keeps no review away.
    """

    def tell_health() -> web.Response:
        return web.Response(text=_OK)

    def tell_readiness() -> web.Response:
        problems = readiness()
        text = _list(problems) + _list(notes())
        if not problems:
            return web.Response(text=_OK + text)
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=text)

    def tell_metrics() -> web.Response:
        return web.Response(body=metrics.expose(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    pages = {"/healthz": tell_health, "/readyz": tell_readiness, "/metrics": tell_metrics}

    async def answer(http: web.BaseRequest) -> web.Response:
        tell = pages.get(http.path)
        if tell is None:
            text = f"nothing is served at this path; there are {', '.join(pages)}\n"
            return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
        if http.method not in _METHODS:
            return web.Response(
                status=HTTPStatus.METHOD_NOT_ALLOWED,
                text="this page is only read: ask with GET or HEAD\n",
                headers={"Allow": ",".join(_METHODS)},
            )
        return tell()

    return answer


def _list(named: Mapping[str, str]) -> str:
    return "".join(escape(f"{name}: {text}", limit=500) + "\n" for name, text in named.items())
