"""YAML as people write a policy: one document, each key once, and every value with its line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

_DEEPEST = 12

Path = tuple[str | int, ...]


class YamlProblemError(ValueError):
    """A text is no YAML that gate reads; the message names the line."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, and on which line each value of it begins."""

    value: object
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int | None:
        """Return the line of a value, or of the nearest thing around it that is there."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def parse_document(text: str) -> Document:
    """Return the one document in a text; raises YamlProblemError.

    Aliases are refused: a few lines of them can stand for more than any memory holds.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise YamlProblemError("it is empty; write {} where all defaults are meant")
        lines: dict[Path, int] = {}
        _note_lines(node, (), lines)
        return Document(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise YamlProblemError(f"{where}{error.problem or 'it is not YAML'}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise YamlProblemError(str(error)) from None


class _Loader(yaml.SafeLoader):
    """The safe loader, without aliases, tags and bottomless nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one value."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        if isinstance(event, yaml.AliasEvent):
            raise _problem("aliases (*name) are not read here: write it out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _problem("tags (!name) are not read here: leave it out", event.start_mark)
        if self._depth == _DEEPEST:
            raise _problem("this is nested deeper than any policy", event.start_mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _note_lines(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            if inner in lines:
                raise _problem(f"{key.value} is there twice", key.start_mark)
            lines[inner] = key.start_mark.line + 1
            _note_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*path, number)] = value.start_mark.line + 1
            _note_lines(value, (*path, number), lines)


def _problem(words: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=words, problem_mark=mark)
