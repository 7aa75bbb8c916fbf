"""The table of a history: narrow enough to read, and nothing in it that acts."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from gate.cli.arguments import BadArgumentError, parse_reference, parse_span
from gate.cli.history import describe_age
from gate.cli.history_table import break_after, build_table, describe_changes
from gate.domain.workload import Kind, WorkloadKey
from gate.ports import HistoryRow

KEY = WorkloadKey("", "shop", Kind.DEPLOYMENT, "web")
TABLE = """\
shop/Deployment/web, times in UTC
time         ver   action       change           verdict   actor                    pattern
───────────────────────────────────────────────────────────────────────────────────────────────
2026-11-24     1   scale_       replicas 5 → 3   allow     system:serviceaccount:
08:00:05           deployment                    enforce   ai-agents:scaler
2026-11-24     3   scale_       replicas 5 → 3   deny      system:serviceaccount:   scale-
08:00:05           deployment                    enforce   ai-agents:scaler         oscillation"""


def row(**columns: object) -> HistoryRow:
    return HistoryRow(
        {
            "action_timestamp": datetime(2026, 11, 24, 8, 0, 5, tzinfo=UTC),
            "version": 3,
            "action_type": "scale_deployment",
            "action_parameters": {"changes": [{"field": "replicas", "before": 5, "after": 3}]},
            "verdict": "deny",
            "mode": "enforce",
            "actor": "system:serviceaccount:ai-agents:scaler",
            "decision": {"objections": [{"pattern": "scale-oscillation"}]},
        }
        | columns
    )


def render(*rows: HistoryRow, key: WorkloadKey = KEY, width: int = 100) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(build_table(key, rows))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_history_reads_as_one_row_per_trace() -> None:
    allowed = {"verdict": "allow", "decision": {"objections": []}, "version": 1}

    table = render(row(**allowed), row())

    assert table == TABLE


def test_table_never_grows_beyond_a_hundred_columns() -> None:
    changes = [{"container": "c" * 63, "field": "limits.memory", "before": "1", "after": "2" * 200}]

    table = render(
        row(
            action_parameters={"changes": changes * 9},
            actor="a" * 500,
            action_type="restart_statefulset",
            version=123_456_789,
        )
    )

    assert max(map(len, table.splitlines())) <= 100


@pytest.mark.parametrize("planted", ["\x1b[31mred", "[bold]x[/bold][/]", "a\nb", "\r\x00\u202e"])
def test_what_agents_wrote_is_shown_and_not_interpreted(planted: str) -> None:
    changes = [{"field": planted, "before": planted, "after": planted}]

    table = render(
        row(action_parameters={"changes": changes}, actor=planted),
        key=WorkloadKey("", "shop", Kind.DEPLOYMENT, planted),
    )

    assert all(line.isprintable() for line in table.splitlines())
    if "[bold]" in planted:
        assert planted in table


@pytest.mark.parametrize("broken", [None, [], {}, {"changes": None}, {"changes": ["x", 3]}])
def test_parameters_of_an_unknown_form_do_not_break_the_table(broken: object) -> None:
    assert "scale_" in render(row(action_parameters=broken, decision=broken))


def test_changes_tell_container_field_and_values() -> None:
    changes: list[dict[str, object]] = [
        {"field": "replicas", "before": None, "after": 3},
        {"container": "web", "field": "limits.memory", "before": "256Mi", "after": "512Mi"},
    ]

    assert describe_changes({"changes": changes}) == (
        "replicas none → 3\nweb limits.memory\n256Mi → 512Mi"
    )


def test_only_the_first_of_many_changes_are_shown_and_the_others_counted() -> None:
    changes = [{"field": f"f{number}", "before": 1, "after": 2} for number in range(5)]

    assert describe_changes({"changes": changes}).splitlines() == [
        "f0 1 → 2",
        "f1 1 → 2",
        "f2 1 → 2",
        "and 2 more",
    ]


def test_long_names_break_after_their_separators() -> None:
    assert break_after(":", "a:bb:ccc", width=5) == "a:bb:\nccc"
    assert break_after("-", "word", width=2) == "word"
    assert break_after("-", "", width=2) == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("shop/Deployment/web", Kind.DEPLOYMENT),
        ("shop/deploy/web", Kind.DEPLOYMENT),
        ("shop/STATEFULSET/web", Kind.STATEFUL_SET),
        ("shop/sts/web", Kind.STATEFUL_SET),
    ],
)
def test_workload_is_named_by_kind_or_its_short_form(text: str, kind: Kind) -> None:
    assert parse_reference(text, cluster="c") == WorkloadKey("c", "shop", kind, "web")


@pytest.mark.parametrize(
    "text", ["web", "shop/web", "shop/Pod/web", "shop//web", "/sts/", "a/sts/b/c"]
)
def test_reference_that_names_no_workload_tells_what_does(text: str) -> None:
    with pytest.raises(BadArgumentError) as refusal:
        parse_reference(text, cluster="")

    assert str(refusal.value) == (
        f"'{text}' names no workload: write NAMESPACE/KIND/NAME, where KIND is Deployment (deploy)"
        f" or StatefulSet (sts), such as shop/Deployment/web"
    )


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_since_takes_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "0h", "1.5h", "7 d", "3y", "999999w", "٣d"])
def test_since_that_is_no_time_tells_what_is(text: str) -> None:
    with pytest.raises(BadArgumentError, match="write a number above 0 and s, m, h, d or w"):
        parse_span(text)


def test_age_is_told_in_days_where_it_is_a_number_of_them() -> None:
    assert describe_age(timedelta(days=7)) == "7 days"
    assert describe_age(timedelta(days=1)) == "day"
    assert describe_age(timedelta(hours=90)) == "90 h"
