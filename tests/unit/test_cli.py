"""The command line: what goes wrong is one line and an exit code, and small commands stay small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.__main__ import main

HEAVY = ("aiohttp", "kubernetes_asyncio", "alembic", "cryptography")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start every test without any setting."""
    for name in list(os.environ):
        if name.upper().startswith("GATE_"):
            monkeypatch.delenv(name)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gate", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["history", "web"], 2, "gate: 'web' names no workload: write NAMESPACE/KIND/NAME"),
        (["history", "a/sts/b", "--since", "soon"], 2, "gate: --since 'soon' is no time: write"),
        (["history", "a/sts/b"], 1, "gate: GATE_DSN is not set: set it to the PostgreSQL URL"),
        (["migrate"], 1, "gate: GATE_DSN is not set: set it to the PostgreSQL URL"),
        (["migrate", "--check"], 1, "gate: GATE_DSN is not set: set it to the PostgreSQL URL"),
        (["serve"], 1, "gate: tls_cert_file is not set: set GATE_TLS_CERT_FILE"),
        (
            ["dev", "--kubeconfig=k", "--data-dir=d", "--host=0.0.0.0"],
            2,
            "gate: --host 0.0.0.0 listens everywhere: say with --advertise-host",
        ),
        (["dev", "--kubeconfig=k", "--data-dir=d", "--agent="], 2, "gate: --agent is empty: write"),
        (
            ["dev", "--kubeconfig=k", "--data-dir=d", "--dsn=x"],
            1,
            "gate: dsn (from the command line): should be a URL such as",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    assert run(monkeypatch, *arguments) == code

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(words)
    assert printed.err.count("\n") == 1


UNUSED = (
    "gate dev: {} is set and not used: gate dev brings its own database; give --dsn to use another"
)
PLANTED = "postgresql://gate:hunter2@db.example/gate"


def start_dev(directory: Path, *arguments: str, **environment: str) -> str:
    """Start gate dev without a kubeconfig, which ends it early; return what it says of errors."""
    places = (f"--kubeconfig={directory / 'missing'}", f"--data-dir={directory / 'data'}")
    done = subprocess.run(  # noqa: S603 - this interpreter, and arguments written here
        [sys.executable, "-m", "gate", "dev", *places, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1
    assert "missing" in done.stderr.splitlines()[-1]
    return done.stderr


def test_gate_dev_says_that_it_leaves_the_database_of_the_environment_alone(
    tmp_path: Path,
) -> None:
    first, *others = start_dev(tmp_path, GATE_DSN=PLANTED).splitlines()

    assert first == UNUSED.format("GATE_DSN")
    assert len(others) == 1
    assert "hunter2" not in others[0]


def test_gate_dev_says_that_it_leaves_the_database_of_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(f"dsn: {PLANTED}\n")

    said = start_dev(tmp_path, GATE_CONFIG_FILE=str(file))

    assert said.splitlines()[0] == UNUSED.format(f"dsn in {file}")


def test_gate_dev_that_is_given_a_database_says_nothing_of_another(tmp_path: Path) -> None:
    said = start_dev(tmp_path, "--dsn=postgresql://gate@db.example/gate", GATE_DSN=PLANTED)

    assert "not used" not in said


def test_version_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("gate 0.")


@pytest.mark.parametrize("module", ["gate.cli.main", "gate.cli.history"])
def test_small_commands_import_no_server_and_no_cluster_client(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"

    done = subprocess.run(  # noqa: S603 - this interpreter, and a program written above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == ""
