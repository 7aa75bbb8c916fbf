"""Detections, their evidence and cooldowns as tables."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from rich.table import Table
from rich.text import Text

from gate.cli.console import Row, show, show_list
from gate.cli.history_table import break_after
from gate.cli.tables import describe_row, make_table, text
from gate.domain.words import describe_span, escape

_WORKLOAD_WIDTH, _ACTOR_WIDTH, _SUMMARY_WIDTH = 24, 22, 34
_COLUMNS_AT_MOST, _COLUMN_WIDTH = 9, 20


def build_detections(rows: Iterable[Row], *, now: datetime) -> Table:
    """Return a table with a line for each detection, newest first."""
    columns = {
        "id": None,
        "detected": 10,
        "workload": _WORKLOAD_WIDTH,
        "pattern": 18,
        "done": 11,
        "seen": _SUMMARY_WIDTH - 6,
    }
    return make_table(columns, (_detection(row, now) for row in rows))


def build_cooldowns(rows: Iterable[Row], *, now: datetime) -> Table:
    """Return a table with a line for each promise that binds now."""
    columns = {
        "until": 10,
        "left": 10,
        "workload": _WORKLOAD_WIDTH,
        "refused": 22,
        "of": _ACTOR_WIDTH - 4,
        "id": None,
    }
    return make_table(columns, (_cooldown(row, now) for row in rows))


def build_evidence(evidence: object) -> Iterator[Table]:
    """Yield the evidence of a detection: its numbers, and the series that was judged."""
    if not isinstance(evidence, Mapping):
        return
    yield describe_row({name: evidence[name] for name in evidence if name != "series"})
    series = evidence.get("series")
    entries = [e for e in series if isinstance(e, Mapping)] if isinstance(series, list) else []
    names = list(dict.fromkeys(str(name) for entry in entries for name in entry))[:_COLUMNS_AT_MOST]
    if names:
        widths: dict[str, int | None] = dict.fromkeys(map(escape, names), _COLUMN_WIDTH)
        yield make_table(widths, ([text(e.get(name)) for name in names] for e in entries))


def _detection(row: Row, now: datetime) -> list[Text]:
    until = row["until"]
    is_open = not row["resolved"] and isinstance(until, datetime) and until > now
    done = "audited" if row["mode"] == "audit" else row["prevention_action"] or "warned"
    return [
        text(row["id"]),
        text(*show(row["detected_at"]).split(" ")),
        _workload(row),
        text(row["pattern_name"], row["evidence_kind"]),
        text(done, "open" if is_open else "over"),
        text(_summary(row)),
    ]


def _cooldown(row: Row, now: datetime) -> list[Text]:
    until = row["until"]
    left = describe_span(until - now) if isinstance(until, datetime) else "-"
    actor = row["bound_actor"]
    return [
        text(*show(until).split(" ")),
        text(left),
        _namespace(row) if actor else _workload(row),
        text(_refused(row), row["pattern_name"], row["strategy"]),
        Text(break_after(":-", show(actor), width=_ACTOR_WIDTH - 4) if actor else "every agent"),
        text(row["id"]),
    ]


def _refused(row: Row) -> str:
    """Say which changes are refused: of these fields, of this action type, or of new workloads."""
    if row["bound_actor"]:
        return "other workloads"
    if row["action_type"]:
        return show(row["action_type"])
    fields = show_list(row["fields"], nothing="changes")
    return fields if row["prevention_applied"] else f"{fields}, less of it"


def _workload(row: Row) -> Text:
    name = f"{show(row['namespace'])}/{show(row['kind'])}/{show(row['name'])}"
    return Text(break_after("/-", name, width=_WORKLOAD_WIDTH))


def _namespace(row: Row) -> Text:
    return text(f"namespace {show(row['namespace'])}")


def _summary(row: Row) -> object:
    evidence = row["pattern_evidence"]
    return evidence.get("summary") if isinstance(evidence, Mapping) else None
