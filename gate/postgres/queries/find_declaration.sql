-- name: find_declaration
-- Whether a policy file has ever been applied to the rows; before that, they are as they were seeded.
SELECT EXISTS (
    SELECT FROM policy_settings AS s WHERE s.declared_digest IS NOT NULL
) AS is_declared
