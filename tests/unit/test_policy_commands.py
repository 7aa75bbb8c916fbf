"""Checking a policy file needs no database; tables are narrow and nothing in them acts."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from gate.cli.console import NothingReadError
from gate.cli.detections_table import build_cooldowns, build_detections, build_evidence
from gate.cli.patterns import run_check, run_schema
from gate.cli.patterns_table import build_differences, build_patterns, describe_modes
from gate.policy.comparison import Difference
from gate.policy.file import parse_policy
from gate.policy.schema import make_json_schema

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LONG = "x" * 300
PATTERNS = """\
pattern              trips at      strategy            mode     where            found
──────────────────────────────────────────────────────────────────────────────────────
scale-oscillation    3 in 120 min  cooling-period      -        shop, team-*     7
                                                                {"tier": "web"}
resource-thrashing   3 in 90 min   alternative-action  audit    everywhere       0
another              3 in 60 min   block-action        retired  everywhere       0
(cascading-failure)"""
COOLDOWNS = """\
until       left    workload             refused            of                  id
──────────────────────────────────────────────────────────────────────────────────
2026-11-24  31 min  shop/Deployment/web  replicas           every agent         12
08:31:00                                 scale-oscillation
                                         cooling-period
2026-11-24  31 min  namespace shop       other workloads    system:             12
08:31:00                                 scale-oscillation  serviceaccount:ai-
                                         cooling-period     agents:scaler
2026-11-24  31 min  shop/Deployment/web  update_image       every agent         12
08:31:00                                 scale-oscillation
                                         cooling-period"""
DETECTIONS = """\
id  detected    workload             pattern            done     seen
────────────────────────────────────────────────────────────────────────────────────────
12  2026-11-24  shop/Deployment/web  scale-oscillation  blocked  replicas went 5 → 3 → 5
    08:00:00                         reversal           open
12  2026-11-24  shop/Deployment/web  scale-oscillation  audited  replicas went 5 → 3 → 5
    08:00:00                         reversal           over"""


def render(*tables: Table) -> str:
    console = Console(width=100, color_system=None, force_terminal=False)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def pattern_rows() -> list[dict[str, object]]:
    declared = parse_policy(b"{}", source="test").declare().patterns
    return [
        {**row, "id": number, "active": True, "total_detections": 0}
        for number, row in enumerate(declared)
    ]


def detection(**columns: object) -> Mapping[str, object]:
    return {
        "id": 12,
        "detected_at": NOW,
        "until": NOW + timedelta(minutes=31),
        "namespace": "shop",
        "kind": "Deployment",
        "name": "web",
        "pattern_name": "scale-oscillation",
        "evidence_kind": "reversal",
        "bound_actor": None,
        "mode": "enforce",
        "prevention_applied": True,
        "prevention_action": "blocked",
        "resolved": False,
        "fields": ["replicas"],
        "action_type": None,
        "strategy": "cooling-period",
        "pattern_evidence": {"summary": "replicas went 5 → 3 → 5", "series": [{"before": 5}]},
        **columns,
    }


def test_valid_file_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("mode: audit")

    assert run_check(path)
    assert capsys.readouterr().out == (
        f"{path} is valid.\n"
        "It names no patterns, so the defaults hold: scale-oscillation, resource-thrashing,"
        " ineffective-loop, cascading-failure.\n"
    )


def test_valid_file_with_patterns_is_not_said_to_have_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("patterns: {a: {type: cascading-failure}}")

    assert run_check(path)
    assert capsys.readouterr().out == f"{path} is valid.\n"


def test_every_problem_of_a_file_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, one = tmp_path / "whole.yaml", tmp_path / "one.yaml"
    whole.write_text("mode: audti\nfailure_mode: ajar")
    one.write_text("patterns:\n  a: {type: x}\n  b: {type: y}\n  c: {type: cascading-failure}")

    assert not run_check(whole)
    assert not run_check(one)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split(": ")[:2] for line in told.err.splitlines()] == [
        ["line 1", "mode"],
        ["line 2", "failure_mode"],
        ["line 2", "patterns.a.type"],
        ["line 3", "patterns.b.type"],
    ]


def test_file_that_cannot_be_read_is_no_invalid_file(tmp_path: Path) -> None:
    with pytest.raises(NothingReadError, match="cannot be read: No such file"):
        run_check(tmp_path / "none")


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run_schema()

    assert json.loads(capsys.readouterr().out) == make_json_schema()


def test_patterns_read_as_one_row_each() -> None:
    scale, resources, _, cascade = pattern_rows()
    scale |= {
        "namespaces": ["shop", "team-*"],
        "label_selectors": {"tier": "web"},
        "total_detections": 7,
    }
    resources |= {"mode": "audit"}
    cascade |= {"pattern_name": "another", "active": False}

    assert render(build_patterns([scale, resources, cascade])) == PATTERNS


def test_cooldowns_say_what_is_refused_of_whom() -> None:
    rows = [
        detection(),
        detection(bound_actor="system:serviceaccount:ai-agents:scaler"),
        detection(action_type="update_image"),
    ]

    assert render(build_cooldowns(rows, now=NOW)) == COOLDOWNS


def test_detections_say_what_was_done_and_whether_they_bind() -> None:
    rows = [detection(), detection(mode="audit", resolved=True)]

    assert render(build_detections(rows, now=NOW)) == DETECTIONS


def test_increase_that_was_admitted_is_said_to_bind_reductions() -> None:
    table = render(build_cooldowns([detection(prevention_applied=False)], now=NOW))

    assert "replicas, less of it" in table


def test_modes_are_told_with_their_namespaces() -> None:
    entries = [{"match": "a*", "mode": "audit"}, {"match": "b", "failure_mode": "closed"}]

    assert describe_modes({"mode": "enforce", "failure_mode": "open", "namespaces": entries}) == (
        "Modes: enforce, failure mode open; a* audit; b failure mode closed."
    )
    assert describe_modes({"mode": None, "failure_mode": None, "namespaces": []}) == (
        "Modes: those of each replica's settings."
    )


@pytest.mark.parametrize(
    "planted", ["\x1b[31mred", "[bold]x[/bold][/]", "a\nb", "\r\x00\u202e", LONG]
)
def test_what_agents_wrote_is_shown_and_not_interpreted(planted: str) -> None:
    row = detection(
        namespace=planted,
        name=planted,
        pattern_name=planted,
        evidence_kind=planted,
        bound_actor=planted,
        strategy=planted,
        fields=[planted] * 9,
        pattern_evidence={
            "summary": planted,
            planted: planted,
            "series": [{planted: planted, "actor": planted}, planted],
        },
    )
    pattern = {**pattern_rows()[0], "pattern_name": planted, "namespaces": [planted]}

    lines = render(
        build_detections([row], now=NOW),
        build_cooldowns([row, {**row, "bound_actor": None}], now=NOW),
        *build_evidence(row["pattern_evidence"]),
        build_patterns([pattern]),
        build_differences([Difference(planted, planted, planted, [planted])]),
    ).splitlines()

    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("broken", [None, [], {}, "x", {"series": 3}, {"series": [3]}])
def test_evidence_of_an_unknown_form_breaks_no_table(broken: object) -> None:
    row = detection(pattern_evidence=broken)

    assert "web" in render(build_detections([row], now=NOW), *build_evidence(broken))
