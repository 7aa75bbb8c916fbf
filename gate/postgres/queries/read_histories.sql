-- name: read_histories
-- All that a decision needs, one row for each workload key, in the order of the keys.
-- Planning would take longer than running. PostgreSQL keeps one plan for all calls where knowing the
-- values promises nothing: hence the LIMIT, which cuts nothing off, and the SELECTs around instants.
-- Changes of capacity are counted apart, and so are refused ones: any number of label patches or
-- retries must not push out of sight what an oscillation is made of.
-- What is many comes as arrays without names, which are less work than objects, and what most traces
-- lack (an assessment, an error, an objection) as one array within, or none; and what happened
-- around a workload only where it is asked for, since many keys of one call may share it.
-- Of what happened around, the newest of each outcome of each workload decides; the others, of a
-- workload that is changed all the time, would push workloads out of sight.
SELECT
    coalesce(h.version, 0) AS version,
    r.labels,
    h.oscillation_window_minutes,
    h.pattern_min_occurrences,
    h.effectiveness_threshold,
    (
        SELECT json_agg(recent.columns)
        FROM (
            VALUES ('allow', true), ('allow', false), ('deny', true), ('deny', false)
        ) AS sort (verdict, changes_capacity)
        CROSS JOIN LATERAL (
            SELECT
                json_build_array(
                    t.action_id, t.version, t.action_timestamp, t.operation, t.subresource,
                    t.resource_uid, t.old_resource_version, t.old_generation, t.actor,
                    t.action_type, t.verdict, t.execution_status, t.resource_state_before,
                    t.resource_state_after, t.action_parameters -> 'changes',
                    t.change_fingerprint, t.request_fingerprint, t.request_uid, t.alert_name,
                    t.correlation_id,
                    CASE WHEN
                        t.effectiveness_score IS NOT NULL
                        OR t.effectiveness_criteria IS NOT NULL
                        OR t.follow_up_actions IS NOT NULL
                        OR t.execution_error IS NOT NULL
                        OR t.decision ?| '{warnings,approval,contention,outage}'
                        OR t.decision -> 'objections' <> '[]'
                    THEN json_build_array(
                        t.effectiveness_score, t.effectiveness_criteria -> 'alert_resolved',
                        t.follow_up_actions, t.execution_error, t.decision -> 'warnings',
                        jsonb_path_query_array(t.decision, '$.objections[*].suggests'),
                        t.decision -> 'approval', t.decision ?| '{contention,outage}'
                    ) END
                ) AS columns
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
                d.pattern_evidence -> 'summary' AS summary,
                d.pattern_evidence -> 'action_type' AS action_type,
                d.pattern_evidence -> 'touched' AS touched,
                d.prevention_details -> 'strategy' AS strategy,
                d.bound_actor
            FROM (
                SELECT own.id
                FROM oscillation_detections AS own
                WHERE own.resource_id = r.id
                    AND NOT own.resolved
                    AND own.until > (SELECT :now::timestamptz)
                UNION
                SELECT bound.id
                FROM oscillation_detections AS bound
                JOIN resource_references AS place ON place.id = bound.resource_id
                WHERE bound.bound_actor = asked.actor
                    AND NOT bound.resolved
                    AND bound.until > (SELECT :now::timestamptz)
                    AND place.cluster = asked.cluster
                    AND place.namespace = asked.namespace
            ) AS binding
            JOIN oscillation_detections AS d ON d.id = binding.id
            JOIN oscillation_patterns AS p ON p.id = d.pattern_id
        ) AS open
    ) AS detections,
    (
        SELECT json_agg(past)
        FROM (
            SELECT d.pattern_id, d.detected_at, d.until
            FROM oscillation_detections AS d
            WHERE d.resource_id = r.id
                AND d.detected_at >= (SELECT :since::timestamptz)
                AND d.prevention_applied
                AND d.mode = 'enforce'
                AND (d.resolved OR d.until <= (SELECT :now::timestamptz))
            ORDER BY d.detected_at DESC
            LIMIT :coolings_at_most::bigint
        ) AS past
    ) AS coolings,
    (
        SELECT json_agg(live ORDER BY live.id)
        FROM (
            SELECT e.id, e.digest, e.state, e.expires_at, e.decided_by, e.reserved_by
            FROM action_escalations AS e
            WHERE e.resource_id = r.id
                AND e.state IN ('open', 'approved')
                AND e.expires_at > (SELECT :now::timestamptz)
        ) AS live
    ) AS escalations,
    CASE WHEN asked.looks_around THEN (
        SELECT
            json_build_array(
                greatest(
                    CASE WHEN count(*) FILTER (WHERE around.is_own) >= :nearby_at_most::bigint
                        THEN min(around.action_timestamp) FILTER (WHERE around.is_own)
                    END,
                    CASE WHEN count(*) FILTER (WHERE NOT around.is_own) >= :nearby_at_most::bigint
                        THEN min(around.action_timestamp) FILTER (WHERE NOT around.is_own)
                    END
                ),
                json_agg(
                    json_build_array(
                        around.kind, around.name, around.action_id, around.action_timestamp,
                        around.actor, around.action_type, around.execution_status,
                        around.execution_error, around.alert_resolved
                    )
                ) FILTER (WHERE around.age_rank = 1)
            )
        FROM (
            SELECT
                t.kind, t.name, t.action_id, t.action_timestamp, t.actor, t.action_type,
                t.execution_status, t.execution_error, t.alert_resolved, t.is_own,
                row_number() OVER (
                    PARTITION BY
                        t.action_history_id, t.is_own, t.execution_status,
                        t.execution_error LIKE 'not-persisted%', t.alert_resolved
                    ORDER BY t.action_timestamp DESC
                ) AS age_rank
            FROM (
                (
                    SELECT
                        t.action_history_id, t.kind, t.name, t.action_id, t.action_timestamp,
                        t.actor, t.action_type, t.execution_status, t.execution_error,
                        t.effectiveness_criteria -> 'alert_resolved' AS alert_resolved,
                        true AS is_own
                    FROM resource_action_traces AS t
                    WHERE t.cluster = asked.cluster
                        AND t.namespace = asked.namespace
                        AND t.actor = asked.actor
                        AND t.verdict = 'allow'
                        AND t.action_type NOT IN ('create_workload', 'update_metadata')
                        AND t.action_timestamp >= (SELECT :nearby_since::timestamptz)
                    ORDER BY t.action_timestamp DESC
                    LIMIT :nearby_at_most::bigint
                )
                UNION ALL
                (
                    SELECT
                        t.action_history_id, t.kind, t.name, t.action_id, t.action_timestamp,
                        t.actor, t.action_type, t.execution_status, t.execution_error,
                        t.effectiveness_criteria -> 'alert_resolved' AS alert_resolved,
                        false AS is_own
                    FROM resource_action_traces AS t
                    WHERE t.cluster = asked.cluster
                        AND t.namespace = asked.namespace
                        AND t.correlation_id = asked.correlation_id
                        AND t.actor <> asked.actor
                        AND t.verdict = 'allow'
                        AND t.action_type NOT IN ('create_workload', 'update_metadata')
                        AND t.action_timestamp >= (SELECT :nearby_since::timestamptz)
                    ORDER BY t.action_timestamp DESC
                    LIMIT :nearby_at_most::bigint
                )
            ) AS t
        ) AS around
    ) END AS nearby
FROM (
    SELECT
        key.cluster, key.namespace, key.kind, key.name, key.actor, key.correlation_id,
        key.looks_around, key.ordinal
    FROM unnest(
        :clusters::text[], :namespaces::text[], :kinds::text[], :names::text[],
        :actors::text[], :correlation_ids::text[], :look_around::boolean[]
    ) WITH ORDINALITY AS key (
        cluster, namespace, kind, name, actor, correlation_id, looks_around, ordinal
    )
    LIMIT :count::bigint
) AS asked
LEFT JOIN resource_references AS r
    ON r.cluster = asked.cluster
    AND r.namespace = asked.namespace
    AND r.kind = asked.kind
    AND r.name = asked.name
LEFT JOIN action_histories AS h ON h.resource_id = r.id
ORDER BY asked.ordinal
