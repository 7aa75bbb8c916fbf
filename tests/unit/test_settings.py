"""Settings: where they come from, and that what cannot be stops the start by name."""

import json
import os
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from gate.domain.actor import AgentRules
from gate.domain.pattern import Mode
from gate.errors import SettingsError
from gate.policy.meanings import read_meanings
from gate.settings.knobs import AdmissionSettings, Agents, ServeSettings, Settings
from gate.settings.loading import find_dsn_source, load_settings

SECRET = "hunter2-is-the-password"  # noqa: S105 - planted, to be looked for in messages
DSN = f"postgresql://gate:{SECRET}@db.example:5432/gate"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start every test without any setting."""
    for name in list(os.environ):
        if name.upper().startswith("GATE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set what a replica cannot serve without; return the folder of its files."""
    for name, content in (("cert", b"x"), ("key", b"x"), ("token", b"x"), ("seal", bytes(32))):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("GATE_TLS_CERT_FILE", str(tmp_path / "cert"))
    monkeypatch.setenv("GATE_TLS_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("GATE_TOKEN_FILES", str(tmp_path / "token"))
    monkeypatch.setenv("GATE_SEAL_KEY_FILE", str(tmp_path / "seal"))
    return tmp_path


def write_file(directory: Path, monkeypatch: pytest.MonkeyPatch, content: object) -> Path:
    path = directory / "gate.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    monkeypatch.setenv("GATE_CONFIG_FILE", str(path))
    return path


def refusal_of(kind: type[Settings] = AdmissionSettings, **given: object) -> str:
    with pytest.raises(SettingsError) as refusal:
        load_settings(kind, given)
    return str(refusal.value)


def test_defaults_need_nothing_but_the_database() -> None:
    settings = load_settings(AdmissionSettings)

    assert settings.mode is Mode.ENFORCE
    assert settings.failure_mode == "open"
    assert settings.agents.as_rules() == AgentRules(users=("system:serviceaccount:ai-agents:*",))
    assert settings.patterns_refresh.total_seconds() == 15
    assert settings.partitions_months_ahead == 3
    with pytest.raises(SettingsError, match="GATE_DSN is not set: set it to the PostgreSQL URL"):
        settings.require_dsn()


def test_command_line_wins_over_environment_and_environment_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, monkeypatch, {"mode": "audit", "cluster": "file", "log_level": "debug"})
    monkeypatch.setenv("GATE_CLUSTER", "environment")
    monkeypatch.setenv("GATE_LOG_LEVEL", "error")

    settings = load_settings(AdmissionSettings, {"log_level": "warning"})

    assert (settings.mode, settings.cluster, settings.log_level) == (
        Mode.AUDIT,
        "environment",
        "warning",
    )


def test_agents_come_from_the_environment_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_AGENTS__USERS", '["robot-*", "cn=bot, ou=ops"]')
    monkeypatch.setenv("GATE_AGENTS__GROUPS", "robots")
    monkeypatch.setenv("GATE_AGENTS__EXTRA", json.dumps({"agent.example.com/name": ["*"]}))

    assert load_settings(AdmissionSettings).agents.as_rules() == AgentRules(
        users=("robot-*", "cn=bot, ou=ops"),
        groups=("robots",),
        extra=(("agent.example.com/name", "*"),),
    )


def test_agents_come_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agents = {"users": [], "extra": {"a": "x*", "b": ["y", "z"]}}
    write_file(tmp_path, monkeypatch, {"agents": agents})

    assert load_settings(AdmissionSettings).agents.as_rules() == AgentRules(
        extra=(("a", "x*"), ("b", "y"), ("b", "z"))
    )


def test_agents_of_the_command_line_replace_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, monkeypatch, {"agents": {"groups": ["robots"]}})

    settings = load_settings(AdmissionSettings, {"agents": Agents(users=("me",))})

    assert settings.agents.as_rules() == AgentRules(users=("me",))


