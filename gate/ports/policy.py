"""The rows that say what is looked for and what happens then, as they are read."""

from dataclasses import dataclass
from typing import Protocol

from gate.domain.pattern import Mode, Pattern
from gate.domain.policy import FailureMode


class PolicySource(Protocol):
    """The rows that say what is looked for, and what happens then."""

    async def read(self) -> "PolicyListing":
        """Return what the rows say, and what is wrong with those that cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class UnusablePattern:
    """An active pattern whose row makes no sense; `problem` names the row and what is wrong."""

    id: int
    problem: str


@dataclass(frozen=True, slots=True)
class NamespaceModes:
    """Modes where a glob matches the namespace; None where this entry says nothing."""

    match: str
    mode: Mode | None = None
    failure_mode: FailureMode | None = None


@dataclass(frozen=True, slots=True)
class DeclaredModes:
    """Modes as a policy file declares them; None where the settings hold."""

    mode: Mode | None = None
    failure_mode: FailureMode | None = None
    namespaces: tuple[NamespaceModes, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyListing:
    """The usable active patterns in the order of their ids, the unusable ones, and the modes.

    `modes` is None where its row cannot be used, and `modes_problem` then says why. `left_out` are
    active patterns that are too many to be looked for, and `left_out_problem` then names them.
    """

    patterns: tuple[Pattern, ...]
    problems: tuple[UnusablePattern, ...] = ()
    modes: DeclaredModes | None = DeclaredModes()
    modes_problem: str | None = None
    left_out: int = 0
    left_out_problem: str | None = None
