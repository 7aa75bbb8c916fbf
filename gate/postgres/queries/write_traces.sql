-- name: write_traces
-- Writes each item whose history is still at the version it was decided on, and returns the
-- ordinals of those; a workload comes at most once. next_version is the version after the write,
-- 0 for a trace that is written in any case and leaves the version as it is.
-- Rows are locked in the order of the keys, so that replicas never wait for each other in a circle.
-- Every later part selects from `won`: parts of one statement do not see each other's effects, and
-- an item that lost must leave nothing behind.
WITH given AS MATERIALIZED (
    SELECT
        item.ordinal, item.cluster, item.namespace, item.kind, item.name, item.next_version,
        item.seen_at, item.resource_uid, item.presence, item.labels, item.trace, item.spooled_at,
        item.detections, item.escalation, item.reserves, item.repeated_id, item.repeated_at,
        item.resource_version
    FROM unnest(
        :clusters::text[], :namespaces::text[], :kinds::text[], :names::text[],
        :next_versions::bigint[], :seen_at::timestamptz[], :resource_uids::text[],
        :presences::text[], :labels::jsonb[], :traces::jsonb[], :spooled_at::timestamptz[],
        :detections::jsonb[], :escalations::jsonb[], :reserves::uuid[],
        :repeated_ids::uuid[], :repeated_at::timestamptz[], :resource_versions::text[]
    ) WITH ORDINALITY AS item (
        cluster, namespace, kind, name,
        next_version, seen_at, resource_uid,
        presence, labels, trace, spooled_at,
        detections, escalation, reserves,
        repeated_id, repeated_at, resource_version, ordinal
    )
    -- Cuts nothing off: it keeps one plan for all calls, as in read_histories.
    LIMIT :count::bigint
),
known AS (
    SELECT given.ordinal, r.id AS resource_id, h.id AS action_history_id
    FROM given
    JOIN resource_references AS r
        ON r.cluster = given.cluster
        AND r.namespace = given.namespace
        AND r.kind = given.kind
        AND r.name = given.name
    LEFT JOIN action_histories AS h ON h.resource_id = r.id
),
-- Where another replica makes the same row first, nothing is returned: that item has lost.
born AS (
    INSERT INTO resource_references (
        cluster, namespace, kind, name, resource_uid, labels, last_seen, deleted_at
    )
    SELECT
        given.cluster, given.namespace, given.kind, given.name, given.resource_uid, given.labels,
        given.seen_at, CASE WHEN given.presence = 'deleted' THEN given.seen_at END
    FROM given
    WHERE given.next_version IN (0, 1)
        AND NOT EXISTS (SELECT FROM known WHERE known.ordinal = given.ordinal)
    ORDER BY given.cluster, given.namespace, given.kind, given.name
    ON CONFLICT (cluster, namespace, kind, name) DO NOTHING
    RETURNING id, cluster, namespace, kind, name
),
-- An approval that ended meanwhile lets nothing through; whoever ends one moves the version too, so
-- that what was decided before has lost in any case. What waited on the disk was let through already,
-- and is recorded all the same.
targets AS (
    SELECT given.ordinal, coalesce(known.resource_id, born.id) AS resource_id
    FROM given
    LEFT JOIN known ON known.ordinal = given.ordinal
    LEFT JOIN born
        ON born.cluster = given.cluster
        AND born.namespace = given.namespace
        AND born.kind = given.kind
        AND born.name = given.name
    WHERE coalesce(known.resource_id, born.id) IS NOT NULL
        AND (known.action_history_id IS NOT NULL OR given.next_version IN (0, 1))
        AND (
            given.reserves IS NULL
            OR given.spooled_at IS NOT NULL
            OR EXISTS (
                SELECT FROM action_escalations AS e
                WHERE e.id = given.reserves
                    AND e.resource_id = known.resource_id
                    AND e.state = 'approved'
                    AND e.expires_at > given.seen_at
            )
        )
),
moved AS (
    INSERT INTO action_histories AS h (resource_id, version, total_actions, last_action_at)
    SELECT
        targets.resource_id, given.next_version, (given.trace IS NOT NULL)::integer,
        CASE WHEN given.trace IS NOT NULL THEN given.seen_at END
    FROM targets
    JOIN given ON given.ordinal = targets.ordinal
    ORDER BY given.cluster, given.namespace, given.kind, given.name
    ON CONFLICT (resource_id) DO UPDATE SET
        version = greatest(h.version, excluded.version),
        total_actions = h.total_actions + excluded.total_actions,
        last_action_at = greatest(h.last_action_at, excluded.last_action_at),
        updated_at = now()
    WHERE excluded.version IN (0, h.version + 1)
    RETURNING h.id, h.resource_id, h.version
),
won AS (
    SELECT
        given.ordinal, moved.resource_id, moved.id AS action_history_id, moved.version,
        given.cluster, given.namespace, given.kind, given.name, given.seen_at, given.resource_uid,
        given.presence, given.labels, given.trace, given.spooled_at, given.detections,
        given.escalation, given.reserves, given.repeated_id, given.repeated_at,
        given.resource_version
    FROM moved
    JOIN targets ON targets.resource_id = moved.resource_id
    JOIN given ON given.ordinal = targets.ordinal
),
refreshed AS (
    UPDATE resource_references AS r SET
        resource_uid = coalesce(won.resource_uid, r.resource_uid),
        labels = coalesce(won.labels, r.labels),
        last_seen = greatest(r.last_seen, won.seen_at),
        deleted_at = CASE won.presence
            WHEN 'deleted' THEN won.seen_at
            WHEN 'unknown' THEN r.deleted_at
        END
    FROM won
    WHERE r.id = won.resource_id
        AND (won.spooled_at IS NULL OR won.seen_at >= r.last_seen)
),
recorded AS (
    INSERT INTO resource_action_traces (
        action_history_id, version, action_id, correlation_id, action_timestamp, cluster,
        namespace, kind, name, resource_uid, actor, actor_rule, actor_certainty, alert_name, alert_severity, model_used,
        model_confidence, model_reasoning, operation, subresource, action_type, action_parameters,
        resource_state_before, resource_state_after, changes_capacity, change_fingerprint,
        request_uid, request_fingerprint, old_resource_version, old_generation, verdict, mode,
        decision, execution_status, kubernetes_operations, spooled_at
    )
    SELECT
        won.action_history_id, won.version, t.action_id, t.correlation_id, t.action_timestamp,
        won.cluster, won.namespace, won.kind, won.name, t.resource_uid, t.actor, t.actor_rule, t.actor_certainty, t.alert_name,
        t.alert_severity, t.model_used, t.model_confidence, t.model_reasoning, t.operation,
        t.subresource, t.action_type, t.action_parameters, t.resource_state_before,
        t.resource_state_after, t.changes_capacity, t.change_fingerprint, t.request_uid,
        t.request_fingerprint, t.old_resource_version, t.old_generation, t.verdict, t.mode,
        t.decision, t.execution_status, t.kubernetes_operations, won.spooled_at
    FROM won
    CROSS JOIN LATERAL jsonb_populate_record(NULL::resource_action_traces, won.trace) AS t
    WHERE won.trace IS NOT NULL
),
repeated AS (
    UPDATE resource_action_traces AS t SET
        attempts = t.attempts + 1,
        old_resource_version = coalesce(won.resource_version, t.old_resource_version),
        updated_at = now()
    FROM won
    WHERE t.action_id = won.repeated_id
        AND t.action_timestamp = won.repeated_at
        AND t.action_history_id = won.action_history_id
),
-- A pattern deleted since it was read takes its detections with it.
opened AS (
    INSERT INTO oscillation_detections (
        pattern_id, resource_id, detected_at, until, mode, severity, confidence, action_count,
        time_span_minutes, matching_actions, pattern_evidence, prevention_applied,
        prevention_action, prevention_details, bound_actor
    )
    SELECT
        p.id, won.resource_id, d.detected_at, d.until, d.mode, d.severity, d.confidence,
        d.action_count, d.time_span_minutes, d.matching_actions, d.pattern_evidence,
        d.prevention_applied, d.prevention_action, d.prevention_details, d.bound_actor
    FROM won
    CROSS JOIN LATERAL jsonb_populate_recordset(
        NULL::oscillation_detections, won.detections -> 'opens'
    ) AS d
    JOIN oscillation_patterns AS p ON p.id = d.pattern_id
),
-- Detections that a refusal is now applied for, and those whose promise has run out.
followed AS (
    UPDATE oscillation_detections AS d SET
        prevention_applied = d.prevention_applied OR d.until > won.seen_at,
        prevention_action = CASE
            WHEN d.until > won.seen_at THEN 'blocked'
            ELSE d.prevention_action
        END,
        resolved = d.until <= won.seen_at,
        resolved_at = CASE WHEN d.until <= won.seen_at THEN d.until END,
        resolution_method = CASE WHEN d.until <= won.seen_at THEN 'timeout' END
    FROM won
    WHERE d.resource_id = won.resource_id
        AND NOT d.resolved
        AND (d.until <= won.seen_at OR won.detections -> 'enforces' @> to_jsonb(d.id))
),
asked AS (
    INSERT INTO action_escalations (
        id, resource_id, pattern_id, action_id, digest, actor, change, summary, requested_at,
        expires_at
    )
    SELECT
        e.id, won.resource_id, p.id, e.action_id, e.digest, e.actor, e.change, e.summary,
        e.requested_at, e.expires_at
    FROM won
    CROSS JOIN LATERAL jsonb_populate_record(NULL::action_escalations, won.escalation) AS e
    LEFT JOIN oscillation_patterns AS p ON p.id = e.pattern_id
    WHERE won.escalation IS NOT NULL
    RETURNING id, resource_id, pattern_id
),
-- One entry for each of the pattern's channels; without any, one for the channel of everything.
notified AS (
    INSERT INTO notification_outbox (dedup_key, kind, channel, escalation_id, payload)
    SELECT
        concat_ws('/', 'escalation.opened', asked.id, channel.name), 'escalation.opened',
        channel.name, asked.id,
        won.escalation || jsonb_build_object(
            'cluster', won.cluster, 'namespace', won.namespace, 'kind', won.kind,
            'name', won.name, 'pattern', p.pattern_name, 'severity', p.alert_severity
        )
    FROM asked
    JOIN won ON won.resource_id = asked.resource_id
    LEFT JOIN oscillation_patterns AS p ON p.id = asked.pattern_id
    LEFT JOIN LATERAL (
        SELECT DISTINCT given_channel AS name FROM unnest(p.alert_channels) AS given_channel
    ) AS channel ON true
),
reserved AS (
    UPDATE action_escalations AS e SET
        reserved_by = (won.trace ->> 'action_id')::uuid,
        reserved_at = won.seen_at,
        updated_at = now()
    FROM won
    WHERE e.id = won.reserves
        AND e.resource_id = won.resource_id
        AND e.state = 'approved'
        AND e.expires_at > won.seen_at
        AND (e.reserved_by IS NULL OR won.spooled_at IS NULL)
)
SELECT won.ordinal
FROM won
ORDER BY won.ordinal
