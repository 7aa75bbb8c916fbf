"""What is wrong with a declaration, in words that say where it is and what is allowed."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gate.domain.pattern import PatternType, Strategy
from gate.domain.words import escape
from gate.policy.document import Document, Path
from gate.policy.schema import ENTRIES, PolicyFile
from gate.policy.sections import STRATEGIES, Section, section_in

_SHOWN_AT_MOST = 80
_NO_MAPPING = "should hold `key: value` pairs"
_WORDS = {
    "missing": "is missing",
    "model_type": _NO_MAPPING,
    "model_attributes_type": _NO_MAPPING,
    "dict_type": _NO_MAPPING,
    "mapping_type": _NO_MAPPING,
    "tuple_type": "should be a list",
    "string_type": "should be text, in quotes",
}
_MEMBERS: Mapping[str, type[Section]] = {
    **{str(name): section for name, section in ENTRIES.items()},
    **{str(name): section for name, section in STRATEGIES.items()},
}
_TAGS = {"type": set(map(str, PatternType)), "name": set(map(str, Strategy))}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where in the declaration, and on which line if it has one."""

    path: Path
    words: str
    line: int | None = None

    def __str__(self) -> str:
        name = escape(".".join(map(str, self.path)))
        said = ": ".join(part for part in (name, self.words) if part)
        return said if self.line is None else f"line {self.line}: {said}"


def find_problems(
    error: ValidationError, *, within: Path = (), document: Document | None = None
) -> tuple[Problem, ...]:
    """Return what pydantic found wrong with the value at a path of a document."""
    return tuple(_locate(error, within, document))


def _locate(error: ValidationError, within: Path, document: Document | None) -> Iterator[Problem]:
    for details in error.errors(include_url=False):
        path = (*within, *_without_tags(details["loc"]), *_last_key(details))
        yield Problem(path, _describe(details), document.line_of(path) if document else None)


def _without_tags(location: Path) -> Path:
    """Leave out which member of a union was tried: the file has no such key."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        is_type = index == 0 and part in _TAGS["type"]
        is_strategy = path[-1:] == ["strategy"] and part in _TAGS["name"]
        if not (is_type or is_strategy):
            path.append(part)
    return tuple(path)


def _last_key(details: ErrorDetails) -> Path:
    """Return the key that a problem is about where pydantic names only the mapping around it."""
    context = details.get("ctx", {})
    match details["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            return (str(context["discriminator"]).strip("'"),)
        case _:
            return ()


def _describe(details: ErrorDetails) -> str:
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "union_tag_not_found":
        return "is missing; it says which kind this is"
    if kind == "union_tag_invalid":
        tag = str(context["tag"])
        allowed = str(context["expected_tags"]).replace("'", "").split(", ")
        close = difflib.get_close_matches(tag, allowed, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        return f"should be {_either(allowed)}, not {_show(tag)}{meant}"
    if kind == "extra_forbidden":
        return f"this key does not exist; {_suggest(details['loc'])}"
    words = _WORDS.get(kind) or re.sub(
        r"^(Value error, |Input |String |Tuple |List )+", "", details["msg"]
    )
    value = details.get("input")
    is_shown = kind != "missing" and isinstance(value, str | int | float)
    return f"{words}, not {_show(value)}" if is_shown else words


def _suggest(location: Path) -> str:
    """Say which key was meant instead of one that does not exist, or which there are."""
    *places, key = location
    known = list(_section_at(places).model_fields)
    close = difflib.get_close_matches(str(key), known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def _section_at(places: Sequence[str | int]) -> type[Section]:
    """Return the section at a place, where members of unions are named as well."""
    section: type[Section] = PolicyFile
    for place in places:
        if place in _MEMBERS:
            section = _MEMBERS[str(place)]
        elif place in section.model_fields:
            section = section_in(section.model_fields[str(place)].annotation) or section
    return section


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _show(value: object) -> str:
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else repr(value)
    return escape(str(shown), limit=_SHOWN_AT_MOST)
