"""The documentation keeps up with the code."""

import re
from pathlib import Path

from gate.policy.file import parse_policy
from gate.policy.meanings import read_meanings
from gate.policy.schema import (
    AgentsSection,
    Alerting,
    NamespaceEntry,
    PolicyFile,
    ScopeSection,
    seeded_patterns,
)
from gate.policy.sections import STRATEGIES, Section
from gate.settings.knobs import Agents, ServeSettings
from gate.telemetry import Metrics

DOCS = Path(__file__).parents[2] / "docs"
SERVING = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_table_with_its_meaning() -> None:
    meanings = read_meanings(ServeSettings) | {
        f"agents.{name}": meaning for name, meaning in read_meanings(Agents).items()
    }

    rows = {
        f"| `{name}` | `GATE_{name.upper().replace('.', '__')}` | {' '.join(meaning.split())} |"
        for name, meaning in meanings.items()
    }

    assert {line for line in SERVING.splitlines() if "| `GATE_" in line} == rows


def test_every_metric_is_in_the_table() -> None:
    exposed = re.findall(r"^# TYPE (\S+) ", Metrics().expose().decode(), re.MULTILINE)

    documented = set(re.findall(r"^\| `(gate_[a-z_]+)", SERVING, re.MULTILINE))

    assert documented == {name for name in exposed if not name.endswith("_created")}


def test_every_key_of_the_policy_file_is_explained() -> None:
    policy = (DOCS / "policy.md").read_text(encoding="utf-8")
    seeded = seeded_patterns().values()
    sections: list[type[Section]] = [
        PolicyFile,
        NamespaceEntry,
        AgentsSection,
        ScopeSection,
        Alerting,
        *STRATEGIES.values(),
        *(type(entry.thresholds) for entry in seeded),
    ]

    missing = {
        row
        for section in sections
        for name in section.model_fields
        if (row := f"| `{name}` | {' '.join(read_meanings(section)[name].split())} |") not in policy
    }

    assert missing == set()
    for entry in seeded:
        assert set(re.findall(r"^\| `([a-z_]+)` \|", policy, re.MULTILINE)) >= set(
            type(entry).model_fields
        )
        assert f"| `{entry.type}` | {entry.description} | {entry.time_window_minutes} |" in policy


def test_policy_file_in_the_documentation_is_valid() -> None:
    policy = (DOCS / "policy.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", policy, re.MULTILINE | re.DOTALL)

    parsed = parse_policy(example.encode(), source="docs/policy.md")

    assert parsed.problems == {}
    assert list(parsed.patterns) == ["scale-oscillation", "cascading-failure"]
