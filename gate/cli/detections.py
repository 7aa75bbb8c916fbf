"""`gate detections` and `gate cooldowns`: what was found, and what is refused now."""

from gate.cli.arguments import BadArgumentError, Output, parse_span
from gate.cli.console import Row, print_json, reading, tell
from gate.cli.history import describe_age
from gate.domain.pattern import Mode
from gate.domain.policy import PerNamespace
from gate.domain.words import escape
from gate.policy.version import hold_modes
from gate.ports.policy import DeclaredModes
from gate.postgres.reports import AT_MOST
from gate.services.clock import utc_now


async def run_list(*, namespace: str, since: str, only_open: bool, output: Output) -> None:
    """Print detections, newest first; raises GateError."""
    span, now = parse_span(since), utc_now()
    async with reading("detections") as sources:
        rows = await sources.reports.list_detections(
            cluster=sources.settings.cluster or "",
            namespace=namespace,
            since=now - span,
            now=now,
            only_open=only_open,
        )
    _tell_of_limit(rows)
    if output is Output.JSON:
        print_json(rows)
    elif rows:
        from gate.cli.detections_table import build_detections  # noqa: PLC0415 - Rich is for tables only
        from gate.cli.tables import print_table  # noqa: PLC0415 - Rich is for tables only

        print_table(build_detections(rows, now=now))
    else:
        what = "open detection" if only_open else "detection"
        print(f"No {what}{_where(namespace)} within the last {describe_age(span)}.")


async def run_show(detection_id: int, *, output: Output) -> None:
    """Print one detection with its evidence; raises GateError."""
    async with reading("detections") as sources:
        row = await sources.reports.find_detection(detection_id)
    if row is None:
        raise BadArgumentError(
            f"there is no detection {detection_id}: `gate detections list` shows their ids"
        )
    if output is Output.JSON:
        print_json(row)
        return
    from gate.cli.detections_table import build_evidence  # noqa: PLC0415 - Rich is for tables only
    from gate.cli.tables import describe_row, print_table  # noqa: PLC0415 - Rich is for tables only

    evidence = row["pattern_evidence"]
    print_table(describe_row({name: row[name] for name in row if name != "pattern_evidence"}))
    for table in build_evidence(evidence):
        print()
        print_table(table)


async def run_cooldowns(*, namespace: str, output: Output) -> None:
    """Print what is refused now, and until when; raises GateError.

    What the policy only audits by now is left out.
    """
    now = utc_now()
    async with reading("cooldowns") as sources:
        found = await sources.reports.list_cooldowns(
            cluster=sources.settings.cluster or "", namespace=namespace, now=now
        )
        listing = await sources.policy.read()
        settings = sources.settings
    modes = hold_modes(
        listing.modes or DeclaredModes(),
        mode=settings.mode,
        failure_mode=settings.failure_mode,
    ).modes
    rows = [row for row in found if _is_enforced(row, modes)]
    _tell_of_limit(found)
    if output is Output.JSON:
        print_json(rows)
    elif rows:
        from gate.cli.detections_table import build_cooldowns  # noqa: PLC0415 - Rich is for tables only
        from gate.cli.tables import print_table  # noqa: PLC0415 - Rich is for tables only

        print_table(build_cooldowns(rows, now=now))
    else:
        print(f"Nothing is refused{_where(namespace)} now.")


def _is_enforced(row: Row, modes: PerNamespace[Mode]) -> bool:
    mode = row["pattern_mode"] or modes.holding_in(str(row["namespace"]))
    return mode == Mode.ENFORCE


def _where(namespace: str) -> str:
    return f" in namespace {escape(namespace)}" if namespace else ""


def _tell_of_limit(rows: list[Row]) -> None:
    if len(rows) == AT_MOST:
        tell(f"Only {AT_MOST} are shown: give --namespace or a shorter --since to see the others.")
