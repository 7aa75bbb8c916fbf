-- name: list_cooldowns
-- What enforced detections refuse now, those that end first before others; an empty cluster or
-- namespace means any. One that was only warned about binds reductions as well.
SELECT
    d.id, d.until, r.cluster, r.namespace, r.kind, r.name, d.bound_actor, p.pattern_name,
    p.pattern_type, p.mode AS pattern_mode, d.pattern_evidence ->> 'kind' AS evidence_kind,
    d.pattern_evidence -> 'fields' AS fields, d.pattern_evidence ->> 'action_type' AS action_type,
    d.prevention_applied, d.prevention_details ->> 'strategy' AS strategy,
    d.pattern_evidence ->> 'summary' AS summary, d.detected_at
FROM oscillation_detections AS d
JOIN oscillation_patterns AS p ON p.id = d.pattern_id
JOIN resource_references AS r ON r.id = d.resource_id
WHERE NOT d.resolved
    AND d.until > :now::timestamptz
    AND d.mode = 'enforce'
    AND p.active
    AND (:cluster::text = '' OR r.cluster = :cluster::text)
    AND (:namespace::text = '' OR r.namespace = :namespace::text)
ORDER BY d.until, d.id
LIMIT :at_most::bigint
