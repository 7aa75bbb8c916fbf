-- name: read_schema_revisions
-- Which revision the schema is at: what `gate migrate` noted last.
SELECT version_num FROM alembic_version
