"""What an agent says about its change in annotations: its alert, its model, its reasons.

They count only when at least one of them changed in this request; a stale annotation would mark
later changes by people as an agent's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gate.domain.snapshot import CONTEXT_PREFIX
from gate.domain.words import clean

SEVERITIES = ("info", "warning", "critical")
_LONGEST = {
    "alert-name": 200,
    "model": 100,
    "reasoning": 4000,
    "correlation-id": 64,
}
_NAMES = (*_LONGEST, "alert-severity", "confidence")


@dataclass(frozen=True, slots=True)
class Context:
    """The agent's words, within bounds; None where it said nothing usable.

    `problems` names what was cut or dropped, and why.
    """

    alert_name: str | None = None
    alert_severity: str | None = None
    model: str | None = None
    confidence: float | None = None
    reasoning: str | None = None
    correlation_id: str | None = None
    problems: tuple[str, ...] = ()


def read_context(*, before: Mapping[str, str], after: Mapping[str, str]) -> Context:
    """Read the context annotations of a request from the object's annotations old and new."""
    names = [CONTEXT_PREFIX + name for name in _NAMES]
    if all(before.get(name) == after.get(name) for name in names):
        return Context()
    given = {name: after[key] for name, key in zip(_NAMES, names, strict=True) if key in after}
    problems: list[str] = []
    texts = {name: _bounded(name, given.get(name), problems) for name in _LONGEST}
    return Context(
        alert_name=texts["alert-name"],
        alert_severity=_severity(given.get("alert-severity"), problems),
        model=texts["model"],
        confidence=_confidence(given.get("confidence"), problems),
        reasoning=texts["reasoning"],
        correlation_id=texts["correlation-id"],
        problems=tuple(problems),
    )


def _bounded(name: str, text: str | None, problems: list[str]) -> str | None:
    if not text:
        return None
    limit = _LONGEST[name]
    if len(text) > limit:
        problems.append(f"{name} was {len(text)} characters long and is cut to {limit}")
    kept = clean(text[:limit])
    if kept != text[:limit]:
        problems.append(f"{name} held characters that cannot be stored; U+FFFD stands for them")
    return kept


def _severity(text: str | None, problems: list[str]) -> str | None:
    if text is None or text in SEVERITIES:
        return text
    problems.append(f"alert-severity is none of {', '.join(SEVERITIES)} and is dropped")
    return None


def _confidence(text: str | None, problems: list[str]) -> float | None:
    if text is None:
        return None
    try:
        confidence = float(text)
    except ValueError:
        confidence = -1.0
    if 0.0 <= confidence <= 1.0:
        return confidence
    problems.append("confidence is not a number from 0 to 1 and is dropped")
    return None
