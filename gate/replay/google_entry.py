"""Entries of Google Cloud's audit logs for the same calls, as Cloud Logging exports them."""

from collections.abc import Mapping

from gate.domain.actor import Identity
from gate.replay.call import (
    KINDS,
    SUBRESOURCES,
    VERBS,
    Call,
    UnreadableError,
    Verb,
    mapping,
    name_of,
    need_shallow,
    parse_instant,
    text,
)

_METHODS = "io.k8s.apps.v1."


def read_entry(entry: Mapping[str, object]) -> Call | None:
    """Return the write to a workload that a log entry tells of, or None where it tells of none.

    Raises UnreadableError.
    """
    payload = mapping(entry.get("protoPayload"))
    method = text(payload.get("methodName"))
    resource, *rest = method.removeprefix(_METHODS).split(".")
    kind = KINDS.get(resource) if method.startswith(_METHODS) and rest else None
    *between, verb = rest or [""]
    subresource = ".".join(between)
    if kind is None or subresource not in SUBRESOURCES or verb not in VERBS:
        return None
    if mapping(payload.get("status")).get("code") or _goes_on(entry):
        return None
    request, response = (
        _plain(need_shallow(payload.get(name))) for name in ("request", "response")
    )
    if mapping(request).get("dryRun") or "dryRun=" in text(payload.get("resourceName")):
        return None
    namespace, name = _read_name(text(payload.get("resourceName")), resource)
    return Call(
        id=text(entry.get("insertId")),
        at=parse_instant(entry.get("timestamp") or entry.get("receiveTimestamp")),
        verb=Verb(verb),
        kind=kind,
        namespace=namespace,
        name=name or name_of(response) or name_of(request),
        subresource=subresource,
        identity=_identify(mapping(payload.get("authenticationInfo"))),
        is_apply="apiVersion" in mapping(request) and "kind" in mapping(request),
        # What a collection was chosen by is not among what these entries tell.
        is_selective=True,
        request=request,
        response=response if isinstance(response, dict) and response else None,
    )


def _goes_on(entry: Mapping[str, object]) -> bool:
    """Tell whether the call was not over yet when the entry was written."""
    return mapping(entry.get("operation")).get("last") is False


def _read_name(resource_name: str, resource: str) -> tuple[str, str]:
    """Return namespace and name of `apps/v1/namespaces/shop/deployments/web/scale`."""
    parts = resource_name.partition("?")[0].split("/")
    match parts:
        case ["apps", "v1", "namespaces", namespace, named, *rest] if named == resource:
            return namespace, rest[0] if rest else ""
        case _:
            raise UnreadableError("its resourceName names no workload")


def _identify(authentication: Mapping[str, object]) -> Identity:
    name = text(authentication.get("principalEmail"))
    return Identity(name or text(authentication.get("principalSubject")))


def _plain(value: object) -> object:
    """Return a body as Kubernetes has it: without type marks, and whole numbers as integers."""
    if isinstance(value, dict):
        if value.keys() == {"@type", "value"}:
            return _plain(value["value"])
        return {name: _plain(item) for name, item in value.items() if name != "@type"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
