"""Answers reviews over HTTP: always before the API server's time-out, whatever fails behind."""

import asyncio
import hmac
import time
from collections.abc import Callable
from http import HTTPMethod, HTTPStatus

import structlog
from aiohttp import StreamReader, web

from gate.domain.message import Answer
from gate.domain.pattern import Mode
from gate.domain.request import Request
from gate.domain.trace import Verdict
from gate.domain.words import escape
from gate.services.admission import Admission
from gate.services.reviewed import Reviewed, Stage
from gate.telemetry import Metrics
from gate.webhook.deadline import read_time_limit
from gate.webhook.http_log import find_origin
from gate.webhook.rejection import Reason, RejectedRequestError
from gate.webhook.response import render_response
from gate.webhook.review import Ungoverned, parse_review
from gate.webhook.server import Handler

log = structlog.get_logger(__name__)

# Object and old object, 3 MiB each at most, and what goes with them.
BODY_AT_MOST = 8 * 1024 * 1024
_PATH = "/validate"
_JSON = "application/json"
_OTHER = "other"
# How far a review may overrun before it is cut off, in seconds: those that keep their deadline end
# by themselves, with what they decided.
_OVERRUN = 0.1
_LOGGED_AT_MOST = 400
# Anybody who reaches the port can cause these: they are counted, and do not fill the log.
_FROM_STRANGERS = (Reason.UNKNOWN_PATH, Reason.WRONG_TOKEN)


def make_review_handler(
    admission: Admission,
    *,
    metrics: Metrics,
    token_source: Callable[[], frozenset[str]],
    mode: Mode,
) -> Handler:
    """Return the handler that serves `POST /validate/{token}` and nothing else.

    `token_source` gives the tokens accepted now; `mode` is the one that holds for everything.
    """
    return _Webhook(admission, metrics=metrics, token_source=token_source, mode=mode).answer


