"""The table of a history: narrow enough to read, and nothing in it that acts."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from gate.cli.arguments import BadArgumentError, parse_reference, parse_span
from gate.cli.history import describe_age
from gate.cli.history_table import break_after, build_table, describe_changes
from gate.domain.change import ActionType
from gate.domain.workload import Kind, WorkloadKey
from gate.ports.traces import HistoryRow

KEY = WorkloadKey("", "shop", Kind.DEPLOYMENT, "web")
TABLE = """\
shop/Deployment/web, times in UTC
time        ver  action and change  verdict            actor
─────────────────────────────────────────────────────────────────────────────
2026-11-24    1  scale_deployment   allow              system:serviceaccount:
08:00:05         replicas 5 → 3                        ai-agents:scaler
2026-11-24    3  scale_deployment   deny               system:serviceaccount:
08:00:05         replicas 5 → 3     scale-oscillation  ai-agents:scaler"""
TIMES = "\N{MULTIPLICATION SIGN}"
REPEATS = f"{TIMES}n: the API server asked n times about this one request; ver counts each"


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
            "attempts": 1,
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


def test_repeated_request_is_one_row_with_how_often_it_was_asked() -> None:
    table = render(row(attempts=4), row(version=9, attempts=1))

    assert table.count(TIMES) == 2
    assert f"scale_deployment {TIMES}4" in table
    assert table.splitlines()[-1] == REPEATS


def test_table_without_repeated_requests_does_not_explain_them() -> None:
    assert TIMES not in render(row(), row())


def test_trace_that_was_recorded_later_is_marked_and_the_mark_explained() -> None:
    table = render(row(spooled_at=datetime(2026, 11, 24, 8, 0, 7, tzinfo=UTC)), row())

    assert table.count("deny, spooled") == 1
    assert table.splitlines()[-1].startswith("spooled: waited on a replica's disk")
    assert "spooled" not in render(row(), row(spooled_at=None))


def test_mode_is_shown_where_nothing_was_enforced() -> None:
    assert "enforce" not in render(row())
    assert "deny, audit" in render(row(mode="audit"))


@pytest.mark.parametrize("action", list(ActionType))
def test_no_action_is_broken(action: ActionType) -> None:
    changes = [{"container": "web", "field": "image", "before": "x" * 99, "after": "y" * 99}]

    table = render(
        row(action_type=action, action_parameters={"changes": changes}, attempts=99, actor="a" * 99)
    )

    assert f" {action} {TIMES}99 " in table


def test_table_never_grows_beyond_a_hundred_columns() -> None:
    changes = [{"container": "c" * 63, "field": "limits.memory", "before": "1", "after": "2" * 200}]

    table = render(
        row(
            action_parameters={"changes": changes * 9},
            actor="a" * 500,
            action_type="restart_statefulset",
            version=123_456_789,
            attempts=32_767,
            mode="audit",
            decision={"objections": [{"pattern": "resource-thrashing"}, {"pattern": "p" * 99}]},
        )
    )

    assert max(map(len, table.splitlines())) <= 100


def test_long_actor_breaks_after_its_separators() -> None:
    actor = "system:serviceaccount:ai-agents-production:capacity-planner-for-europe"

    folded = [line.split("  ")[-1].strip() for line in render(row(actor=actor)).splitlines()[-4:]]

    assert folded == [
        "system:serviceaccount:",
        "ai-agents-production:",
        "capacity-planner-for-",
        "europe",
    ]


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
    assert "scale_deployment" in render(row(action_parameters=broken, decision=broken))


def change(before: object, after: object, **names: object) -> dict[str, object]:
    return {"changes": [{"field": "f", "before": before, "after": after} | names]}


def test_changes_tell_container_field_and_values() -> None:
    memory = change("256Mi", "512Mi", container="web", field="limits.memory")

    assert describe_changes(change(None, 3, field="replicas")) == ["replicas none → 3"]
    assert describe_changes(memory) == ["web limits.memory 256Mi → 512Mi"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (["c", None], '["c", null]'),
        ({"a": {"b": 1.5}}, '{"a": {"b": 1.5}}'),
        ("true", "true"),
        (["é\x1b"], '["é\\u001b"]'),
        (["\u202e"], '["\\u202e"]'),
    ],
)
def test_values_that_are_no_text_are_shown_as_json(value: object, shown: str) -> None:
    assert describe_changes(change(value, 0)) == [f"f {shown} → 0"]


def test_long_images_stand_in_lines_of_their_own() -> None:
    image = "registry.example.com/shop/web"

    assert describe_changes(
        change(f"{image}:1.2.3", f"{image}:1.2.4", container="web", field="image")
    ) == ["web image", f"{image}:1.2.3 →", f"{image}:1.2.4"]


def test_long_values_are_told_apart_by_their_ends() -> None:
    image = "registry.example.com/shop/web@sha256:"

    _, before, after = describe_changes(change(image + "a" * 64, image + "b" * 64))

    assert before == f"registry.example.…{'a' * 17} →"
    assert after == f"registry.example.…{'b' * 17}"


def test_values_of_nothing_but_control_characters_are_bounded_as_well() -> None:
    lines = describe_changes(change("\x1b" * 999, {"\u202e": ["\U000e0001"] * 99}))

    assert max(map(len, lines)) <= 38


def test_only_the_first_of_many_changes_are_shown_and_the_others_counted() -> None:
    changes = [{"field": f"f{number}", "before": 1, "after": 2} for number in range(5)]

    assert describe_changes({"changes": changes}) == [
        "f0 1 → 2",
        "f1 1 → 2",
        "f2 1 → 2",
        "and 2 more",
    ]


def test_long_names_break_after_their_separators() -> None:
    assert break_after(":", "a:bb:ccc", width=5) == "a:bb:\nccc"
    assert break_after(":-", "a-b:ccc", width=4) == "a-b:\nccc"
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
