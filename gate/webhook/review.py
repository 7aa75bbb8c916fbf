"""The AdmissionReview of admission.k8s.io/v1, read once into a domain request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, from_json

from gate.domain.actor import Identity
from gate.domain.change import Operation
from gate.domain.request import Request, metadata_of
from gate.domain.words import clean, escape
from gate.domain.workload import Kind
from gate.webhook.rejection import refuse_body

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
_GOVERNED = {
    ("apps", "deployments"): Kind.DEPLOYMENT,
    ("apps", "statefulsets"): Kind.STATEFUL_SET,
}
_SUBRESOURCES = ("", "scale")
_ESCAPED_NUL = b"\\u0000"
_HELD_NUL = "the request held U+0000, which cannot be stored; U+FFFD stands for it"


class _Wire(BaseModel):
    """Go leaves out what is empty and writes null for what is nil; both read as absent."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Resource(_Wire):
    group: str = ""
    resource: str


class _UserInfo(_Wire):
    username: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...] | None] | None = None


class _Request(_Wire):
    uid: str = Field(min_length=1)
    resource: _Resource
    subresource: str | None = Field(default=None, alias="subResource")
    name: str | None = None
    namespace: str | None = None
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    user: _UserInfo = Field(alias="userInfo")
    new: dict[str, Any] | None = Field(default=None, alias="object")
    old: dict[str, Any] | None = Field(default=None, alias="oldObject")
    is_dry_run: bool | None = Field(default=None, alias="dryRun")


class _AdmissionReview(_Wire):
    """Kind and version come first, so that the first error is about them."""

    kind: Literal["AdmissionReview"]
    api_version: Literal["admission.k8s.io/v1"] = Field(alias="apiVersion")
    request: _Request


@dataclass(frozen=True, slots=True)
class Ungoverned:
    """A review of something gate has no say in: it is admitted and leaves no trace."""

    uid: str
    operation: str
    resource: str


def parse_review(raw: bytes) -> Request | Ungoverned:
    """Return what an AdmissionReview asks about.

    Raises RejectedRequestError with one line that says what is wrong with the body.
    """
    wire, problems = _read(raw)
    subresource = wire.subresource or ""
    kind = _GOVERNED.get((wire.resource.group, wire.resource.resource))
    if kind is None or subresource not in _SUBRESOURCES or wire.operation == "CONNECT":
        return Ungoverned(wire.uid, wire.operation, _name_resource(wire.resource, subresource))
    operation = Operation(wire.operation)
    old = None if operation is Operation.CREATE else _need(wire.old, "oldObject", operation)
    new = None if operation is Operation.DELETE else _need(wire.new, "object", operation)
    metadata = metadata_of(new or old)
    return Request(
        uid=wire.uid,
        operation=operation,
        namespace=_find_name("namespace", wire.namespace, metadata),
        kind=kind,
        name=_find_name("name", wire.name, metadata),
        subresource=subresource,
        identity=_identify(wire.user),
        is_dry_run=wire.is_dry_run or False,
        old=old,
        new=new,
        problems=problems,
    )


def _read(raw: bytes) -> tuple[_Request, tuple[str, ...]]:
    """Validate the body; U+0000, which JSON can only carry escaped, is replaced where it occurs."""
    try:
        request = _validate(raw)
        if _ESCAPED_NUL not in raw:
            return request, ()
        given = request.model_dump(by_alias=True)
        storable = _make_storable(given)
        problems = (_HELD_NUL,) if storable != given else ()
        return _Request.model_validate(storable), problems
    except ValidationError as error:
        # The validation error itself quotes the body, secrets included: it is not kept as cause.
        message = _explain(error.errors(include_url=False)[0])
        raise refuse_body(message) from None


def _validate(raw: bytes) -> _Request:
    """Parse and validate apart, which takes two thirds of the time that both at once do."""
    try:
        return _AdmissionReview.model_validate(from_json(raw)).request
    except ValueError:
        # Only this says what is wrong in the terms of JSON.
        return _AdmissionReview.model_validate_json(raw).request


def _make_storable(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return type(value)(_make_storable(item) for item in value)
    if isinstance(value, dict):
        return {clean(str(name)): _make_storable(item) for name, item in value.items()}
    return value


def _explain(problem: ErrorDetails) -> str:
    """Say what is wrong; of the body's own text only a kind or version is quoted."""
    match problem["loc"]:
        case () if problem["type"] == "json_invalid":
            return f"the body is not JSON: {problem['msg'].removeprefix('Invalid JSON: ')}"
        case ():
            return f"the body is not an {KIND}: it is not a JSON object"
        case ("kind",):
            return f"the body is not an {KIND}: its kind is {_quote(problem)}"
        case ("apiVersion",):
            return f"apiVersion is {_quote(problem)}; supported is {API_VERSION}"
        case path:
            where = escape(".".join(map(str, path)), limit=100)
            wrong = "is missing" if problem["type"] == "missing" else f"is wrong: {problem['msg']}"
            return f"{where} {wrong}"


def _quote(problem: ErrorDetails) -> str:
    value = problem["input"]
    if problem["type"] == "missing":
        return "missing"
    return f'"{escape(value, limit=60)}"' if isinstance(value, str) else "not text"


def _need(body: dict[str, Any] | None, name: str, operation: Operation) -> dict[str, Any]:
    if body is None:
        raise refuse_body(f"request.{name} is missing; {operation} carries it")
    return body


def _find_name(what: str, given: str | None, metadata: Mapping[str, object]) -> str:
    """Return the request's own name, else the object's: a deletecollection has none of its own."""
    found = given or metadata.get(what)
    if not isinstance(found, str) or not found:
        raise refuse_body(f"request.{what} is missing, and so is the object's metadata.{what}")
    return found


def _identify(user: _UserInfo) -> Identity:
    extra = user.extra or {}
    return Identity(
        name=user.username,
        groups=user.groups or (),
        extra={name: values or () for name, values in extra.items()},
    )


def _name_resource(resource: _Resource, subresource: str) -> str:
    return "/".join(part for part in (resource.group, resource.resource, subresource) if part)