class _Webhook:
    def __init__(
        self,
        admission: Admission,
        *,
        metrics: Metrics,
        token_source: Callable[[], frozenset[str]],
        mode: Mode,
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._token_source = token_source
        self._mode = mode

    async def answer(self, http: web.BaseRequest) -> web.Response:
        """Answer one review; what is none is turned away with one line and leaves no trace."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + read_time_limit(http.query.get("timeout", "")).total_seconds()
        try:
            self._authenticate(_token_in(http.path))
            _check_form(http)
            raw = await _read_body(http, deadline)
            received = time.perf_counter()  # the loop's clock stands still while it is busy
            review = parse_review(raw)
        except RejectedRequestError as rejection:
            return self._reject(rejection)
        reviewed = await self._review(review, deadline)
        body = render_response(reviewed.answer, review)
        took = time.perf_counter() - received
        # The answer goes out first: nobody waits for what is counted and logged.
        loop.call_soon(lambda: self._account(review, reviewed, took=took))
        return web.Response(body=body, content_type=_JSON)

    def _authenticate(self, given: str) -> None:
        """Compare with every accepted token, in a time that does not tell how much is right."""
        token = given.encode(errors="replace")
        matches = [hmac.compare_digest(token, one.encode()) for one in self._token_source()]
        if not any(matches):
            raise RejectedRequestError(
                "the token in the path is not valid; it is part of the webhook's clientConfig",
                status=HTTPStatus.NOT_FOUND,
                reason=Reason.WRONG_TOKEN,
            )

    def _reject(self, rejection: RejectedRequestError) -> web.Response:
        self._metrics.rejected.labels(rejection.reason).inc()
        if rejection.reason not in _FROM_STRANGERS:
            log.warning("request.rejected", reason=rejection.reason, error=_bounded(str(rejection)))
        response = web.Response(status=rejection.status, text=f"{rejection}\n")
        if rejection.status is HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = HTTPMethod.POST
        return response

    async def _review(self, review: Request | Ungoverned, deadline: float) -> Reviewed:
        """Let the admission decide; where gate itself fails, so does the failure mode."""
        if isinstance(review, Ungoverned):
            return Reviewed(Answer(Verdict.ALLOW), self._mode)
        try:
            async with asyncio.timeout_at(deadline + _OVERRUN):
                return await self._admission.review(review, deadline=deadline)
        except TimeoutError:
            reason = "the review was not finished before the API server's time-out"
        except Exception as error:  # noqa: BLE001 - a bug must not stand in the way of a workload
            log.error(  # noqa: TRY400 - a traceback may quote secrets
                "admission.failed", exception=type(error).__name__, where=find_origin(error)
            )
            reason = "an internal error, which gate's log describes"
        return self._admission.fail(review, reason)

    def _account(self, review: Request | Ungoverned, reviewed: Reviewed, *, took: float) -> None:
        """Count an answered review, and write its one line."""
        try:
            self._count(review, reviewed, took=took)
            _log_admission(review, reviewed, took=took)
        except Exception as error:  # noqa: BLE001 - the loop would show what was asked
            log.error(  # noqa: TRY400 - a traceback may quote secrets
                "admission.unaccounted", exception=type(error).__name__, where=find_origin(error)
            )

    def _count(self, review: Request | Ungoverned, reviewed: Reviewed, *, took: float) -> None:
        metrics = self._metrics
        kind = review.kind if isinstance(review, Request) else None
        metrics.duration.observe(took)
        metrics.reviews.labels(
            review.operation,
            kind or _OTHER,
            reviewed.answer.verdict,
            reviewed.mode,
        ).inc()
        metrics.count_incomplete(reviewed.incomplete)
        if reviewed.stage is not None:
            metrics.failures.labels(reviewed.stage).inc()
        elif kind is not None and reviewed.actor is None:
            metrics.unrecognised.inc()


def _token_in(path: str) -> str:
    """Return the last segment of a review's path; what it may hold is not repeated."""
    folder, _, token = path.rpartition("/")
    if folder != _PATH or not token:
        raise RejectedRequestError(
            f"nothing is served at this path; reviews are posted to {_PATH}/<token>",
            status=HTTPStatus.NOT_FOUND,
            reason=Reason.UNKNOWN_PATH,
        )
    return token


def _check_form(http: web.BaseRequest) -> None:
    if http.method != HTTPMethod.POST:
        raise RejectedRequestError(
            f"{escape(http.method, limit=20)} is not served here; reviews are sent with POST",
            status=HTTPStatus.METHOD_NOT_ALLOWED,
            reason=Reason.METHOD,
        )
    if http.content_type != _JSON:
        raise RejectedRequestError(
            f"the content type is {escape(http.content_type, limit=100)}; reviews are {_JSON}",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            reason=Reason.CONTENT_TYPE,
        )
    encoding = http.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise RejectedRequestError(
            f"the content encoding is {escape(encoding, limit=100)}; reviews are not compressed",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            reason=Reason.CONTENT_TYPE,
        )


async def _read_body(http: web.BaseRequest, deadline: float) -> bytes:
    if (http.content_length or 0) > BODY_AT_MOST:
        raise _too_large()
    content = http.content
    try:
        if content.is_eof():  # all of it is here, and nothing to wait for
            return content.read_nowait()
        async with asyncio.timeout_at(deadline):
            return await _gather(content)
    except (web.RequestPayloadError, ConnectionError, TimeoutError) as error:
        raise RejectedRequestError(
            "the body did not arrive completely",
            status=HTTPStatus.BAD_REQUEST,
            reason=Reason.INCOMPLETE,
        ) from error


async def _gather(content: StreamReader) -> bytes:
    """Wait for all of a body; one that does not tell its length is cut off at the same size."""
    body = bytearray()
    while chunk := await content.readany():
        body += chunk
        if len(body) > BODY_AT_MOST:
            raise _too_large()
    return bytes(body)


def _too_large() -> RejectedRequestError:
    return RejectedRequestError(
        f"the body is larger than {BODY_AT_MOST // 1024 // 1024} MiB",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        reason=Reason.TOO_LARGE,
    )


def _log_admission(review: Request | Ungoverned, reviewed: Reviewed, *, took: float) -> None:
    """Write what was answered, never what the objects hold."""
    event = "admission.allowed" if reviewed.answer.verdict is Verdict.ALLOW else "admission.denied"
    if reviewed.stage is Stage.UNDECIDED:
        event = "admission.undecided"
    write = log.info if reviewed.stage is None else log.error
    details: dict[str, object] = {
        "uid": _bounded(review.uid),
        "operation": review.operation,
        "mode": reviewed.mode,
        "duration_ms": round(took * 1000, 3),
    }
    if isinstance(review, Ungoverned):
        details["ungoverned"] = _bounded(review.resource)
    else:
        details |= _describe_request(review)
        details["agent_rule"] = reviewed.actor and reviewed.actor.rule
        details["action_type"] = reviewed.action_type
        details["action_id"] = reviewed.action_id
    if reviewed.failure is not None:
        details |= {"stage": reviewed.stage, "failure": _bounded(reviewed.failure)}
    write(event, **details)


def _describe_request(request: Request) -> dict[str, object]:
    return {
        "workload": _bounded(f"{request.namespace}/{request.kind}/{request.name}"),
        "subresource": request.subresource,
        "actor": _bounded(request.identity.name),
        "dry_run": request.is_dry_run,
    }


def _bounded(text: str) -> str:
    return escape(text, limit=_LOGGED_AT_MOST)
