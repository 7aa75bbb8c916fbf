"""What a replica imports before it can answer, and what it must not wait for."""

import subprocess
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory

from gate.postgres.revisions import find_migrations, list_revisions

HEAVY = {"alembic", "kubernetes_asyncio", "mcp", "numpy", "pandas", "scipy", "sqlalchemy"}


def test_serving_imports_nothing_that_is_slow_and_not_needed() -> None:
    source = "import sys, gate.cli.serve, gate.cli.process; print(*sys.modules)"

    run = subprocess.run(  # noqa: S603 - this very interpreter, and nothing given from outside
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )

    assert HEAVY.isdisjoint(run.stdout.split())


def test_the_revisions_are_those_that_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", str(find_migrations()))

    scripts = ScriptDirectory.from_config(config).walk_revisions()

    assert list_revisions() == [script.revision for script in scripts][::-1]
