-- name: mark_outcomes
-- Writes what became of changes, where nobody else has, and returns the ids of those written.
-- The approval that let a change through is used up once that is there, and free again where it was
-- not persisted. It never waits for a row of a trace or history: those in use are left for next time,
-- so that it meets an admission in no circle.
WITH given AS MATERIALIZED (
    SELECT
        item.action_id, item.recorded_at, item.expected, item.status, item.error, item.started_at,
        item.ended_at, item.duration_ms, item.generation, item.state, item.follow_up,
        item.status = 'failed' AND item.started_at IS NULL AS is_lost
    FROM unnest(
        :action_ids::uuid[], :recorded_at::timestamptz[], :expected::text[], :statuses::text[],
        :errors::text[], :started_at::timestamptz[], :ended_at::timestamptz[],
        :durations_ms::integer[], :generations::bigint[], :states::jsonb[], :follow_ups::jsonb[]
    ) AS item (
        action_id, recorded_at, expected, status,
        error, started_at, ended_at,
        duration_ms, generation, state, follow_up
    )
    -- Cuts nothing off: it keeps one plan for all calls, as in read_histories.
    LIMIT :count::bigint
),
held AS MATERIALIZED (
    SELECT given.action_id, e.resource_id
    FROM given
    JOIN action_escalations AS e ON e.reserved_by = given.action_id
    WHERE given.is_lost AND e.state = 'approved'
),
locked AS MATERIALIZED (
    SELECT h.resource_id
    FROM action_histories AS h
    WHERE h.resource_id IN (SELECT held.resource_id FROM held)
    FOR NO KEY UPDATE SKIP LOCKED
),
blocked AS MATERIALIZED (
    SELECT held.action_id
    FROM held
    WHERE NOT EXISTS (SELECT FROM locked WHERE locked.resource_id = held.resource_id)
),
picked AS MATERIALIZED (
    SELECT t.action_id, t.action_timestamp
    FROM given
    JOIN resource_action_traces AS t
        ON t.action_id = given.action_id
        AND t.action_timestamp = given.recorded_at
    WHERE t.execution_status = ANY (string_to_array(given.expected, ' '))
        AND (
            given.follow_up IS NULL
            OR t.follow_up_actions IS NULL
            OR NOT t.follow_up_actions
                @> jsonb_build_array(jsonb_build_object('type', given.follow_up -> 'type'))
        )
        AND NOT EXISTS (SELECT FROM blocked WHERE blocked.action_id = given.action_id)
    FOR NO KEY UPDATE OF t SKIP LOCKED
),
marked AS (
    UPDATE resource_action_traces AS t SET
        execution_status = given.status,
        execution_error = coalesce(given.error, t.execution_error),
        execution_start_time = coalesce(t.execution_start_time, given.started_at),
        execution_end_time = coalesce(t.execution_end_time, given.ended_at),
        execution_duration_ms = coalesce(t.execution_duration_ms, given.duration_ms),
        observed_generation = coalesce(given.generation, t.observed_generation),
        observed_state = coalesce(given.state, t.observed_state),
        follow_up_actions = CASE
            WHEN given.follow_up IS NULL THEN t.follow_up_actions
            ELSE coalesce(t.follow_up_actions, '[]') || given.follow_up
        END,
        updated_at = now()
    FROM picked
    JOIN given ON given.action_id = picked.action_id
    WHERE t.action_id = picked.action_id AND t.action_timestamp = picked.action_timestamp
    RETURNING t.action_id, given.is_lost
),
answered AS (
    UPDATE action_escalations AS e SET
        state = CASE WHEN marked.is_lost THEN e.state ELSE 'consumed' END,
        consumed_at = CASE WHEN marked.is_lost THEN NULL ELSE now() END,
        reserved_by = CASE WHEN marked.is_lost THEN NULL ELSE e.reserved_by END,
        reserved_at = CASE WHEN marked.is_lost THEN NULL ELSE e.reserved_at END,
        updated_at = now()
    FROM marked
    WHERE e.reserved_by = marked.action_id AND e.state = 'approved'
    RETURNING e.resource_id, marked.is_lost
),
moved AS (
    UPDATE action_histories AS h SET version = h.version + 1, updated_at = now()
    FROM (SELECT DISTINCT answered.resource_id FROM answered WHERE answered.is_lost) AS freed
    WHERE h.resource_id = freed.resource_id
)
SELECT marked.action_id FROM marked
