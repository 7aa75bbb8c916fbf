"""The conditions the API server filters by: null-safe, and quoted whatever the globs hold."""

import re

import pytest

from gate.domain.actor import AgentRules
from gate.domain.matchconditions import build_match_conditions, quote

ESCAPE = re.compile(r"\\U([0-9a-f]{8})|\\([\\'])")


def expression_of(rules: AgentRules) -> str:
    (condition,) = build_match_conditions(rules)
    return condition.expression


def unquote(literal: str) -> str:
    """Read a CEL string literal of the form that `quote` writes."""
    assert literal[0] == literal[-1] == "'"
    return ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], literal[1:-1])


def test_users_groups_and_extra_are_alternatives_each_null_safe() -> None:
    rules = AgentRules(
        users=("system:serviceaccount:ai-agents:*",),
        groups=("robots",),
        extra=(("agent.example.com/name", "*"),),
    )

    assert build_match_conditions(rules)[0].name == "agents"
    assert expression_of(rules) == (
        r"(has(request.userInfo.username) && request.userInfo.username"
        r".matches('(?s)^system:serviceaccount:ai\\-agents:.*$'))"
        r" || (has(request.userInfo.groups) && request.userInfo.groups"
        r".exists(g, g.matches('(?s)^robots$')))"
        r" || (has(request.userInfo.extra) && 'agent.example.com/name' in request.userInfo.extra"
        r" && request.userInfo.extra['agent.example.com/name'].exists(v, v.matches('(?s)^.*$')))"
    )


def test_many_agents_are_still_one_condition() -> None:
    rules = AgentRules(users=tuple(f"robot-{number}" for number in range(500)))

    assert expression_of(rules).count("matches(") == 500


def test_without_agents_nobody_is_sent_to_gate() -> None:
    assert expression_of(AgentRules()) == "false"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "it's",
        'say "no"',
        "back\\slash",
        "') || true || ('",
        "line\nbreak\r\ttab\0nul",
        "naïve ✓ 🤖",
        "\\U0000006e",
        "",
    ],
)
def test_any_text_survives_quoting_and_stays_one_literal(text: str) -> None:
    literal = quote(text)

    assert unquote(literal) == text
    assert literal.isascii()
    assert literal.isprintable()
    assert not re.search(r"(?<!\\)(\\\\)*'", literal[1:-1])


def test_regular_expression_of_a_glob_reaches_the_cluster_unharmed() -> None:
    glob = "cn=o'neill (ops).team+1\\*"

    literal = re.search(r"matches\(('.*')\)\)$", expression_of(AgentRules(users=(glob,))))

    assert literal is not None
    assert re.fullmatch(unquote(literal[1]), "cn=o'neill (ops).team+1\\anything at:all\n")
    assert not re.fullmatch(unquote(literal[1]), "cn=o'neill (ops)-team+1\\")
