"""Steps as the cases that admission decides."""

from collections.abc import Mapping
from dataclasses import replace

from gate.domain.actor import Actor
from gate.domain.change import ActionType, Change, FieldChange, Operation, compare
from gate.domain.context import read_context
from gate.domain.reading import Readings, take_snapshot
from gate.domain.request import Body, Request, metadata_of, text_map
from gate.domain.snapshot import REPLICAS, Field, FieldGroup, Part, Snapshot, Value
from gate.replay.call import mapping
from gate.replay.step import Step
from gate.services.case import Case, open_case

_LISTINGS = ("template.containers", "template.initContainers")
_THERE = Value(None, "there")

_Known = Mapping[Field, Value]  # what is known of an object


def open_step(step: Step, actor: Actor, *, readings: Readings) -> Case | None:
    """Return the case of an agent's step, or None where nothing is known to change."""
    if not step.is_partial:
        return open_case(_request_of(step), actor, cluster=step.key.cluster, readings=readings)
    named = _read_known(step.named or {}, readings)
    held = _read_known(step.before or {}, readings)
    left = _read_known(step.after or {}, readings)
    before = {field: value for field, value in held.items() if field in left or field in named}
    after = {field: value for field, value in left.items() if field in held or field in named}
    change = _compare_known(step, before, after)
    if change is None:
        return None
    is_known = all(part.before is not None for part in change.fields)
    return Case(
        request=_request_of(step),
        key=step.key,
        actor=actor,
        change=change,
        before=Snapshot(FieldGroup(before)) if is_known else None,
        after=Snapshot(FieldGroup(after)),
        context=read_context(
            before=_annotations(step.before) if step.before else {},
            after=_annotations(step.named),
        ),
    )


def describe_sides(case: Case, step: Step) -> tuple[object, object]:
    """Return what changes as it was and as it became, in the shape of a trace's states.

    None where it is not known; sealed values are not shown.
    """
    if step.operation is not Operation.UPDATE:
        return _describe_life(case, step)
    fields = case.change.fields
    before = None if case.before is None else _shape(fields, "before")
    return before, _shape(fields, "after")


def _describe_life(case: Case, step: Step) -> tuple[object, object]:
    """Describe a creation or deletion by its replicas alone; the rest comes or goes as a whole."""
    replicas = case.change.find(REPLICAS)
    before, after = (None, None) if replicas is None else (replicas.before, replicas.after)
    held = step.last_replicas if before is None else before.shown
    return (
        None if held is None else {"replicas": held},
        None if after is None else {"replicas": after.shown},
    )


def _shape(fields: tuple[FieldChange, ...], side: str) -> dict[str, object]:
    shaped: dict[str, object] = {}
    containers: dict[str, dict[str, object]] = {}
    for part in fields:
        value = part.before if side == "before" else part.after
        shown = None if value is None else value.shown
        if isinstance(shown, str) and shown.startswith("hmac:"):
            shown = "(sealed)"
        if part.field.container:
            containers.setdefault(part.field.container, {})[part.field.name] = shown
        else:
            shaped[part.field.name] = shown
    return {**shaped, "containers": containers} if containers else shaped


def _request_of(step: Step) -> Request:
    return Request(
        uid=step.call.id,
        operation=step.operation,
        namespace=step.key.namespace,
        kind=step.key.kind,
        name=step.key.name,
        subresource=step.call.subresource,
        identity=step.call.identity,
        is_dry_run=False,
        old=step.before,
        new=step.after,
    )


def _compare_known(step: Step, before: _Known, after: _Known) -> Change | None:
    """Compare what is known; containers count as there on both sides, and directions as unknown."""
    there = {
        Field(Part.TEMPLATE, container, ""): _THERE
        for container in {field.container for field in (*before, *after)} - {""}
    }
    change = compare(
        step.key.kind,
        step.operation,
        before=Snapshot(FieldGroup({**before, **there})),
        after=Snapshot(FieldGroup({**after, **there})),
    )
    if change is None:
        return None
    is_guess = any(
        part.before is None and part.field.part is Part.RESOURCES for part in change.fields
    )
    named = (ActionType.INCREASE_RESOURCES, ActionType.DECREASE_RESOURCES)
    if is_guess and change.action_type in named:
        return replace(change, action_type=ActionType.ADJUST_RESOURCES)
    return change


def _read_known(body: Body, readings: Readings) -> _Known:
    """Return the fields that a part of an object has, without defaults for those it has not."""
    has_replicas = "replicas" in mapping(body.get("spec"))
    return {
        field: value
        for field, value in take_snapshot(body, readings).items()
        if (field != REPLICAS or has_replicas)
        and field.name not in _LISTINGS
        and not (field.part is Part.IMAGE and value.compared == "")
    }


def _annotations(body: Body | None) -> Mapping[str, str]:
    return text_map(metadata_of(body).get("annotations"))
