"""The conditions by which the API server sends gate the changes of agents, and of nobody else.

They say in CEL what `recognise` says in Python, and never fail: a condition that fails under
failurePolicy Fail would refuse the request without asking gate.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gate.domain.actor import AgentRules, as_regex


@dataclass(frozen=True, slots=True)
class MatchCondition:
    """One condition of a webhook; a request is sent only where all of them hold."""

    name: str
    expression: str


def build_match_conditions(rules: AgentRules) -> tuple[MatchCondition, ...]:
    """Return the conditions that hold for exactly those callers that the rules recognise."""
    alternatives = [*_match_users(rules), *_match_groups(rules), *_match_extra(rules)]
    return (MatchCondition("agents", " || ".join(alternatives) or "false"),)


def quote(text: str) -> str:
    """Return a CEL string literal that stands for the text, whatever it holds."""
    return f"'{''.join(map(_quote_character, text))}'"


def _match_users(rules: AgentRules) -> Iterator[str]:
    for glob in rules.users:
        yield f"(has(request.userInfo.username) && {_matches('request.userInfo.username', glob)})"


def _match_groups(rules: AgentRules) -> Iterator[str]:
    for glob in rules.groups:
        exists = f"request.userInfo.groups.exists(g, {_matches('g', glob)})"
        yield f"(has(request.userInfo.groups) && {exists})"


def _match_extra(rules: AgentRules) -> Iterator[str]:
    extra = "request.userInfo.extra"
    for key, glob in rules.extra:
        name = quote(key)
        exists = f"{extra}[{name}].exists(v, {_matches('v', glob)})"
        yield f"(has({extra}) && {name} in {extra} && {exists})"


def _matches(variable: str, glob: str) -> str:
    return f"{variable}.matches({quote(as_regex(glob))})"


def _quote_character(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return f"\\U{ord(character):08x}"
