"""The SQL of `queries/`, one statement in each file, with named parameters made positional."""

import re
from dataclasses import dataclass
from importlib.resources import files

# Quoted text, comments and casts are skipped, so that only real parameters are found.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|::|:(?P<parameter>[a-z_]+)")
_NAME = re.compile(r"-- name: (?P<name>[a-z]+(?:_[a-z]+)+)\n-- \S")


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with `$n` parameters, and their names in that order."""

    name: str
    text: str
    parameters: tuple[str, ...]

    def arrange(self, **values: object) -> tuple[object, ...]:
        """Return the values in the order of the parameters; a missing or foreign name fails."""
        if values.keys() != set(self.parameters):
            raise TypeError(f"{self.name} takes {self.parameters}, not {tuple(values)}")
        return tuple([values[name] for name in self.parameters])


def load_statement(name: str) -> Statement:
    """Return the statement that `queries/<name>.sql` holds."""
    source = files("gate.postgres").joinpath("queries", f"{name}.sql").read_text("utf-8")
    return parse_statement(source)


def parse_statement(source: str) -> Statement:
    """Read `-- name: verb_noun`, a line of why, and SQL with `:named` parameters."""
    heading = _NAME.match(source)
    if heading is None:
        raise ValueError("a query starts with `-- name: verb_noun` and a line that says why")
    numbers: dict[str, int] = {}

    def number(token: re.Match[str]) -> str:
        parameter = token["parameter"]
        if parameter is None:
            return token[0]
        return f"${numbers.setdefault(parameter, len(numbers) + 1)}"

    text = _TOKEN.sub(number, source)
    return Statement(heading["name"], text, tuple(numbers))
