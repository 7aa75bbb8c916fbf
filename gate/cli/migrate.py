"""`gate migrate`: brings the database to the schema this release needs, or says what it lacks."""

from gate.postgres.schema import find_pending, migrate
from gate.settings.knobs import Settings
from gate.settings.loading import load_settings


async def run_migrate() -> None:
    """Apply what is pending, and say what that was."""
    applied = await migrate(load_settings(Settings).require_dsn())
    for revision in applied:
        print(f"applied {revision}")
    if not applied:
        print("the schema is current, nothing to apply")


async def run_check() -> bool:
    """Say whether the schema is current, change nothing, and tell it."""
    pending = await find_pending(load_settings(Settings).require_dsn())
    for revision in pending:
        print(f"pending {revision}")
    print("run `gate migrate` to apply" if pending else "the schema is current")
    return not pending