def test_replica_reads_its_files(required: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (required / "old").write_text("x")
    files = [str(required / "token"), str(required / "old")]
    monkeypatch.setenv("GATE_TOKEN_FILES", json.dumps(files))
    monkeypatch.setenv("GATE_DSN", DSN)

    settings = load_settings(ServeSettings)

    assert settings.token_files == (required / "token", required / "old")
    assert settings.read_seal_key() == bytes(32)
    assert settings.require_dsn() == DSN
    assert (settings.listen_port, settings.drain.total_seconds()) == (10250, 10)


def test_missing_files_are_named_with_how_to_set_them() -> None:
    assert refusal_of(ServeSettings).split("; ") == [
        f"{name} is not set: set GATE_{name.upper()}, or {name} in GATE_CONFIG_FILE"
        for name in ("tls_cert_file", "tls_key_file", "token_files", "seal_key_file")
    ]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GATE_MODE", "foo", "mode ({}): should be 'enforce' or 'audit', not 'foo'"),
        (
            "GATE_FAILURE_MODE",
            "ajar",
            "failure_mode ({}): should be 'open' or 'closed', not 'ajar'",
        ),
        (
            "GATE_LISTEN_PORT",
            "70000",
            "listen_port ({}): should be less than or equal to 65535, not '70000'",
        ),
        (
            "GATE_ADMISSION_POOL_SIZE",
            "0",
            "admission_pool_size ({}): should be greater than or equal to 1, not '0'",
        ),
        ("GATE_CLUSTER", "", "cluster ({}): should have at least 1 character, not ''"),
        (
            "GATE_TLS_KEY_FILE",
            "/nowhere/tls.key",
            "tls_key_file ({}): Path does not point to a file, not '/nowhere/tls.key'",
        ),
        (
            "GATE_AGENTS__USERS",
            "[]",
            "agents ({}): should name at least one user, group or extra glob",
        ),
        (
            "GATE_AGENTS__USERS",
            '["a"',
            "agents.users ({}): should be one value or a JSON list, not '[\"a\"'",
        ),
        (
            "GATE_TOKEN_FILES",
            "[]",
            "token_files ({}): should have at least 1 item after validation, not 0",
        ),
        (
            "GATE_AGENTS",
            "robots",
            "agents ({}): should be a JSON object with users, groups and extra; or set"
            " GATE_AGENTS__USERS",
        ),
        (
            "GATE_DSN",
            f"mysql://gate:{SECRET}@db/gate",
            "dsn ({}): should be a URL such as postgresql://user@host:5432/database",
        ),
        (
            "GATE_DSN",
            f"postgresql://gate:{SECRET}@db:port/gate",
            "dsn ({}): should be a URL such as postgresql://user@host:5432/database",
        ),
    ],
)
@pytest.mark.usefixtures("required")
def test_impossible_value_is_named_with_its_source_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)

    assert refusal_of(ServeSettings) == message.format(f"{variable} in the environment")


def test_key_that_is_too_short_stops_the_start(required: Path) -> None:
    (required / "seal").write_bytes(bytes(31))

    assert "should hold a key of at least 32 bytes" in refusal_of(ServeSettings)


def test_value_of_the_file_is_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path, monkeypatch, {"mode": "foo", "agents": {"groups": ["", "x"]}})

    assert refusal_of().split("; ") == [
        f"mode (from {path}): should be 'enforce' or 'audit', not 'foo'",
        f"agents.groups.0 (from {path}): should have at least 1 character, not ''",
    ]


def test_value_of_the_command_line_is_blamed_on_it() -> None:
    assert refusal_of(dsn="nonsense") == (
        "dsn (from the command line): should be a URL such as postgresql://user@host:5432/database"
    )


