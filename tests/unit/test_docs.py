"""The documentation keeps up with the code."""

import re
from pathlib import Path

from gate.settings import Agents, ServeSettings
from gate.telemetry import Metrics

SERVING = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_table_with_its_meaning() -> None:
    fields = {
        **ServeSettings.model_fields,
        **{f"agents.{name}": field for name, field in Agents.model_fields.items()},
    }

    rows = {
        f"| `{name}` | `GATE_{name.upper().replace('.', '__')}` | "
        f"{' '.join((field.description or '').split())} |"
        for name, field in fields.items()
    }

    assert {line for line in SERVING.splitlines() if "| `GATE_" in line} == rows


def test_every_metric_is_in_the_table() -> None:
    exposed = re.findall(r"^# TYPE (\S+) ", Metrics().expose().decode(), re.MULTILINE)

    documented = set(re.findall(r"^\| `(gate_[a-z_]+)", SERVING, re.MULTILINE))

    assert documented == {name for name in exposed if not name.endswith("_created")}
