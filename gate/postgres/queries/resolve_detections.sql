-- name: resolve_detections
-- Resolves detections that bind nobody any more; one whose workload is quiet is seen by no admission.
WITH over AS MATERIALIZED (
    SELECT d.id
    FROM oscillation_detections AS d
    WHERE NOT d.resolved AND d.until <= now() - :slack::interval
    ORDER BY d.id
    LIMIT :at_most::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
resolved AS (
    UPDATE oscillation_detections AS d SET
        resolved = true,
        resolved_at = d.until,
        resolution_method = 'timeout'
    FROM over
    WHERE d.id = over.id AND NOT d.resolved
    RETURNING d.id
)
SELECT count(*) AS done FROM resolved
