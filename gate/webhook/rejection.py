"""HTTP requests that are not a review, and what their sender is told."""

from enum import StrEnum
from http import HTTPStatus

from gate.errors import GateError


class Reason(StrEnum):
    """Why a request was turned away, as counted."""

    UNKNOWN_PATH = "unknown-path"
    WRONG_TOKEN = "wrong-token"  # noqa: S105 - names a refusal, is no password
    METHOD = "method"
    CONTENT_TYPE = "content-type"
    TOO_LARGE = "too-large"
    INCOMPLETE = "incomplete"
    NOT_A_REVIEW = "not-a-review"


class RejectedRequestError(GateError):
    """A request that cannot be answered with a review; its message is one line for the sender."""

    def __init__(self, message: str, *, status: HTTPStatus, reason: Reason) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def refuse_body(message: str) -> RejectedRequestError:
    """Return the rejection of a body that is no review gate understands."""
    return RejectedRequestError(message, status=HTTPStatus.BAD_REQUEST, reason=Reason.NOT_A_REVIEW)
