"""What holds for every decision at one moment: patterns, modes and failure modes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from gate.domain.actor import is_match
from gate.domain.pattern import Mode, Pattern

_T = TypeVar("_T")


class FailureMode(StrEnum):
    """What happens to a change that gate cannot decide or record."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PerNamespace(Generic[_T]):
    """One value for everything, and others where a glob matches the namespace; the first wins."""

    default: _T
    namespaces: tuple[tuple[str, _T], ...] = ()

    def holding_in(self, namespace: str) -> _T:
        """Return the value that holds in a namespace."""
        matching = (value for glob, value in self.namespaces if is_match(glob, namespace))
        return next(matching, self.default)


@dataclass(frozen=True, slots=True)
class Policy:
    """One consistent set of what decides; a review takes it once, at its start.

    `version` is a digest of all that decides; an approval holds for the policy it was given under.
    A pattern's own mode comes before the namespace's, and that before the one for everything.
    """

    patterns: tuple[Pattern, ...]
    modes: PerNamespace[Mode] = PerNamespace(Mode.ENFORCE)
    failure_modes: PerNamespace[FailureMode] = PerNamespace(FailureMode.OPEN)
    version: str = ""
