-- name: correct_trace
-- Tells whether a trace that waited on the local disk is recorded already, by a commit whose reply
-- was lost or by an earlier replay, and makes it say what was answered.
WITH found AS (
    SELECT t.action_id, t.action_timestamp
    FROM resource_action_traces AS t
    WHERE t.action_id = :action_id::uuid AND t.action_timestamp = :recorded_at::timestamptz
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
    FROM found
    WHERE t.action_id = found.action_id
        AND t.action_timestamp = found.action_timestamp
        AND (t.verdict, t.mode, t.decision)
            IS DISTINCT FROM (:verdict::text, :mode::text, :decision::jsonb)
)
SELECT EXISTS (SELECT FROM found) AS is_recorded
