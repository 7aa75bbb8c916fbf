-- name: read_histories
-- All that a decision needs, one row for each workload key, in the order of the keys.
-- Planning would take longer than running. PostgreSQL keeps one plan for all calls where knowing the
-- values promises nothing: hence the LIMIT, which cuts nothing off, and the SELECT around `since`.
-- Changes of capacity are counted apart, and so are refused ones: any number of label patches or
-- retries must not push out of sight what an oscillation is made of.
SELECT
    coalesce(h.version, 0) AS version,
    r.labels,
    h.oscillation_window_minutes,
    h.pattern_min_occurrences,
    (
        SELECT json_agg(recent)
        FROM (
            VALUES ('allow', true), ('allow', false), ('deny', true), ('deny', false)
        ) AS sort (verdict, changes_capacity)
        CROSS JOIN LATERAL (
            SELECT
                t.action_id, t.version, t.action_timestamp, t.operation, t.subresource,
                t.resource_uid, t.old_resource_version, t.old_generation, t.actor, t.action_type,
                t.verdict, t.execution_status, t.resource_state_before, t.resource_state_after,
                t.action_parameters -> 'changes' AS changes, t.change_fingerprint,
                t.request_fingerprint, t.request_uid, t.decision
            FROM resource_action_traces AS t
            WHERE t.action_history_id = h.id
                AND t.verdict = sort.verdict
                AND t.changes_capacity = sort.changes_capacity
                AND t.action_timestamp >= (SELECT :since::timestamptz)
            ORDER BY t.action_timestamp DESC
            LIMIT :at_most::bigint
        ) AS recent
    ) AS traces,
    (
        SELECT json_agg(open ORDER BY open.id)
        FROM (
            SELECT
                d.id, d.pattern_id, p.pattern_type, d.until, d.mode, d.prevention_applied,
                d.pattern_evidence -> 'kind' AS evidence_kind,
                d.pattern_evidence -> 'fields' AS fields,
                d.pattern_evidence -> 'summary' AS summary
            FROM oscillation_detections AS d
            JOIN oscillation_patterns AS p ON p.id = d.pattern_id
            WHERE d.resource_id = r.id AND NOT d.resolved AND d.until > :now::timestamptz
        ) AS open
    ) AS detections
FROM (
    SELECT key.cluster, key.namespace, key.kind, key.name, key.ordinal
    FROM unnest(:clusters::text[], :namespaces::text[], :kinds::text[], :names::text[])
        WITH ORDINALITY AS key (cluster, namespace, kind, name, ordinal)
    LIMIT :count::bigint
) AS asked
LEFT JOIN resource_references AS r
    ON r.cluster = asked.cluster
    AND r.namespace = asked.namespace
    AND r.kind = asked.kind
    AND r.name = asked.name
LEFT JOIN action_histories AS h ON h.resource_id = r.id
ORDER BY asked.ordinal
