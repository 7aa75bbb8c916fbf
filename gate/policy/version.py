"""A policy as one value with its version: a digest of all that decides, and of nothing else."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from gate.domain.canonical import digest
from gate.domain.pattern import Mode, Pattern
from gate.domain.policy import FailureMode, PerNamespace, Policy
from gate.ports.policy import DeclaredModes


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes and failure modes that hold, everywhere or by namespace."""

    modes: PerNamespace[Mode]
    failure_modes: PerNamespace[FailureMode]


def hold_modes(declared: DeclaredModes, *, mode: Mode, failure_mode: FailureMode) -> Modes:
    """Return the modes that hold, with those of the settings where none are declared."""
    entries = declared.namespaces
    return Modes(
        PerNamespace(
            declared.mode or mode,
            tuple((entry.match, entry.mode) for entry in entries if entry.mode is not None),
        ),
        PerNamespace(
            declared.failure_mode or failure_mode,
            tuple((e.match, e.failure_mode) for e in entries if e.failure_mode is not None),
        ),
    )


def make_policy(patterns: Iterable[Pattern], modes: Modes) -> Policy:
    """Return one policy with its version, which is the same in every database."""
    listed = tuple(patterns)
    values = sorted(({**asdict(p), "id": None} for p in listed), key=lambda p: str(p["name"]))
    return Policy(
        patterns=listed,
        modes=modes.modes,
        failure_modes=modes.failure_modes,
        version=digest([values, asdict(modes)]),
    )