@pytest.mark.parametrize(
    "dsn", [f"mysql://u:{SECRET}@h", f"postgresql://u:{SECRET}@h:{SECRET}/d", {"url": SECRET}]
)
def test_secret_is_in_no_message_and_no_representation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: object
) -> None:
    write_file(tmp_path, monkeypatch, {"dsn": dsn})
    assert SECRET not in refusal_of()

    write_file(tmp_path, monkeypatch, {"dsn": DSN})
    assert SECRET not in repr(load_settings(AdmissionSettings))


@pytest.mark.parametrize("dsn", [DSN, "nonsense"])
def test_no_database_of_the_command_line_wins_over_one_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    write_file(tmp_path, monkeypatch, {"dsn": dsn})
    monkeypatch.setenv("GATE_DSN", dsn)

    assert load_settings(AdmissionSettings, {"dsn": None}).dsn is None


def test_database_that_is_set_is_found_where_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_dsn_source() is None

    path = write_file(tmp_path, monkeypatch, {"mode": "audit"})
    assert find_dsn_source() is None

    write_file(tmp_path, monkeypatch, {"dsn": DSN})
    assert find_dsn_source() == f"dsn in {path}"

    monkeypatch.setenv("GATE_DSN", DSN)
    assert find_dsn_source() == "GATE_DSN"


def test_unknown_variable_is_named_with_what_was_probably_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATE_MDOE", SECRET)

    assert refusal_of() == (
        "GATE_MDOE in the environment is not a setting; did you mean GATE_MODE?"
    )


def test_unknown_keys_of_the_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path, monkeypatch, {"listen_prt": 1, "agents": {"usrs": ["x"]}})

    assert refusal_of().split("; ") == [
        f"listen_prt in {path} is not a setting",
        "did you mean listen_port?",
        f"agents.usrs in {path} is not a setting",
        "did you mean users?",
    ]


def test_settings_of_other_commands_are_known_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path, monkeypatch, {"probe_port": 1, "tls_cert_file": "/in/another/pod"})
    monkeypatch.setenv("GATE_MODE", "audit")

    assert load_settings(Settings).statement_cache_size == 100


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mode: [audit\n", "is not YAML, line 2"),
        ("- mode\n", "should hold settings as `name: value`"),
    ],
)
def test_file_of_another_form_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
) -> None:
    path = write_file(tmp_path, monkeypatch, content)

    assert refusal_of() == f"GATE_CONFIG_FILE: {path} {message}"


def test_empty_file_sets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path, monkeypatch, "# nothing yet\n")

    assert load_settings(AdmissionSettings).mode is Mode.ENFORCE


def test_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_CONFIG_FILE", "/nowhere/gate.yaml")

    assert refusal_of() == (
        "GATE_CONFIG_FILE: /nowhere/gate.yaml cannot be read: No such file or directory"
    )


def test_variables_that_kubernetes_makes_for_a_service_named_gate_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "GATE_SERVICE_HOST": "10.0.0.1",
        "GATE_SERVICE_PORT": "443",
        "GATE_SERVICE_PORT_HTTPS": "443",
        "GATE_PORT": "tcp://10.0.0.1:443",
        "GATE_PORT_443_TCP": "tcp://10.0.0.1:443",
        "GATE_PORT_443_TCP_ADDR": "10.0.0.1",
        "GATE_WEBHOOK_SERVICE_HOST": "10.0.0.1",
        "GATE_WEBHOOK_PORT": "tcp://10.0.0.1:443",
        "GATE_WEBHOOK_PORT_443_TCP_PROTO": "tcp",
    }.items():
        monkeypatch.setenv(name, value)

    assert load_settings(Settings).log_level == "info"


@pytest.mark.parametrize("kind", [ServeSettings, Agents])
def test_every_setting_is_documented_with_its_default(kind: type[BaseModel]) -> None:
    meanings = read_meanings(kind)

    for name, field in kind.model_fields.items():
        assert field.is_required() or "efault" in meanings[name] or name == "agents", name
