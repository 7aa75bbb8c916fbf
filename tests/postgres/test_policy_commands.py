"""`gate patterns`, `gate detections` and `gate cooldowns`, for people and for programs."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from gate.cli import detections, patterns
from gate.cli.arguments import BadArgumentError, Output
from gate.policy.file import load_policy_file, parse_policy
from gate.postgres.policy import PostgresPolicy
from gate.postgres.pool import Pool
from gate.services.clock import utc_now

POLICY = b"""
mode: audit
namespaces:
  - {match: "shop*", mode: enforce, failure_mode: closed}
patterns:
  scale-oscillation:
    type: scale-oscillation
    min_occurrences: 4
    scope: {namespaces: [shop], labels: {tier: web}}
    strategy: {name: cooling-period, cooling_period_minutes: 7.5}
  resource-thrashing: {type: resource-thrashing, mode: audit}
  ineffective-loop: {type: ineffective-loop, thresholds: {churn_mode: null}}
"""
PLANTED = "\x1b[31mplanted[bold]"


@pytest.fixture(autouse=True)
def database(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands find the test's database."""
    monkeypatch.setenv("GATE_DSN", dsn)
    for name in ("GATE_CLUSTER", "GATE_POLICY_FILE", "GATE_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_bytes(POLICY)
    return path


async def apply(pool: Pool) -> None:
    await PostgresPolicy(pool).apply(parse_policy(POLICY, source="test").declare())


async def detect(
    pool: Pool,
    *,
    name: str = "web",
    namespace: str = "shop",
    pattern: str = "scale-oscillation",
    minutes: int = 30,
    mode: str = "enforce",
    applied: bool = True,
    resolved: bool = False,
    actor: str | None = None,
) -> int:
    """Store a detection that ends in so many minutes; return its id."""
    await pool.execute(
        "INSERT INTO resource_references (cluster, namespace, kind, name)"
        " VALUES ('prod', $1, 'Deployment', $2) ON CONFLICT DO NOTHING",
        namespace,
        name,
    )
    evidence = {
        "kind": "reversal",
        "fields": ["replicas"],
        "summary": f"replicas went 5 → 3 → 5 {PLANTED}",
        "threshold": 1.5,
        "series": [{"version": 1, "before": 5, "after": 3, "actor": PLANTED}],
    }
    found: int = await pool.fetchval(
        "INSERT INTO oscillation_detections (pattern_id, resource_id, detected_at, until, mode,"
        " severity, confidence, action_count, time_span_minutes, matching_actions,"
        " pattern_evidence, prevention_applied, prevention_action, prevention_details, resolved,"
        " bound_actor)"
        " SELECT p.id, r.id, $1, $2, $3, 'warning', 0.5, 3, 20,"
        " '{019ab4d8-0000-7000-8000-000000000001}', $4, $5,"
        " CASE WHEN $5 THEN 'blocked' END, '{\"strategy\": \"cooling-period\"}', $6, $7"
        " FROM oscillation_patterns p, resource_references r"
        " WHERE p.pattern_name = $8 AND r.namespace = $9 AND r.name = $10 RETURNING id",
        utc_now() - timedelta(hours=1),
        utc_now() + timedelta(minutes=minutes),
        mode,
        evidence,
        applied,
        resolved,
        actor,
        pattern,
        namespace,
        name,
    )
    return found


async def list_ids(capsys: pytest.CaptureFixture[str], **options: object) -> list[int]:
    arguments = {"namespace": "", "since": "7d", "only_open": False} | options
    await detections.run_list(**arguments, output=Output.JSON)  # type: ignore[arg-type]  # of this file
    return [row["id"] for row in json.loads(capsys.readouterr().out)]


async def list_cooldown_ids(
    capsys: pytest.CaptureFixture[str], *, namespace: str = ""
) -> list[int]:
    await detections.run_cooldowns(namespace=namespace, output=Output.JSON)
    return [row["id"] for row in json.loads(capsys.readouterr().out)]


async def test_patterns_are_listed_with_the_modes_that_hold(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await apply(pool)

    await patterns.run_list(output=Output.TABLE)

    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if " in " in line] == [
        "scale-oscillation",
        "resource-thrashing",
        "ineffective-loop",
        "cascading-failure",
    ]
    assert "4 in 120 min" in printed
    assert "retired" in printed
    assert printed.splitlines()[-1] == "Modes: audit; shop* enforce, failure mode closed."


async def test_patterns_are_listed_by_column_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await patterns.run_list(output=Output.JSON)

    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["pattern_name"] == "scale-oscillation"
    assert rows[0]["prevention_parameters"] == {"cooling_period_minutes": 30, "escalate_after": 3}


async def test_one_pattern_is_shown_and_an_unknown_one_names_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    await patterns.run_show("cascading-failure", output=Output.TABLE)

    assert '{"unhealthy_workloads": 2}' in capsys.readouterr().out
    with pytest.raises(BadArgumentError, match="there is no pattern 'x'; there are scale-osc"):
        await patterns.run_show("x", output=Output.TABLE)


async def test_difference_is_named_by_column_until_the_file_is_applied(
    pool: Pool, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await patterns.run_diff(file, output=Output.JSON)
    found = json.loads(capsys.readouterr().out)
    await apply(pool)

    after = await patterns.run_diff(file, output=Output.TABLE)

    assert before
    assert {(d["name"], d["column"]) for d in found} == {
        ("policy_settings", "mode"),
        ("policy_settings", "namespaces"),
        ("scale-oscillation", "min_occurrences"),
        ("scale-oscillation", "namespaces"),
        ("scale-oscillation", "label_selectors"),
        ("scale-oscillation", "prevention_parameters"),
        ("resource-thrashing", "mode"),
        ("ineffective-loop", "threshold_config"),
        ("cascading-failure", "active"),
    }
    assert {"name": "scale-oscillation", "column": "min_occurrences"}.items() <= next(
        d for d in found if d["column"] == "min_occurrences"
    ).items()
    assert not after
    assert capsys.readouterr().out == f"The rows are as {file} declares them.\n"


async def test_difference_to_the_configured_file_is_shown_as_a_table(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATE_POLICY_FILE", str(file))

    await patterns.run_diff(None, output=Output.TABLE)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pattern", "column", "in", "the", "database", "in", "the", "file"]
    assert any(line.split() == ["scale-oscillation", "min_occurrences", "3", "4"] for line in lines)
    assert max(map(len, lines)) <= 100


async def test_difference_without_any_file_says_how_to_name_one() -> None:
    with pytest.raises(BadArgumentError, match="no policy file is set: name one, or set"):
        await patterns.run_diff(None, output=Output.TABLE)


async def test_invalid_pattern_makes_a_difference_and_is_named(
    pool: Pool, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await apply(pool)
    file.write_bytes(POLICY.replace(b"min_occurrences: 4", b"min_occurrences: 1"))

    differs = await patterns.run_diff(file, output=Output.JSON)

    printed = capsys.readouterr()
    assert differs
    assert json.loads(printed.out) == []
    assert "patterns.scale-oscillation.min_occurrences" in printed.err


async def test_what_is_exported_is_a_file_that_changes_nothing(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await apply(pool)

    is_complete = await patterns.run_export()

    exported = tmp_path / "exported.yaml"
    exported.write_text(capsys.readouterr().out)
    assert is_complete
    assert load_policy_file(exported).problems == {}
    assert not await patterns.run_diff(exported, output=Output.TABLE)


async def test_seeded_rows_are_exported_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await patterns.run_export()

    exported = tmp_path / "exported.yaml"
    exported.write_text(capsys.readouterr().out)
    assert not await patterns.run_diff(exported, output=Output.TABLE)


async def test_row_that_cannot_be_used_is_left_out_of_an_export_and_named(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await pool.execute("UPDATE oscillation_patterns SET min_occurrences = 1000 WHERE id = 1")

    is_complete = await patterns.run_export()

    printed = capsys.readouterr()
    assert not is_complete
    assert "scale-oscillation: min_occurrences: should be less" in printed.err
    assert "type: scale-oscillation" not in printed.out


async def test_rows_beyond_those_that_are_looked_for_are_left_out_of_an_export(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await pool.execute(
        "INSERT INTO oscillation_patterns (pattern_type, pattern_name, min_occurrences,"
        " time_window_minutes, threshold_config, prevention_strategy)"
        " SELECT 'scale-oscillation', 'more-' || n, 3, 60, '{}', 'block-action'"
        " FROM generate_series(1, 61) AS n"
    )

    is_complete = await patterns.run_export()

    printed = capsys.readouterr()
    exported = tmp_path / "exported.yaml"
    exported.write_text(printed.out)
    assert not is_complete
    assert "more-61: it is beyond the 64 oldest patterns" in printed.err
    assert len(load_policy_file(exported).patterns) == 64


async def test_detections_are_listed_by_namespace_time_and_whether_they_bind(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    binding = await detect(pool)
    over = await detect(pool, name="old", minutes=-10)
    resolved = await detect(pool, name="done", resolved=True)
    other = await detect(pool, namespace="other")

    assert await list_ids(capsys) == [other, resolved, over, binding]
    assert await list_ids(capsys, only_open=True) == [other, binding]
    assert await list_ids(capsys, namespace="shop", only_open=True) == [binding]
    assert await list_ids(capsys, since="30m") == []


async def test_detections_are_shown_with_their_evidence_and_nothing_of_it_acts(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    number = await detect(pool)

    await detections.run_list(namespace="", since="7d", only_open=False, output=Output.TABLE)
    await detections.run_show(number, output=Output.TABLE)

    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())
    assert "\\x1b[31mplanted[bold]" in printed.replace("\n", "").replace(" ", "")
    assert "threshold" in printed
    assert max(map(len, printed.splitlines())) <= 100


async def test_one_detection_has_its_columns_for_programs(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    number = await detect(pool)

    await detections.run_show(number, output=Output.JSON)

    row = json.loads(capsys.readouterr().out)
    assert (row["id"], row["namespace"], row["confidence"]) == (number, "shop", 0.5)
    assert row["matching_actions"] == ["019ab4d8-0000-7000-8000-000000000001"]
    with pytest.raises(BadArgumentError, match="there is no detection 99"):
        await detections.run_show(99, output=Output.TABLE)


async def test_cooldowns_are_what_is_refused_now(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    later = await detect(pool, minutes=30)
    sooner = await detect(pool, name="api", minutes=5, applied=False)
    await detect(pool, name="over", minutes=-1)
    await detect(pool, name="done", resolved=True)
    await detect(pool, name="audited", mode="audit")

    assert await list_cooldown_ids(capsys) == [sooner, later]
    assert await list_cooldown_ids(capsys, namespace="other") == []


async def test_cooldowns_leave_out_what_the_policy_only_audits_by_now(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await apply(pool)
    enforced = await detect(pool)
    await detect(pool, namespace="other")
    await detect(pool, pattern="resource-thrashing")
    await detect(pool, pattern="cascading-failure")

    assert await list_cooldown_ids(capsys) == [enforced]


async def test_cooldowns_say_of_which_workload_and_whom_until_when(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    await detect(pool, applied=False, minutes=61)
    await detect(pool, pattern="cascading-failure", actor="system:serviceaccount:bots:fixer")

    await detections.run_cooldowns(namespace="", output=Output.TABLE)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["until", "left", "workload", "refused", "of", "id"]
    words = " ".join(" ".join(lines).split())
    for expected in ("namespace shop", "other workloads", "replicas, less of it", "every agent"):
        assert expected in words, words
    assert "29 min" in words or "30 min" in words


async def test_nothing_refused_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    await detections.run_cooldowns(namespace="shop", output=Output.TABLE)
    await detections.run_list(namespace="", since="1d", only_open=True, output=Output.TABLE)

    assert capsys.readouterr().out.splitlines() == [
        "Nothing is refused in namespace shop now.",
        "No open detection within the last day.",
    ]
