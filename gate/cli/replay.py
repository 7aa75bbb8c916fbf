"""`gate replay`: audit logs decided as gate would have decided them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import orjson

from gate.cli.arguments import BadArgumentError, ReportOutput
from gate.cli.replay_progress import showing_progress
from gate.domain.actor import AgentRules
from gate.domain.policy import Policy
from gate.errors import GateError
from gate.policy.file import ParsedPolicy, load_policy_file, parse_policy
from gate.replay.comparison import Comparison
from gate.replay.log_file import STANDARD_INPUT, LogFile
from gate.replay.reader import Reader
from gate.replay.report import (
    Report,
    describe_comparison,
    describe_input,
    describe_result,
    find_failure,
    list_notes,
)
from gate.replay.row import Row
from gate.replay.run import Replay
from gate.replay.summary import Summary
from gate.replay.timeline import Timelines
from gate.settings.knobs import Agents

DIFFERS = 3
_DEFAULT_POLICY = b"{}"


class NothingReplayedError(GateError):
    """A replay found nothing to judge by, so that its exit code must not say a result."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What the command line asks for."""

    files: tuple[str, ...]
    sample: bool
    agents: tuple[str, ...]
    policy: Path | None
    against: Path | None
    output: ReportOutput


def run_replay(options: ReplayOptions) -> int:
    """Replay logs and print what was found; return the exit code.

    Raises BadArgumentError for what cannot be asked, LogFileError for a log that cannot be opened,
    PolicyFileError for a policy that cannot be used, NothingReplayedError after what was printed
    where it tells nothing.
    """
    with _logs(options) as logs:
        first = _load(options.policy)
        policies = [first.as_policy()]
        if options.against is not None:
            policies.append(_load(options.against).as_policy())
        agents = _find_agents(options, first)
        with showing_progress(logs, beside_rows=options.output is ReportOutput.JSON) as progress:
            reader = Reader(logs, progress=progress)
            report = _replay(options, reader, tuple(policies), agents)
    _print(report, options.output)
    failure = find_failure(report)
    if failure is not None:
        raise NothingReplayedError(failure)
    return DIFFERS if report.comparison is not None and report.comparison.differs else 0


@contextmanager
def _logs(options: ReplayOptions) -> Iterator[list[LogFile]]:
    """Open the logs that are asked for, or the sample."""
    if options.sample:
        if options.files:
            raise BadArgumentError("--sample replays the log that comes with gate: name no FILE")
        with as_file(files("gate.replay") / "sample" / "audit.jsonl") as path:
            yield [LogFile(str(path))]
        return
    if not options.files:
        raise BadArgumentError(
            "no log is named: write FILE, - for standard input, or --sample for the log that comes"
            " with gate"
        )
    if options.files.count(STANDARD_INPUT) > 1:
        raise BadArgumentError("- is named twice: standard input can be read only once")
    yield [LogFile(name) for name in options.files]


def _load(path: Path | None) -> ParsedPolicy:
    if path is None:
        return parse_policy(_DEFAULT_POLICY, source="default")
    parsed = load_policy_file(path)
    problems = parsed.describe_problems()
    if problems is not None:
        raise BadArgumentError(f"policy file {path}: {problems}")
    return parsed


def _find_agents(options: ReplayOptions, policy: ParsedPolicy) -> AgentRules:
    """Return who is an agent: by the command line, else by the policy, else by default."""
    if any(not glob.strip() for glob in options.agents):
        raise BadArgumentError("--agent is empty: write a user name, where * matches anything")
    if options.agents:
        return AgentRules(users=options.agents)
    declared = policy.file.agents
    return Agents().as_rules() if declared is None else declared.as_rules()


def _replay(
    options: ReplayOptions, reader: Reader, policies: tuple[Policy, ...], agents: AgentRules
) -> Report:
    report = Report(
        reader=reader,
        replay=Replay(policies, agents),
        summary=Summary(),
        timelines=Timelines(),
        agents=(*agents.users, *agents.groups, *(glob for _, glob in agents.extra)),
        policy="the one gate starts with" if options.policy is None else str(options.policy),
        against=None if options.against is None else str(options.against),
        comparison=None if options.against is None else Comparison(),
    )
    for call in reader.read():
        for decided in report.replay.take(call):
            _take(report, decided.rows, options.output)
    return report


def _take(report: Report, rows: tuple[Row, ...], output: ReportOutput) -> None:
    """Take one decided change; JSON is printed as it comes, and of two policies what differs."""
    first, last = rows[0], rows[-1]
    report.summary.take(first)
    if output is ReportOutput.HTML:
        report.timelines.take(first)
    differs = report.comparison is None or report.comparison.take(first, last) is not None
    if output is ReportOutput.JSON and differs:
        sys.stdout.buffer.write(orjson.dumps(last.as_json(), option=orjson.OPT_APPEND_NEWLINE))


def _print(report: Report, output: ReportOutput) -> None:
    if output is ReportOutput.TABLE:
        from gate.cli.replay_table import print_report  # noqa: PLC0415 - Rich is for tables only

        print_report(report)
    elif output is ReportOutput.HTML:
        from gate.replay.page import write_page  # noqa: PLC0415 - for pages only

        for part in write_page(report):
            sys.stdout.buffer.write(part.encode(errors="replace"))
    else:
        sys.stdout.flush()
        compared = describe_comparison(report)
        lines = (describe_input(report), describe_result(report), compared, *list_notes(report))
        for line in filter(None, lines):
            print(f"gate replay: {line}", file=sys.stderr)
    sys.stdout.flush()
