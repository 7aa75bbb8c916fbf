"""How well kinds of action have worked before, as far as it is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gate.domain.change import ActionType
from gate.domain.workload import Kind


class EffectivenessScope(StrEnum):
    """What a figure is about."""

    ALERT = "alert-type"
    KIND = "resource-type"


@dataclass(frozen=True, slots=True)
class Effectiveness:
    """What one action type achieved within one scope: mean score and its lower bound."""

    action_type: ActionType
    mean: float
    lower: float
    sample_size: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The action type that is known to work better, and where that is known from."""

    effectiveness: Effectiveness
    scope: EffectivenessScope
    scope_value: str


# No cure, however well a workload's absence silences its alerts.
_NO_CURE = (ActionType.CREATE_WORKLOAD, ActionType.DELETE_WORKLOAD, ActionType.UPDATE_METADATA)
EffectivenessTable = Mapping[tuple[EffectivenessScope, str], tuple[Effectiveness, ...]]


def suggest_alternative(
    table: EffectivenessTable, refused: ActionType, *, alert: str | None, kind: Kind
) -> Suggestion | None:
    """Return what has worked better than the refused action, for its alert or else for its kind.

    The best lower bound wins; what is not known to be better than the refused one is no suggestion.
    """
    scopes = [(EffectivenessScope.ALERT, alert)] if alert else []
    for scope, value in (*scopes, (EffectivenessScope.KIND, str(kind))):
        known = table.get((scope, value), ())
        bar = next((each.lower for each in known if each.action_type is refused), 0.0)
        better = [
            each
            for each in known
            if each.action_type not in (refused, *_NO_CURE) and each.lower > bar
        ]
        if better:
            return Suggestion(max(better, key=lambda each: each.lower), scope, value)
    return None
