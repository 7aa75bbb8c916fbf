"""What one call made of a workload: before and after, as far as the log lets it be known."""

from dataclasses import dataclass, replace
from enum import StrEnum

from gate.domain.change import Operation
from gate.domain.corroboration import SETTLING
from gate.domain.request import Body, metadata_of
from gate.domain.workload import WorkloadKey
from gate.replay.call import Call, Verb, mapping
from gate.replay.patch import UnpatchableError, apply_patch, outline_patch
from gate.replay.workload_state import Known, version_of, without_marks

_OF_ONE_STATE = ("resourceVersion", "generation")


class Gap(StrEnum):
    """Why a change cannot be judged."""

    CONTENT = "the log does not say what was changed: it holds no bodies (level Metadata)"
    COLLECTION = "many workloads were deleted at once, and the log does not say which"
    BEFORE = "what was there before is not known, so neither is what was changed"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one workload.

    `before` and `after` are None where there is no object or nothing is known of it. Where
    `is_partial`, they are the known parts, and `named` is what the request itself sets. `writer` is
    who changed the replicas before; `last_replicas` are those of the incarnation before a creation.
    """

    call: Call
    key: WorkloadKey
    operation: Operation
    before: Body | None
    after: Body | None
    is_partial: bool = False
    named: Body | None = None
    writer: str | None = None
    last_replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """A step, or the gap where one should be; and what is known afterwards, None for no news."""

    step: Step | None = None
    known: Known | None = None
    gap: Gap | None = None


def advance(call: Call, key: WorkloadKey, known: Known | None) -> Advance:
    """Return what a call makes of what was known of a workload."""
    advanced = _advance(call, key, known)
    if advanced.known is None:
        return advanced
    return replace(advanced, known=replace(advanced.known, at=call.at))


def _advance(call: Call, key: WorkloadKey, known: Known | None) -> Advance:
    held = known if known is not None and known.exists else None
    if call.subresource == "status":
        return _notice(call, held)
    if call.verb in (Verb.DELETE, Verb.DELETE_COLLECTION):
        return _delete(call, key, held)
    if call.subresource == "scale":
        return _scale(call, key, held)
    if call.verb is Verb.CREATE or call.is_creation:
        return _create(call, key, known)
    return _update(call, key, held)


def _notice(call: Call, held: Known | None) -> Advance:
    """Learn from a status that was written; it is no change, but it shows the whole object."""
    shown = _object_in(call.response)
    if shown is None or (held is not None and _is_older(held, call)):
        return Advance()
    return Advance(known=Known(shown, is_whole=True, writer=held.writer if held else None))


def _delete(call: Call, key: WorkloadKey, held: Known | None) -> Advance:
    before = None if held is None or held.replicas is None else held.body
    step = Step(call, key, Operation.DELETE, before=before, after=None)
    return Advance(step, Known({"spec": {"replicas": 0}}, exists=False))


def _create(call: Call, key: WorkloadKey, known: Known | None) -> Advance:
    after = _object_in(call.response) or _object_in(call.request)
    step = Step(
        call,
        key,
        Operation.CREATE,
        before=None,
        after=after,
        last_replicas=None if known is None else known.replicas,
    )
    return Advance(step, Known(after or {}, is_whole=after is not None, writer=call.identity.name))


def _scale(call: Call, key: WorkloadKey, held: Known | None) -> Advance:
    replicas = _read_scale(call)
    if replicas is None:
        return Advance(known=Known(), gap=Gap.CONTENT)
    held = held or Known()
    version = metadata_of(call.response).get("resourceVersion")
    if _is_same_version(held, call.response):
        return Advance()
    known = Known(
        _with_replicas(held.body, replicas, version=version),
        is_whole=held.is_whole,
        writer=call.identity.name,
    )
    step = Step(
        call,
        key,
        Operation.UPDATE,
        before=None if held.replicas is None else _as_scale(held.body, held.replicas),
        after=_as_scale(known.body, replicas),
        writer=held.writer,
    )
    if _is_older(held, call):
        return Advance(replace(step, before=None))
    return Advance(step, known)


def _update(call: Call, key: WorkloadKey, held: Known | None) -> Advance:
    answered = _object_in(call.response)
    if held is not None and answered is not None and _is_same_version(held, answered):
        return Advance()
    if held is not None and answered is not None and _is_older(held, call):
        return replace(_change(call, key, None, after=answered, is_whole=True), known=None)
    if answered is not None:
        return _change(call, key, held, after=answered, is_whole=True)
    if call.verb is Verb.UPDATE:
        given = _object_in(call.request)
        if given is not None:
            return _change(call, key, held, after=_without_version(given), is_whole=True)
    elif call.request is not None:
        return _patch(call, key, held)
    return Advance(known=Known(), gap=Gap.CONTENT)


def _patch(call: Call, key: WorkloadKey, held: Known | None) -> Advance:
    try:
        if held is not None and held.is_whole:
            after = apply_patch(held.body, call.request)
        else:
            after = apply_patch({} if held is None else held.body, outline_patch(call.request))
    except UnpatchableError:
        return Advance(known=Known(), gap=Gap.BEFORE)
    is_whole = held is not None and held.is_whole
    return _change(call, key, held, after=_without_version(after), is_whole=is_whole)


def _change(
    call: Call, key: WorkloadKey, held: Known | None, *, after: Body, is_whole: bool
) -> Advance:
    """Return the step to a new object, from the old one as far as it is known."""
    is_partial = held is None or not held.is_whole
    known = Known(
        after,
        is_whole=is_whole,
        exists="deletionTimestamp" not in metadata_of(after),
        writer=None if held is None else held.writer,
    )
    if held is None or known.replicas != held.replicas:
        known = replace(known, writer=call.identity.name)
    step = Step(
        call,
        key,
        Operation.UPDATE,
        before=None if held is None else held.body,
        after=after,
        is_partial=is_partial,
        named=_named_by(call) if is_partial else None,
        writer=None if held is None else held.writer,
    )
    if is_partial and held is None and not step.named:
        return Advance(known=known, gap=Gap.BEFORE)
    return Advance(step, known)


def _named_by(call: Call) -> Body:
    """Return what a patch sets; a whole object or one that is applied says nothing of changes."""
    if call.verb is not Verb.PATCH or call.is_apply:
        return {}
    try:
        return outline_patch(call.request)
    except UnpatchableError:
        return {}


def _read_scale(call: Call) -> int | None:
    """Return the replicas that a call to `/scale` leaves, None where the log does not tell."""
    if call.response is not None and call.response.get("kind") == "Scale":
        return _integer(mapping(call.response.get("spec")).get("replicas", 0))
    try:
        asked = outline_patch(call.request)
    except UnpatchableError:
        return None
    is_whole = call.verb is Verb.UPDATE and "spec" in asked
    return _integer(mapping(asked.get("spec")).get("replicas", 0 if is_whole else None))


def _as_scale(body: Body, replicas: int) -> Body:
    metadata = metadata_of(body)
    named = {name: metadata[name] for name in ("uid", "resourceVersion") if name in metadata}
    return {"kind": "Scale", "metadata": named, "spec": {"replicas": replicas}}


def _with_replicas(body: Body, replicas: int, *, version: object) -> Body:
    """Return an object after other replicas were set past it."""
    changed = dict(_without_version(body))
    if version is not None:
        changed["metadata"] = {**metadata_of(changed), "resourceVersion": version}
    changed["spec"] = {**mapping(body.get("spec")), "replicas": replicas}
    return changed


def _without_version(body: Body) -> Body:
    """Return an object without what its next state does not share."""
    kept = {name: value for name, value in metadata_of(body).items() if name not in _OF_ONE_STATE}
    return {**body, "metadata": kept}


def _object_in(body: object) -> Body | None:
    """Return the workload a body holds; None where it is a Status or something else."""
    found = mapping(body)
    is_other = found.get("kind") in ("Status", "Scale") or not isinstance(found.get("spec"), dict)
    return None if is_other else without_marks(found)


def _is_same_version(held: Known, body: Body | None) -> bool:
    """Tell whether an answer shows the state that is known: nothing was written."""
    version = version_of(body or {})
    return version is not None and version == held.version


def _is_older(held: Known, call: Call) -> bool:
    """Tell whether an answer shows an earlier state than the known one: its entry came late.

    Long after, it is rather that the cluster was restored to an earlier state.
    """
    version = version_of(call.response or {})
    is_near = held.at is not None and abs(call.at - held.at) < SETTLING
    is_same_object = metadata_of(held.body).get("uid") == metadata_of(call.response).get("uid")
    return version is not None and is_near and is_same_object and version < (held.version or 0)


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
