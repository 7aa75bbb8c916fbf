"""Escalations, the outbox, the policy, outcomes and leadership."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

_SQL = Path(__file__).parent.parent / "sql"


def upgrade() -> None:
    """Run this revision's files in order; the driver takes many statements at once."""
    connection = op.get_bind().connection.dbapi_connection
    if connection is None:
        raise RuntimeError("the connection was closed before the revision ran")
    for file in sorted(_SQL.glob(f"{revision}_*.sql")):
        text = file.read_text(encoding="utf-8")
        connection.run_async(lambda driver, sql=text: driver.execute(sql))
