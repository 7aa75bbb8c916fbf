"""`gate patterns`: what is looked for, as rows, as a file, and where the two differ."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gate.cli.arguments import BadArgumentError, Output
from gate.cli.console import NothingReadError, print_json, reading, show, tell
from gate.domain.words import escape
from gate.errors import PolicyFileError
from gate.policy.comparison import export_policy, find_differences
from gate.policy.file import ParsedPolicy, parse_policy, read_policy_file
from gate.policy.schema import make_json_schema


async def run_list(*, output: Output) -> None:
    """Print every pattern; raises GateError."""
    async with reading("patterns") as sources:
        rows = await sources.reports.list_patterns()
        settings = await sources.reports.find_policy_settings()
    if output is Output.JSON:
        print_json(rows)
        return
    from gate.cli.patterns_table import build_patterns, describe_modes  # noqa: PLC0415 - Rich is for tables only
    from gate.cli.tables import print_table  # noqa: PLC0415 - Rich is for tables only

    print_table(build_patterns(rows))
    print(describe_modes(settings))


async def run_show(name: str, *, output: Output) -> None:
    """Print one pattern; raises GateError."""
    async with reading("patterns") as sources:
        rows = await sources.reports.list_patterns()
    row = next((row for row in rows if row["pattern_name"] == name), None)
    if row is None:
        there_are = ", ".join(show(row["pattern_name"], limit=80) for row in rows)
        raise BadArgumentError(f"there is no pattern {escape(name)!r}; there are {there_are}")
    if output is Output.JSON:
        print_json(row)
        return
    from gate.cli.tables import describe_row, print_table  # noqa: PLC0415 - Rich is for tables only

    print_table(describe_row(row))


async def run_diff(file: Path | None, *, output: Output) -> bool:
    """Print where the rows differ from a policy file, and tell whether they do.

    Raises NothingReadError where either cannot be read.
    """
    async with reading("patterns") as sources:
        path = file or sources.settings.policy_file
        if path is None:
            raise BadArgumentError("no policy file is set: name one, or set GATE_POLICY_FILE")
        parsed = _load(path)
        rows = await sources.reports.list_patterns()
        settings = await sources.reports.find_policy_settings()
    found = list(find_differences(rows, settings, parsed))
    problems = parsed.describe_problems()
    if problems is not None:
        tell(f"{path}: {problems}; these patterns are not compared")
    if output is Output.JSON:
        print_json([asdict(difference) for difference in found])
    elif found:
        from gate.cli.patterns_table import build_differences  # noqa: PLC0415 - Rich is for tables only
        from gate.cli.tables import print_table  # noqa: PLC0415 - Rich is for tables only

        print_table(build_differences(found))
    else:
        print(f"The rows are as {escape(str(path))} declares them.")
    return bool(found) or problems is not None


async def run_export() -> bool:
    """Print the rows as a policy file, and tell whether all of them are in it; raises GateError."""
    async with reading("patterns") as sources:
        rows = await sources.reports.list_patterns()
        settings = await sources.reports.find_policy_settings()
    exported = export_policy(rows, settings)
    sys.stdout.write(exported.text)
    for problem in exported.problems:
        tell(f"left out, for it cannot be used: {problem}")
    return not exported.problems


def run_check(file: Path) -> bool:
    """Say what is wrong with a policy file, and tell whether nothing is.

    Raises NothingReadError where it cannot be read.
    """
    content = _read(file)
    source = "standard input" if str(file) == "-" else str(file)
    try:
        parsed = parse_policy(content, source=source)
    except PolicyFileError as error:
        _tell_all(error.problems or [str(error)])
        return False
    if parsed.problems:
        _tell_all([str(problem) for found in parsed.problems.values() for problem in found])
        return False
    print(f"{escape(source)} is valid.")
    if parsed.are_defaults:
        print(f"It names no patterns, so the defaults hold: {', '.join(parsed.patterns)}.")
    return True


def run_schema() -> None:
    """Print the JSON Schema of the policy file."""
    print(json.dumps(make_json_schema(), indent=2, ensure_ascii=False))


def _tell_all(problems: Sequence[str]) -> None:
    for problem in problems:
        tell(problem)


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else read_policy_file(path)
    except PolicyFileError as error:
        raise NothingReadError(str(error)) from error


def _load(path: Path) -> ParsedPolicy:
    try:
        return parse_policy(_read(path), source=str(path))
    except PolicyFileError as error:
        raise NothingReadError(str(error)) from error
