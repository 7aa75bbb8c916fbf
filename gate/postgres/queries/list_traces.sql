-- name: list_traces
-- One workload's traces for people, oldest first; an empty cluster means any.
SELECT
    t.action_id, t.version, t.action_timestamp, t.cluster, r.namespace, r.kind, r.name,
    t.resource_uid, t.actor, t.actor_rule, t.actor_certainty, t.action_type, t.operation,
    t.subresource, t.action_parameters, t.verdict, t.mode, t.decision, t.attempts,
    t.execution_status, t.execution_error, t.alert_name, t.alert_severity, t.model_used,
    t.model_confidence, t.model_reasoning, t.correlation_id, t.resource_state_before,
    t.resource_state_after, t.kubernetes_operations, t.change_fingerprint, t.request_uid,
    t.old_resource_version, t.old_generation, t.effectiveness_score, t.effectiveness_criteria,
    t.spooled_at
FROM resource_references AS r
JOIN action_histories AS h ON h.resource_id = r.id
JOIN resource_action_traces AS t ON t.action_history_id = h.id
WHERE (:cluster::text = '' OR r.cluster = :cluster::text)
    AND r.namespace = :namespace::text
    AND r.kind = :kind::text
    AND r.name = :name::text
    AND t.action_timestamp >= :since::timestamptz
ORDER BY t.cluster, t.version, t.action_timestamp, t.action_id
