"""Who asked for a change, and whether that identity is an AI agent's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache


class Certainty(StrEnum):
    """How an agent is known to be one."""

    PROVEN = "proven"  # the API server authenticated the user or group
    DELEGATED = "delegated"  # an agent acts with somebody's credentials; `extra` says so
    ASSERTED = "asserted"  # only the request's own words say so


@dataclass(frozen=True, slots=True)
class Identity:
    """The authenticated caller, as the API server reports it."""

    name: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentRules:
    """Globs that recognise agents; `*` matches any run of characters, colons included."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Actor:
    """An agent that asked for a change, with the rule that recognised it."""

    name: str
    rule: str
    certainty: Certainty


def recognise(identity: Identity, rules: AgentRules) -> Actor | None:
    """Return the agent behind an identity, or None for everybody else."""
    for glob in rules.users:
        if is_match(glob, identity.name):
            return Actor(identity.name, f"user {glob}", Certainty.PROVEN)
    for glob in rules.groups:
        if any(is_match(glob, group) for group in identity.groups):
            return Actor(identity.name, f"group {glob}", Certainty.PROVEN)
    for key, glob in rules.extra:
        if any(is_match(glob, value) for value in identity.extra.get(key, ())):
            return Actor(identity.name, f"extra {key}={glob}", Certainty.DELEGATED)
    return None


def is_match(glob: str, text: str) -> bool:
    """Tell whether the whole text matches the glob."""
    return _compiled(glob).fullmatch(text) is not None


def as_regex(glob: str) -> str:
    """Return the glob as an anchored expression that Python and RE2 (CEL) read alike."""
    return "(?s)^" + ".*".join(re.escape(part) for part in glob.split("*")) + "$"


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(as_regex(glob))
