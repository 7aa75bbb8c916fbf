"""What is told of a replay as a whole, and how far it can be trusted."""

from collections.abc import Iterator
from dataclasses import dataclass

from gate.domain.words import escape
from gate.replay.comparison import Comparison
from gate.replay.reader import HELD_BACK, Reader
from gate.replay.run import Replay
from gate.replay.summary import Summary
from gate.replay.timeline import Timelines

_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Report:
    """One replay after its end; `comparison` is None where there was one policy alone."""

    reader: Reader
    replay: Replay
    summary: Summary
    timelines: Timelines
    agents: tuple[str, ...]
    policy: str
    against: str | None = None
    comparison: Comparison | None = None


def describe_result(report: Report) -> str:
    """Return in one sentence what gate would have done."""
    total, counts = report.summary.total, report.replay.counts
    if not counts.decided:
        return "No change by an agent was decided."
    episodes = f" in {_count(total.episodes, 'episode')}" if total.refused else ""
    audited = (
        f", and reported {total.would_be_refused} as refusable (audit)"
        if total.would_be_refused
        else ""
    )
    return (
        f"Of {_count(counts.decided, 'change')} by agents, gate would have refused {total.refused}"
        f"{episodes}{audited}, and warned about {total.warned} it admits."
    )


def describe_input(report: Report) -> str:
    """Return in one sentence what was read."""
    reader, summary = report.reader, report.summary
    span = ""
    if summary.first is not None and summary.last is not None:
        first, last = (f"{at:%Y-%m-%d %H:%M}" for at in (summary.first, summary.last))
        span = f", those of agents from {first} to {last} UTC"
    return (
        f"Read {_count(reader.lines, 'entry', 'entries')} of {_count(len(reader.files), 'log')}:"
        f" {_count(report.replay.counts.calls, 'write')} to workloads{span}."
    )


def describe_comparison(report: Report) -> str | None:
    """Return in one sentence how two policies differ; None where there was one alone."""
    comparison = report.comparison
    if comparison is None:
        return None
    against, policy = (escape(name, limit=200) for name in (report.against or "", report.policy))
    return (
        f"Against the other policy: {comparison.refused} newly refused, {comparison.admitted} newly"
        f" admitted ({against} compared with {policy})."
    )


def find_failure(report: Report) -> str | None:
    """Return why a replay tells nothing; None where it tells something."""
    reader = report.reader
    reasons = [f"{why} ({number:,})" for why, number in reader.broken.most_common()]
    reasons += [file.problem for file in reader.files if file.problem is not None]
    if reasons and reader.lines == sum(reader.broken.values()):
        words = escape("; ".join(reasons), limit=400)
        return f"nothing could be read: {words}; a log holds one JSON object a line"
    if report.comparison is not None and not report.replay.counts.decided:
        return (
            "nothing was compared: no change by an agent was decided; name a log that holds some,"
            " and with --agent GLOB who is an agent"
        )
    return None


def list_notes(report: Report) -> Iterator[str]:
    """Return what a reader has to know to judge the result: what is missing, and what to do."""
    counts, reader = report.replay.counts, report.reader
    yield from _explain_silence(report)
    if broken := sum(reader.broken.values()):
        reasons = ", ".join(f"{why} ({number:,})" for why, number in reader.broken.most_common())
        yield f"{_count(broken, 'entry', 'entries')} could not be read and left out: {reasons}."
        if broken == reader.lines:
            yield "A log holds one JSON object a line; `jq -c '.[]'` makes lines of a JSON array."
    for file in reader.files:
        if file.problem is not None:
            name = escape(file.name, limit=200)
            yield f"{name} could not be read to its end: {escape(file.problem, limit=200)}."
    if counts.unknown_before:
        yield (
            f"{_count(counts.unknown_before, 'change')} had no known value before (before is null):"
            f" the log begins later, or holds no responses (level RequestResponse)."
        )
    for gap, number in counts.gaps.most_common():
        yield f"{_count(number, 'change')} of agents could not be judged: {gap}."
    if reader.late:
        yield (
            f"{_count(reader.late, 'entry', 'entries')} came more than {HELD_BACK} writes too late"
            f" in the log and were taken when they came."
        )
    if report.replay.forgotten:
        yield (
            f"{_count(report.replay.forgotten, 'workload')} were forgotten on the way, for want of"
            f" room; those that were not changed for longest go first."
        )
    for (pattern, reason), number in counts.incomplete.most_common():
        yield f"{pattern} went without some input {_count(number, 'time')}: {reason}."


def _explain_silence(report: Report) -> Iterator[str]:
    counts = report.replay.counts
    if counts.decided:
        return
    agents = ", ".join(escape(glob, limit=80) for glob in report.agents)
    yield f"Agents are those whose user name matches {agents}; name others with --agent GLOB."
    if counts.others:
        names = ", ".join(
            f"{escape(name, limit=100)} ({number})"
            for name, number in counts.others.most_common(_NAMES_SHOWN)
        )
        yield f"Workloads were changed by others, most by: {names}."


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
