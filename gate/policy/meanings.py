"""What the fields of a model mean: the texts below them, which Python itself forgets.

They are read from the source when they are asked for. pydantic would do so whenever the models are
imported, which takes a tenth of the time in which gate starts.
"""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any


def read_meanings(model: type) -> dict[str, str]:
    """Return the text below each field of a class and of those it inherits from, by name."""
    meanings: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if part.__module__.startswith("gate."):
            meanings |= _read_own(part)
    return meanings


def add_meanings(schema: dict[str, Any], model: type) -> None:
    """Describe the properties of a model's JSON schema."""
    for name, meaning in read_meanings(model).items():
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = meaning


def _read_own(part: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        above.target.id: inspect.cleandoc(below.value.value)
        for above, below in pairwise(body)
        if isinstance(above, ast.AnnAssign)
        and isinstance(above.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
