"""The answer of an AdmissionReview, as the API server expects it."""

import math

import orjson

from gate.domain.message import Answer
from gate.domain.request import Request
from gate.domain.trace import Verdict
from gate.domain.words import escape
from gate.webhook.review import API_VERSION, KIND, Ungoverned

# The API server drops warnings beyond this length once there are many of them.
_WARNING_AT_MOST = 256
_FORBIDDEN = 403
_GROUP = "apps"


def render_response(answer: Answer, review: Request | Ungoverned) -> bytes:
    """Return the body of the HTTP response, a JSON AdmissionReview."""
    response: dict[str, object] = {
        "uid": review.uid,
        "allowed": answer.verdict is Verdict.ALLOW,
    }
    if answer.verdict is Verdict.DENY and isinstance(review, Request):
        response["status"] = _status(answer, review)
    if answer.warnings:
        response["warnings"] = [_fit(warning) for warning in answer.warnings]
    if answer.audit:
        response["auditAnnotations"] = {key: str(value) for key, value in answer.audit.items()}
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _status(answer: Answer, request: Request) -> dict[str, object]:
    """Describe a denial as 403: clients retry 429 and 5xx on their own, 422 hides the message."""
    details: dict[str, object] = {
        "name": request.name,
        "group": _GROUP,
        "kind": str(request.kind),
        "causes": [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in answer.causes
        ],
    }
    if answer.retry_after is not None:
        details["retryAfterSeconds"] = math.ceil(answer.retry_after.total_seconds())
    return {
        "status": "Failure",
        "code": _FORBIDDEN,
        "reason": "Forbidden",
        "message": answer.message,
        "details": details,
    }


def _fit(warning: str) -> str:
    """Keep a warning on one line: the API server drops one with a control character whole."""
    return escape(warning, limit=_WARNING_AT_MOST)
