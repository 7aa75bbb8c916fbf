"""`gate replay` as people and pipelines run it."""

import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from gate.__main__ import main
from testbed.auditlog import make_sample
from tests.replay.logs import CAPTURED, HUMAN, make_event, swing

LAX = "patterns: {scale-oscillation: {type: scale-oscillation, min_occurrences: 8}}\n"
SAMPLE = Path("gate/replay/sample/audit.jsonl")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["gate", "replay", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(str(end.value.code or 0))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of an agent that swings."""
    path = tmp_path / "audit.log"
    path.write_bytes(b"\n".join(orjson.dumps(entry) for entry in swing(3, 5, 3, 5, 3)))
    return path


@pytest.fixture
def lax(tmp_path: Path) -> Path:
    """Return a policy that admits more than the default."""
    path = tmp_path / "lax.yaml"
    path.write_text(LAX)
    return path


def test_the_sample_shows_a_refusal_of_every_kind_in_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--sample") == 0

    printed = capsys.readouterr()
    assert printed.err == ""
    assert "gate would have refused 11 in 5 episodes" in printed.out
    for pattern in ("scale-oscillation", "resource-thrashing", "ineffective-loop"):
        assert pattern in printed.out
    assert max(map(len, printed.out.splitlines())) <= 130


def test_the_sample_is_what_its_generator_makes() -> None:
    shipped = Path(__file__).parents[2] / SAMPLE

    lines = shipped.read_text(encoding="utf-8").splitlines()

    assert [json.loads(line) for line in lines] == make_sample()


def test_json_is_one_object_a_line_and_the_rest_goes_to_standard_error(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], log: Path
) -> None:
    assert run(monkeypatch, log, "--output", "json") == 0

    printed = capfdbinary.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [row["verdict"] for row in rows] == ["allow", "allow", "deny", "allow", "deny"]
    assert b"gate would have refused 2 in 1 episode" in printed.err


def test_html_is_a_page(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], log: Path
) -> None:
    assert run(monkeypatch, log, "--output", "html") == 0

    printed = capfdbinary.readouterr()
    assert printed.out.startswith(b"<!doctype html>")
    assert printed.out.endswith(b"</html>\n")


def test_a_log_comes_from_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gate", "replay", "-", "--output", "json"],
        input=CAPTURED.read_bytes(),
        capture_output=True,
        check=True,
    )

    assert len(done.stdout.splitlines()) == 11


def test_two_policies_that_differ_end_with_3(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log: Path,
    lax: Path,
) -> None:
    assert run(monkeypatch, log, "--against", lax) == 3

    assert "0 newly refused, 2 newly admitted" in capsys.readouterr().out


def test_two_policies_that_agree_end_with_0(
    monkeypatch: pytest.MonkeyPatch, log: Path, lax: Path
) -> None:
    assert run(monkeypatch, log, "--policy", lax, "--against", lax) == 0


def test_json_of_two_policies_is_what_differs_by_the_second(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    log: Path,
    lax: Path,
) -> None:
    assert run(monkeypatch, log, "--policy", lax, "--against", log.with_name("d.yaml")) == 1
    log.with_name("d.yaml").write_text("{}\n")
    capfdbinary.readouterr()
    assert run(monkeypatch, log, "--policy", lax, "--against", log.with_name("d.yaml")) == 3
    capfdbinary.readouterr()
    assert (
        run(
            monkeypatch,
            log,
            "--policy",
            lax,
            "--against",
            log.with_name("d.yaml"),
            "--output",
            "json",
        )
        == 3
    )

    printed = capfdbinary.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [row["verdict"] for row in rows] == ["deny", "deny"]
    files = f"{log.with_name('d.yaml')} compared with {lax}"
    told = f"Against the other policy: 2 newly refused, 0 newly admitted ({files})."
    assert f"gate replay: {told}" in printed.err.decode().splitlines()


def test_agents_come_from_the_command_line_before_the_policy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log, policy = tmp_path / "audit.log", tmp_path / "policy.yaml"
    log.write_bytes(b"\n".join(map(orjson.dumps, swing(3, 5, 3, user=HUMAN))))
    policy.write_text(f"agents: {{users: ['{HUMAN}']}}\n")

    run(monkeypatch, log, "--policy", policy)
    by_policy = capsys.readouterr().out
    run(monkeypatch, log, "--policy", policy, "--agent", "nobody")
    by_command = capsys.readouterr().out

    assert "gate would have refused 1 in 1 episode" in by_policy
    assert "No change by an agent was decided." in by_command
    assert HUMAN in by_command


def test_broken_lines_are_reported_and_never_fatal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(b"{\n" + orjson.dumps(make_event(request={"spec": {"replicas": 3}})) + b"\n3")

    assert run(monkeypatch, log) == 0

    assert "2 entries could not be read and left out" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["table", "json", "html"])
@pytest.mark.parametrize("compares", [True, False])
def test_logs_of_which_nothing_can_be_read_end_with_1(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log: Path,
    lax: Path,
    output: str,
    *,
    compares: bool,
) -> None:
    log.write_bytes(b"{\n[]\n")
    against = ("--against", lax) if compares else ()

    assert run(monkeypatch, log, *against, "--output", output) == 1

    assert "gate: nothing could be read: " in capsys.readouterr().err.splitlines()[-1]


def test_a_damaged_archive_of_which_nothing_can_be_read_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_bytes(b"\x1f\x8bdamaged")

    assert run(monkeypatch, log) == 1

    assert "gate: nothing could be read: " in capsys.readouterr().err


def test_an_empty_log_is_a_result_but_for_a_comparison(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log: Path, lax: Path
) -> None:
    log.write_bytes(b"")

    assert run(monkeypatch, log) == 0
    assert run(monkeypatch, log, "--against", lax) == 1

    assert (
        "gate: nothing was compared: no change by an agent was decided" in capsys.readouterr().err
    )


def test_a_comparison_without_any_change_by_agents_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log: Path, lax: Path
) -> None:
    assert run(monkeypatch, log, "--against", lax, "--agent", "nobody") == 1

    assert "gate: nothing was compared: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "gate: no log is named: write FILE, - for standard input, or --sample"),
        (("--sample", "x.log"), 2, "gate: --sample replays the log that comes with gate"),
        (("-", "-"), 2, "gate: - is named twice"),
        (("missing.log",), 1, "gate: missing.log cannot be read: No such file or directory"),
        (("--sample", "--agent", " "), 2, "gate: --agent is empty"),
        (("--sample", "--policy", "missing.yaml"), 1, "gate: policy file missing.yaml cannot"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    assert run(monkeypatch, *arguments) == code

    printed = capsys.readouterr()
    assert printed.err.startswith(words)
    assert printed.err.count("\n") == 1


def test_a_replay_imports_no_server_and_no_database() -> None:
    heavy = ("aiohttp", "asyncpg", "kubernetes_asyncio", "alembic", "cryptography")
    program = f"import sys, gate.cli.replay; print(*sorted(set({heavy!r}) & set(sys.modules)))"

    done = subprocess.run(  # noqa: S603 - this interpreter, and a program written above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == ""
