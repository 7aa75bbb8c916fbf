-- name: correct_trace
-- Tells whether a trace that waited on the local disk is recorded already, by a commit whose reply
-- was lost or by an earlier replay, and makes it say what was answered. Where a change was refused
-- after all, its history moves, the approval it was to use is free again, and the detections that it
-- opened are withdrawn, unless others were refused for them since.
WITH found AS MATERIALIZED (
    SELECT t.action_history_id, t.verdict
    FROM resource_action_traces AS t
    WHERE t.action_id = :action_id::uuid AND t.action_timestamp = :recorded_at::timestamptz
),
-- The history is locked before anything else, as by admissions.
held AS MATERIALIZED (
    SELECT h.id, h.resource_id, found.verdict = 'allow' AND :verdict::text = 'deny' AS is_refused
    FROM found
    JOIN action_histories AS h ON h.id = found.action_history_id
    FOR NO KEY UPDATE OF h
),
corrected AS (
    UPDATE resource_action_traces AS t SET
        verdict = :verdict::text,
        mode = :mode::text,
        decision = :decision::jsonb,
        -- What became of an admitted change may be known by now, and stays.
        execution_status = CASE
            WHEN t.verdict = :verdict::text THEN t.execution_status
            ELSE :execution_status::text
        END,
        spooled_at = :spooled_at::timestamptz,
        updated_at = now()
    FROM held
    WHERE t.action_history_id = held.id
        AND t.action_id = :action_id::uuid
        AND t.action_timestamp = :recorded_at::timestamptz
        AND (t.verdict, t.mode, t.decision)
            IS DISTINCT FROM (:verdict::text, :mode::text, :decision::jsonb)
),
moved AS (
    UPDATE action_histories AS h SET version = h.version + 1, updated_at = now()
    FROM held
    WHERE held.is_refused AND h.id = held.id
),
freed AS (
    UPDATE action_escalations AS e SET reserved_by = NULL, reserved_at = NULL, updated_at = now()
    FROM held
    WHERE held.is_refused
        AND e.resource_id = held.resource_id
        AND e.state = 'approved'
        AND e.reserved_by = :action_id::uuid
),
-- The last of the matching actions is the one that the detection was made on.
withdrawn AS (
    UPDATE oscillation_detections AS d SET
        resolved = true,
        resolved_at = now(),
        resolution_method = 'automatic'
    FROM held
    WHERE held.is_refused
        AND d.resource_id = held.resource_id
        AND NOT d.resolved
        AND NOT d.prevention_applied
        AND d.matching_actions[cardinality(d.matching_actions)] = :action_id::uuid
)
SELECT EXISTS (SELECT FROM found) AS is_recorded
