"""The rows of the policy, as a policy file makes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class PolicyRows(Protocol):
    """The same rows, as a policy file makes them."""

    async def is_declared(self) -> bool:
        """Tell whether a file was ever applied to them."""
        ...

    async def apply(self, declaration: "Declaration") -> "Application":
        """Make the rows equal to what a policy file declares, and tell which were not.

        Nothing else of a row is touched; a pattern that is not declared is no longer looked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the rows are to say: columns by name, those of each pattern and those of the modes.

    Rows named in `spared` are left as they are, for their declaration cannot be used; `digest` is
    of all that is declared.
    """

    patterns: tuple[Mapping[str, object], ...]
    modes: Mapping[str, object]
    digest: str
    spared: tuple[str, ...] = ()


class RowFate(StrEnum):
    """What was done about a row that was not as declared."""

    ADDED = "added"
    CHANGED = "changed"
    RETIRED = "retired"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that was not as declared, and what it said before by column, where it was changed.

    It is kept where its pattern is of another type: what it detected could not be understood.
    """

    name: str
    fate: RowFate
    before: Mapping[str, object]
    after: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Application:
    """The rows that were not as declared; `is_drift` where they were, and were edited since."""

    changes: tuple[RowChange, ...] = ()
    is_drift: bool = False
