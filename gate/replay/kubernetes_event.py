"""Events of `audit.k8s.io/v1`, as an API server writes them to its audit log."""

from collections.abc import Mapping
from urllib.parse import parse_qs

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

_FULLY_DONE = "ResponseComplete"
_CREATED = 201


def read_event(event: Mapping[str, object]) -> Call | None:
    """Return the write to a workload that an event tells of, or None where it tells of none.

    Only what was carried out counts: a complete response with a code of 2xx, and no dry run.
    Raises UnreadableError.
    """
    reference = mapping(event.get("objectRef"))
    kind = KINDS.get(text(reference.get("resource")))
    subresource = text(reference.get("subresource"))
    verb = text(event.get("verb"))
    if kind is None or subresource not in SUBRESOURCES or verb not in VERBS:
        return None
    if (reference.get("apiGroup"), reference.get("apiVersion")) != ("apps", "v1"):
        return None
    code = mapping(event.get("responseStatus")).get("code")
    if event.get("stage") != _FULLY_DONE or not isinstance(code, int) or not 200 <= code < 300:
        return None
    query = _read_query(text(event.get("requestURI")))
    request = need_shallow(event.get("requestObject"))
    if query.get("dryRun") or mapping(request).get("dryRun"):
        return None
    response = need_shallow(event.get("responseObject"))
    return Call(
        id=text(event.get("auditID")),
        at=parse_instant(event.get("stageTimestamp") or event.get("requestReceivedTimestamp")),
        verb=Verb(verb),
        kind=kind,
        namespace=_need_namespace(reference),
        name=text(reference.get("name")) or name_of(response) or name_of(request),
        subresource=subresource,
        identity=_identify(mapping(event.get("impersonatedUser") or event.get("user"))),
        is_creation=code == _CREATED,
        is_apply="force" in query or _names_its_type(request),
        is_selective=bool(query.get("labelSelector") or query.get("fieldSelector")),
        request=request,
        response=response if isinstance(response, dict) else None,
    )


def _need_namespace(reference: Mapping[str, object]) -> str:
    namespace = text(reference.get("namespace"))
    if not namespace:
        raise UnreadableError("it names no namespace")
    return namespace


def _read_query(address: str) -> Mapping[str, list[str]]:
    try:
        return parse_qs(address.partition("?")[2], max_num_fields=100)
    except ValueError:
        raise UnreadableError("its requestURI has no readable query") from None


def _names_its_type(request: object) -> bool:
    """Tell whether a patch names what it is, as one that is applied by the server must."""
    body = mapping(request)
    return "apiVersion" in body and "kind" in body


def _identify(user: Mapping[str, object]) -> Identity:
    groups = user.get("groups")
    return Identity(
        name=text(user.get("username")),
        groups=tuple(map(text, groups)) if isinstance(groups, list) else (),
        extra={
            str(name): tuple(map(text, values)) if isinstance(values, list) else ()
            for name, values in mapping(user.get("extra")).items()
        },
    )
