"""The normalised difference between two states of a workload, named by what it does."""

from dataclasses import dataclass
from enum import StrEnum

from gate.domain.canonical import digest
from gate.domain.quantity import Amount
from gate.domain.snapshot import REPLICAS, Field, Part, Snapshot, Value, amount_of
from gate.domain.workload import Kind


class Operation(StrEnum):
    """The admission operations gate is asked about."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class ActionType(StrEnum):
    """What kind of change a trace records."""

    SCALE_DEPLOYMENT = "scale_deployment"
    SCALE_STATEFUL_SET = "scale_statefulset"
    INCREASE_RESOURCES = "increase_resources"
    DECREASE_RESOURCES = "decrease_resources"
    ADJUST_RESOURCES = "adjust_resources"
    UPDATE_IMAGE = "update_image"
    RESTART_DEPLOYMENT = "restart_deployment"
    RESTART_STATEFUL_SET = "restart_statefulset"
    UPDATE_ENVIRONMENT = "update_environment"
    UPDATE_TEMPLATE = "update_template"
    UPDATE_STRATEGY = "update_strategy"
    UPDATE_METADATA = "update_metadata"
    CREATE_WORKLOAD = "create_workload"
    DELETE_WORKLOAD = "delete_workload"


_NOTHING = Snapshot()
_UNLIMITED_IF_ABSENT = ("limits.cpu", "limits.memory", "limits.ephemeral-storage")
_NAMES = {
    Part.IMAGE: ActionType.UPDATE_IMAGE,
    Part.ENVIRONMENT: ActionType.UPDATE_ENVIRONMENT,
    Part.TEMPLATE: ActionType.UPDATE_TEMPLATE,
    Part.STRATEGY: ActionType.UPDATE_STRATEGY,
    Part.METADATA: ActionType.UPDATE_METADATA,
}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field's values before and after; None where it was or is absent."""

    field: Field
    before: Value | None
    after: Value | None

    def as_json(self) -> dict[str, object]:
        """Return the form kept in `action_parameters.changes`."""
        shown: dict[str, object] = (
            {"container": self.field.container} if self.field.container else {}
        )
        shown["field"] = self.field.name
        for side, value in (("before", self.before), ("after", self.after)):
            shown[side] = None if value is None else value.shown
        for side, value in (("before", self.before), ("after", self.after)):
            amount = amount_of(value)
            if amount is not None:
                shown[f"{side}_{amount.unit}"] = amount.value
        return shown


@dataclass(frozen=True, slots=True)
class Change:
    """Everything one admission would change on a workload."""

    action_type: ActionType
    fields: tuple[FieldChange, ...]
    fingerprint: str

    def find(self, field: Field) -> FieldChange | None:
        """Return the change of one field, if it is among the changes."""
        return next((change for change in self.fields if change.field == field), None)


def compare(
    kind: Kind, operation: Operation, *, before: Snapshot | None, after: Snapshot | None
) -> Change | None:
    """Return what differs between two snapshots; None when nothing does.

    A deletion takes replicas to 0; a creation has no value before.
    """
    if operation is Operation.DELETE:
        held = None if before is None else before.get(REPLICAS)
        changes: tuple[FieldChange, ...] = (FieldChange(REPLICAS, held, Value(0, 0)),)
        return Change(ActionType.DELETE_WORKLOAD, changes, _fingerprint(changes))
    changes = _differences(
        _NOTHING if before is None else before, _NOTHING if after is None else after
    )
    if operation is Operation.CREATE:
        return Change(ActionType.CREATE_WORKLOAD, changes, _fingerprint(changes))
    if not changes:
        return None
    return Change(_name(kind, changes), changes, _fingerprint(changes))


def _differences(before: Snapshot, after: Snapshot) -> tuple[FieldChange, ...]:
    """Return the fields that differ; those of a container that came or went are the template's."""
    old, new = before.beside(after), after.beside(before)
    # Values that both share are the same object, and need no comparison.
    differing = [
        field
        for field, value in old.items()
        if (other := new.get(field)) is not value and other != value
    ]
    differing += [field for field in new if field not in old]
    kept = {
        container
        for container in {field.container for field in differing}
        if not container or (_has(before, container) and _has(after, container))
    }
    return tuple(
        FieldChange(
            field if field.container in kept else field._replace(part=Part.TEMPLATE),
            old.get(field),
            new.get(field),
        )
        for field in sorted(differing)
    )


def _has(snapshot: Snapshot, container: str) -> bool:
    return any(field.container == container for field in snapshot)


def _name(kind: Kind, changes: tuple[FieldChange, ...]) -> ActionType:
    """Name a change by its most consequential part."""
    part = min(change.field.part for change in changes)
    is_deployment = kind is Kind.DEPLOYMENT
    if part is Part.REPLICAS:
        return ActionType.SCALE_DEPLOYMENT if is_deployment else ActionType.SCALE_STATEFUL_SET
    if part is Part.RESTART:
        return ActionType.RESTART_DEPLOYMENT if is_deployment else ActionType.RESTART_STATEFUL_SET
    return _name_resources(changes) if part is Part.RESOURCES else _NAMES[part]


def _name_resources(changes: tuple[FieldChange, ...]) -> ActionType:
    directions = {direction_of(change) for change in changes if change.field.part is Part.RESOURCES}
    if directions == {1}:
        return ActionType.INCREASE_RESOURCES
    if directions == {-1}:
        return ActionType.DECREASE_RESOURCES
    return ActionType.ADJUST_RESOURCES


def direction_of(change: FieldChange) -> int:
    """Return 1 where a field gives more capacity, -1 where less, 0 where that is unknown.

    An absent limit of cpu, memory or storage is unlimited; anything else absent is nothing.
    """
    if change.before is None or change.after is None:
        is_bound = change.field.name in _UNLIMITED_IF_ABSENT
        return 1 if (change.before is None) is not is_bound else -1
    before, after = _number(change.before), _number(change.after)
    if before is None or after is None:
        return 0
    return 1 if after > before else -1 if after < before else 0


def _number(value: Value) -> float | None:
    compared = value.compared
    if isinstance(compared, Amount):
        return compared.value
    return None if isinstance(compared, str | bool) else float(str(compared))


def _fingerprint(changes: tuple[FieldChange, ...]) -> str:
    """Digest the resulting values; the instant of a restart is masked, so restarts are alike."""
    return digest(
        [
            [
                change.field.container,
                change.field.name,
                None if change.field.part is Part.RESTART else _comparable(change.after),
            ]
            for change in changes
        ]
    )


def digest_request(change: Change, *, operation: Operation, subresource: str, actor: str) -> str:
    """Digest what makes two reviews the same user request, restart instants included."""
    values = [
        [part.field.container, part.field.name, _comparable(part.before), _comparable(part.after)]
        for part in change.fields
    ]
    return digest([operation, subresource, actor, values])


def _comparable(value: Value | None) -> object:
    if value is None:
        return None
    compared = value.compared
    return f"{compared.value} {compared.unit}" if isinstance(compared, Amount) else compared
