-- name: expire_escalations
-- Marks escalations nobody answered, or used, in time, and moves the versions of their workloads.
-- Histories are locked first, as admissions do; those in use come next time. An approval that let a
-- change through waits for what became of it, but not for ever.
WITH due AS (
    SELECT e.id, e.resource_id
    FROM action_escalations AS e
    WHERE e.state IN ('open', 'approved')
        AND e.expires_at <= now()
        AND (e.reserved_by IS NULL OR e.expires_at <= now() - :patience::interval)
    ORDER BY e.expires_at
    LIMIT :at_most::bigint
),
locked AS MATERIALIZED (
    SELECT h.resource_id
    FROM action_histories AS h
    WHERE h.resource_id IN (SELECT due.resource_id FROM due)
    FOR NO KEY UPDATE SKIP LOCKED
),
expired AS (
    UPDATE action_escalations AS e SET state = 'expired', updated_at = now()
    FROM due
    JOIN locked ON locked.resource_id = due.resource_id
    WHERE e.id = due.id
        AND e.state IN ('open', 'approved')
        AND (e.reserved_by IS NULL OR e.expires_at <= now() - :patience::interval)
    RETURNING e.resource_id
),
moved AS (
    UPDATE action_histories AS h SET version = h.version + 1, updated_at = now()
    FROM (SELECT DISTINCT expired.resource_id FROM expired) AS changed
    WHERE h.resource_id = changed.resource_id
)
SELECT count(*) AS done FROM expired
