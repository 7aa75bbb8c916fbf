-- name: sum_detections
-- Adds detections that are in no sum yet to those of their patterns, each exactly once.
-- Rows that an admission holds come next time: waiting for two of them could go round in a circle.
WITH counted AS MATERIALIZED (
    SELECT d.id
    FROM oscillation_detections AS d
    WHERE NOT d.tallied
    ORDER BY d.id
    LIMIT :at_most::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
tallied AS (
    UPDATE oscillation_detections AS d SET tallied = true
    FROM counted
    WHERE d.id = counted.id AND NOT d.tallied
    RETURNING d.pattern_id, d.detected_at
),
added AS (
    UPDATE oscillation_patterns AS p SET
        total_detections = p.total_detections + fresh.detections,
        last_detection_at = greatest(p.last_detection_at, fresh.last_detection_at)
    FROM (
        SELECT
            tallied.pattern_id, count(*) AS detections,
            max(tallied.detected_at) AS last_detection_at
        FROM tallied
        GROUP BY tallied.pattern_id
    ) AS fresh
    WHERE p.id = fresh.pattern_id
)
SELECT count(*) AS done FROM tallied
