-- name: list_awaited
-- Admitted changes of a cluster whose outcome may still change, oldest first.
-- Of those that are not settled the oldest, for they are lost first; of completed ones the newest.
-- Each have a limit of their own, so that no number of the one keeps the other out of sight.
-- Read from the end of the partitions by BRIN: an index on the status would make every update of a
-- trace write all indexes.
SELECT
    t.action_id, r.namespace, r.kind, r.name, t.version, t.action_timestamp, t.actor, t.operation,
    t.resource_uid, t.old_resource_version, t.old_generation, t.resource_state_before,
    t.resource_state_after, t.execution_status, t.execution_start_time, t.execution_end_time,
    t.observed_generation, t.observed_state
FROM (
    (
        SELECT
            t.action_id, t.action_history_id, t.version, t.action_timestamp, t.actor, t.operation,
            t.resource_uid, t.old_resource_version, t.old_generation, t.resource_state_before,
            t.resource_state_after, t.execution_status, t.execution_start_time,
            t.execution_end_time, t.observed_generation, t.observed_state
        FROM resource_action_traces AS t
        WHERE t.action_timestamp >= (SELECT :since::timestamptz)
            AND t.cluster = :cluster::text
            AND t.verdict = 'allow'
            AND t.execution_status IN ('pending', 'executing')
        ORDER BY t.action_timestamp
        LIMIT :at_most::bigint
    )
    UNION ALL
    (
        SELECT
            t.action_id, t.action_history_id, t.version, t.action_timestamp, t.actor, t.operation,
            t.resource_uid, t.old_resource_version, t.old_generation, t.resource_state_before,
            t.resource_state_after, t.execution_status, t.execution_start_time,
            t.execution_end_time, t.observed_generation, t.observed_state
        FROM resource_action_traces AS t
        WHERE t.action_timestamp >= (SELECT :completed_since::timestamptz)
            AND t.cluster = :cluster::text
            AND t.verdict = 'allow'
            AND t.execution_status = 'completed'
            AND t.follow_up_actions IS NULL
        ORDER BY t.action_timestamp DESC
        LIMIT :at_most::bigint
    )
) AS t
JOIN action_histories AS h ON h.id = t.action_history_id
JOIN resource_references AS r ON r.id = h.resource_id
ORDER BY t.action_timestamp
