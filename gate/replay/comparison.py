"""Two policies on one past: what the second newly refuses, and what it newly admits."""

from dataclasses import dataclass, field

from gate.replay.row import Disposition, Row

_KEPT_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A change that two policies treat differently."""

    first: Row
    second: Row

    @property
    def is_stricter(self) -> bool:
        """Tell whether the second policy is the stricter one."""
        return self.second.disposition > self.first.disposition


@dataclass(slots=True)
class Comparison:
    """The differences, as many as there is room for, and how many there are."""

    refused: int = 0
    admitted: int = 0
    kept: list[Difference] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Tell whether there is any difference."""
        return bool(self.refused or self.admitted)

    def take(self, first: Row, second: Row) -> Difference | None:
        """Compare what two policies do to one change; None where it is the same.

        Being refused and being reported as refusable in audit mode are different; a warning alone
        makes no difference.
        """
        if _disposition(first) == _disposition(second):
            return None
        difference = Difference(first, second)
        if difference.is_stricter:
            self.refused += 1
        else:
            self.admitted += 1
        if len(self.kept) < _KEPT_AT_MOST:
            self.kept.append(difference)
        return difference


def _disposition(row: Row) -> Disposition:
    return max(row.disposition, Disposition.WARNS)
