"""Who is an agent: globs over user names, groups and extra."""

import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.domain.actor import Actor, AgentRules, Certainty, Identity, as_regex, is_match, recognise
from tests.timeline import minute, start_timeline

_SCALER = "system:serviceaccount:ai-agents:scaler"
_bounded = settings(deadline=None, max_examples=300, derandomize=True)


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        ("system:serviceaccount:ai-agents:*", _SCALER, True),
        ("system:serviceaccount:ai-agents:*", "system:serviceaccount:ai-agents:", True),
        ("system:serviceaccount:ai-agents:*", "system:serviceaccount:ai-agents-2:x", False),
        ("system:*:scaler", _SCALER, True),
        ("*", "anything at all: even\nlines", True),
        ("*", "", True),
        ("", "", True),
        ("", "x", False),
        ("bot", "bot", True),
        ("bot", "robot", False),
        ("bot", "bots", False),
        ("bot", "bot\n", False),
        ("*bot", "robot", True),
        ("a.c", "abc", False),
        ("a?c", "abc", False),
        ("[a-z]+(x|y)\\d^$", "[a-z]+(x|y)\\d^$", True),
        ("user@example.com", "user@example.com", True),
        ("**", "x", True),
        ("BOT", "bot", False),
    ],
)
def test_glob_matches_the_whole_text_and_only_the_star_is_special(
    glob: str, text: str, *, matches: bool
) -> None:
    assert is_match(glob, text) is matches


def matches_by_hand(glob: str, text: str) -> bool:
    """Match a glob without regular expressions."""

    @cache
    def match(g: int, t: int) -> bool:
        if g == len(glob):
            return t == len(text)
        if glob[g] == "*":
            return match(g + 1, t) or (t < len(text) and match(g, t + 1))
        return t < len(text) and glob[g] == text[t] and match(g + 1, t + 1)

    return match(0, 0)


_letters = st.text(alphabet="ab*:.\n\\[(^$- ", max_size=8)


@_bounded
@given(_letters, _letters)
def test_glob_and_its_expression_mean_the_same(glob: str, text: str) -> None:
    expected = matches_by_hand(glob, text)

    assert is_match(glob, text) is expected
    assert (re.fullmatch(as_regex(glob), text) is not None) is expected


@_bounded
@given(_letters)
def test_expression_uses_only_what_re2_knows_too(glob: str) -> None:
    expression = as_regex(glob)

    assert expression.startswith("(?s)^")
    assert expression.endswith("$")
    inner = expression.removeprefix("(?s)^").removesuffix("$")
    plain = re.sub(r"\\[^\w]", "", inner)  # an escaped sign is itself in both
    assert not set(plain.replace(".*", "")) & set("\\.+*?()|[]{}^$")


def test_user_group_and_extra_are_recognised_with_their_rule() -> None:
    rules = AgentRules(
        users=("robot", "system:serviceaccount:ai-agents:*"),
        groups=("ai-*",),
        extra=(("example.com/agent", "*"),),
    )
    extra = {"example.com/agent": ("claude",)}

    assert recognise(Identity(_SCALER, ("ai-x",), extra), rules) == Actor(
        _SCALER, "user system:serviceaccount:ai-agents:*", Certainty.PROVEN
    )
    assert recognise(Identity("jane", ("devs", "ai-ops"), extra), rules) == Actor(
        "jane", "group ai-*", Certainty.PROVEN
    )
    assert recognise(Identity("jane", ("devs",), extra), rules) == Actor(
        "jane", "extra example.com/agent=*", Certainty.DELEGATED
    )
    assert recognise(Identity("jane", ("devs",), {"example.com/other": ("x",)}), rules) is None
    assert recognise(Identity("jane", ("devs",), {"example.com/agent": ()}), rules) is None


def test_nobody_is_an_agent_without_rules() -> None:
    assert recognise(Identity(_SCALER, ("ai-agents",)), AgentRules()) is None


async def test_change_by_a_person_is_admitted_and_not_recorded() -> None:
    timeline = await start_timeline(replicas=3)

    event = await timeline.scale(5, at=minute(0), user="jane@example.com")

    assert event.reviewed.actor is None
    assert event.reviewed.answer.warnings == ()
    assert timeline.recordings == []
    assert timeline.histories.reads == 0
