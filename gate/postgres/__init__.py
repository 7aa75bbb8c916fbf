"""All of PostgreSQL: the pool, the statements and one adapter for each port."""
