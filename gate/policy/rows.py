"""Entries of a policy file as rows of `oscillation_patterns` and back."""

from collections.abc import Mapping
from dataclasses import replace

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gate.domain.pattern import PatternType, Strategy
from gate.policy.document import Path
from gate.policy.problems import Problem, find_problems
from gate.policy.schema import ENTRIES, PatternEntry, PolicyFile
from gate.policy.sections import STRATEGIES, Section, section_in
from gate.ports.policy import DeclaredModes, NamespaceModes

_ENTRY: TypeAdapter[PatternEntry] = TypeAdapter(PatternEntry, config=ConfigDict(defer_build=True))
_COLUMNS: dict[Path, str] = {
    ("type",): "pattern_type",
    ("scope", "kinds"): "resource_types",
    ("scope", "namespaces"): "namespaces",
    ("scope", "labels"): "label_selectors",
    ("strategy", "name"): "prevention_strategy",
    ("thresholds",): "threshold_config",
    ("strategy",): "prevention_parameters",
}


class UnusableRowError(ValueError):
    """A row declares nothing that can be used; the message names the columns."""


def write_pattern(name: str, entry: PatternEntry) -> dict[str, object]:
    """Return the columns of a pattern's row that a policy file decides."""
    scope, alerting = entry.scope, entry.alerting
    return {
        "pattern_name": name,
        "pattern_type": entry.type,
        "description": entry.description,
        "min_occurrences": entry.min_occurrences,
        "time_window_minutes": entry.time_window_minutes,
        "threshold_config": _plain(entry.thresholds.model_dump(mode="json")),
        "resource_types": list(map(str, scope.kinds)) or None,
        "namespaces": list(scope.namespaces) or None,
        "label_selectors": dict(scope.labels) or None,
        "prevention_strategy": entry.strategy.name,
        "prevention_parameters": _plain(
            entry.strategy.model_dump(mode="json", exclude={"name"}, exclude_none=True)
        ),
        "mode": entry.mode,
        "alerting_enabled": alerting.enabled,
        "alert_severity": str(alerting.severity),
        "alert_channels": list(alerting.channels) or None,
    }


def read_pattern(columns: Mapping[str, object]) -> PatternEntry:
    """Return what a row declares; a column that was not read counts as its default.

    Keys of the JSON columns that this release does not know are left to the one that does. Raises
    UnusableRowError.
    """
    thresholds = ENTRIES[PatternType(str(columns["pattern_type"]))].model_fields["thresholds"]
    strategy = Strategy(str(columns["prevention_strategy"]))
    declared: dict[str, object] = {
        "type": columns["pattern_type"],
        "min_occurrences": columns["min_occurrences"],
        "time_window_minutes": columns["time_window_minutes"],
        "thresholds": _known(columns["threshold_config"], section_in(thresholds.annotation)),
        "scope": {
            "kinds": columns["resource_types"] or (),
            "namespaces": columns["namespaces"] or (),
            "labels": columns["label_selectors"] or {},
        },
        "strategy": {
            "name": str(strategy),
            **_known(columns["prevention_parameters"], STRATEGIES[strategy]),
        },
        "mode": columns["mode"],
    }
    if columns.get("description") is not None:
        declared["description"] = columns["description"]
    if "alerting_enabled" in columns:
        declared["alerting"] = {
            "enabled": columns["alerting_enabled"],
            "severity": columns["alert_severity"],
            "channels": columns["alert_channels"] or (),
        }
    try:
        return _ENTRY.validate_python(declared)
    except ValidationError as error:
        problems = find_problems(error)
        raise UnusableRowError("; ".join(map(_as_column, problems))) from None


def write_modes(file: PolicyFile) -> dict[str, object]:
    """Return the columns of the row that holds the modes."""
    return {
        "mode": file.mode,
        "failure_mode": file.failure_mode,
        "namespaces": [
            entry.model_dump(mode="json", exclude_none=True) for entry in file.namespaces
        ],
    }


def read_modes(columns: Mapping[str, object]) -> DeclaredModes:
    """Return the modes that a row declares; raises UnusableRowError."""
    try:
        file = PolicyFile.model_validate(
            {
                "mode": columns["mode"],
                "failure_mode": columns["failure_mode"],
                "namespaces": columns["namespaces"],
            }
        )
    except ValidationError as error:
        raise UnusableRowError("; ".join(map(str, find_problems(error)))) from None
    return declare_modes(file)


def declare_modes(file: PolicyFile) -> DeclaredModes:
    """Return the modes that a file declares."""
    return DeclaredModes(
        file.mode,
        file.failure_mode,
        tuple(
            NamespaceModes(entry.match, entry.mode, entry.failure_mode) for entry in file.namespaces
        ),
    )


def _known(value: object, section: type[Section] | None) -> dict[str, object]:
    """Return the keys of a JSON column that a section has."""
    if not isinstance(value, Mapping) or section is None:
        return {}
    return {key: item for key, item in value.items() if key in section.model_fields}


def _as_column(problem: Problem) -> str:
    """Name the column instead of the key of a file."""
    for depth in (2, 1):
        column = _COLUMNS.get(problem.path[:depth])
        if column is not None:
            return str(replace(problem, path=(column, *problem.path[depth:])))
    return str(problem)


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Write whole numbers without a fraction, as people do."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
    }
