"""The revisions of the schema that this release knows, without the tool that runs them."""

import re
from pathlib import Path

import gate

_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)
_PREDECESSOR = re.compile(r'^down_revision = (?:"(\w+)"|None)$', re.MULTILINE)


def list_revisions() -> list[str]:
    """Return the names of all revisions, oldest first.

    Each names the one before it; raises ValueError where they are not one line.
    """
    successors: dict[str | None, str] = {}
    paths = sorted((find_migrations() / "versions").glob("[0-9]*.py"))
    for path in paths:
        source = path.read_text(encoding="utf-8")
        name, predecessor = _REVISION.search(source), _PREDECESSOR.search(source)
        if name is None or predecessor is None:
            raise ValueError(f"{path} names no revision, or none before it")
        successors[predecessor[1]] = name[1]
    revisions: list[str] = []
    while (following := successors.get(revisions[-1] if revisions else None)) is not None:
        revisions.append(following)
    if len(revisions) != len(paths):
        raise ValueError("the revisions do not follow one another in one line")
    return revisions


def find_migrations() -> Path:
    """Return the folder of revisions: inside the installed package, beside it in a checkout."""
    package = Path(gate.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"
