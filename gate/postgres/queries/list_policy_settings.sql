-- name: list_policy_settings
-- The modes for people: one row, or none where no policy file was ever applied.
SELECT s.mode, s.failure_mode, s.namespaces, s.declared_digest, s.updated_at
FROM policy_settings AS s
