"""What the documentation says about the tables holds for the tables."""

import re
from pathlib import Path
from uuid import UUID

from gate.postgres.pool import Pool

_HISTORY = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")
_QUERIES = re.findall(r"^```sql\n(.*?)^```", _HISTORY, re.MULTILINE | re.DOTALL)
_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND relname <> 'alembic_version'
"""


async def test_every_documented_query_runs(pool: Pool) -> None:
    for query in _QUERIES:
        await pool.execute(query.replace("'…'", f"'{UUID(int=0)}'"))

    assert len(_QUERIES) > 1


async def test_every_table_is_documented(pool: Pool) -> None:
    tables = {row["relname"] for row in await pool.fetch(_TABLES)}

    listed = set(re.findall(r"^\| `([a-z_]+)` \|", _HISTORY, re.MULTILINE))

    assert tables <= listed
