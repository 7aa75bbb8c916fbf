"""The policy file: read within bounds, one pattern at a time, so that none disables the others."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gate.domain.canonical import digest
from gate.domain.pattern import Mode
from gate.domain.policy import FailureMode, Policy
from gate.errors import PolicyFileError
from gate.policy.conversion import make_pattern
from gate.policy.document import Document, YamlProblemError, parse_document
from gate.policy.problems import Problem, find_problems
from gate.policy.rows import declare_modes, write_modes, write_pattern
from gate.policy.schema import (
    MOST_PATTERNS,
    AgentsSection,
    PatternEntry,
    PatternName,
    PolicyFile,
    ResourceThrashing,
    ScaleOscillation,
    seeded_patterns,
)
from gate.policy.version import hold_modes, make_policy
from gate.ports.policy import DeclaredModes
from gate.ports.policy_rows import Declaration

MOST_BYTES = 1024 * 1024  # what a ConfigMap holds at most
_SHOWN_AT_MOST = 20

_ENTRY: TypeAdapter[PatternEntry] = TypeAdapter(PatternEntry)
_NAME: TypeAdapter[str] = TypeAdapter(PatternName)


@dataclass(frozen=True, slots=True)
class ParsedPolicy:
    """What a policy file declares: everything that is usable, and what is wrong with the rest.

    `patterns` are the usable ones, complete, and `are_defaults` where the file names none;
    `problems` are of patterns only, by their names.
    """

    file: PolicyFile
    patterns: Mapping[str, PatternEntry]
    problems: Mapping[str, tuple[Problem, ...]]
    are_defaults: bool = False

    @property
    def modes(self) -> DeclaredModes:
        """Return the modes that the file declares."""
        return declare_modes(self.file)

    def declare(self) -> Declaration:
        """Return what the rows are to say."""
        patterns = tuple(write_pattern(name, entry) for name, entry in self.patterns.items())
        modes, spared = write_modes(self.file), tuple(sorted(self.problems))
        return Declaration(patterns, modes, digest([*patterns, modes, spared]), spared)

    def as_policy(
        self, *, mode: Mode = Mode.ENFORCE, failure_mode: FailureMode = FailureMode.OPEN
    ) -> Policy:
        """Return the policy as it decides without a database.

        `mode` and `failure_mode` hold where the file names none.
        """
        patterns = [
            make_pattern(name, entry, pattern_id=number)
            for number, (name, entry) in enumerate(self.patterns.items(), start=1)
        ]
        return make_policy(patterns, hold_modes(self.modes, mode=mode, failure_mode=failure_mode))

    def describe_problems(self) -> str | None:
        """Say what is wrong with the patterns that are not usable; None where all are."""
        problems = [problem for found in self.problems.values() for problem in found]
        return _list_problems(problems) if problems else None


def load_policy_file(path: Path) -> ParsedPolicy:
    """Read a policy file.

    Raises PolicyFileError where it cannot be used as a whole; a pattern that cannot be used is
    among the problems of what is returned.
    """
    return parse_policy(read_policy_file(path), source=str(path))


def read_policy_file(path: Path) -> bytes:
    """Return a policy file's content, as it was at one moment if it is replaced, never rewritten.

    Raises PolicyFileError where it cannot be read or is larger than 1 MiB.
    """
    try:
        # Without waiting, so that a pipe in the file's place keeps nobody.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PolicyFileError(f"policy file {path} is not a file")
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PolicyFileError(f"policy file {path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise PolicyFileError(f"policy file {path} is larger than 1 MiB, the most that is read")
    return content


def parse_policy(content: bytes, *, source: str) -> ParsedPolicy:
    """Return what a policy file's content declares; raises PolicyFileError naming `source`."""
    document, values = _parse_mapping(content, source)
    declared = values.get("patterns")
    rest: dict[object, object] = {k: v for k, v in values.items() if k != "patterns"}
    if declared is None:
        declared = {}
    elif not isinstance(declared, dict) or len(declared) > MOST_PATTERNS:
        rest["patterns"] = declared  # what is wrong with it as a whole is told with the rest
        declared = {}
    return _parse_patterns(_parse_file(rest, document, source), declared, document)


def parse_agents(content: bytes, *, source: str) -> AgentsSection | None:
    """Return the agents that a policy file names, whatever is wrong with the rest of it.

    Raises PolicyFileError naming `source` where they cannot be told.
    """
    document, values = _parse_mapping(content, source)
    rest: dict[object, object] = {k: v for k, v in values.items() if k == "agents"}
    return _parse_file(rest, document, source).agents


def _parse_mapping(content: bytes, source: str) -> tuple[Document, Mapping[object, object]]:
    try:
        document = parse_document(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PolicyFileError(f"policy file {source} is not text in UTF-8") from None
    except YamlProblemError as error:
        raise PolicyFileError(f"policy file {source}: {error}") from None
    if not isinstance(document.value, dict):
        raise PolicyFileError(
            f"policy file {source} should hold `key: value` pairs such as `mode: audit`"
        )
    return document, document.value


def _parse_file(rest: Mapping[object, object], document: Document, source: str) -> PolicyFile:
    try:
        return PolicyFile.model_validate(rest)
    except ValidationError as error:
        problems = find_problems(error, document=document)
        message = f"policy file {source}: {_list_problems(problems)}"
        raise PolicyFileError(message, problems=[str(problem) for problem in problems]) from None


def _parse_patterns(
    file: PolicyFile, declared: Mapping[object, object], document: Document
) -> ParsedPolicy:
    usable: dict[str, PatternEntry] = {}
    problems: dict[str, tuple[Problem, ...]] = {}
    for name, value in declared.items():
        try:
            usable[_NAME.validate_python(name, strict=True)] = _ENTRY.validate_python(value)
        except ValidationError as error:
            path = ("patterns", str(name))
            problems[str(name)] = find_problems(error, within=path, document=document)
    if not declared:
        usable = seeded_patterns()
    complete = {name: _complete(entry, file) for name, entry in usable.items()}
    return ParsedPolicy(file, complete, problems, are_defaults=not declared)


def _complete(entry: PatternEntry, file: PolicyFile) -> PatternEntry:
    """Give a pattern that has no `on_increase` of its own that of the file."""
    if not isinstance(entry, ScaleOscillation | ResourceThrashing):
        return entry
    if entry.thresholds.on_increase is not None:
        return entry
    thresholds = entry.thresholds.model_copy(update={"on_increase": file.on_increase})
    return entry.model_copy(update={"thresholds": thresholds})


def _list_problems(problems: Sequence[Problem]) -> str:
    shown = [str(problem) for problem in problems[:_SHOWN_AT_MOST]]
    more = len(problems) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])
