-- name: list_open_detections
-- The enforced promises of a cluster, for the time when the database is away; those that last
-- longest first, so that what is cut off ends soonest.
SELECT
    d.id, d.pattern_id, p.pattern_type, d.until, d.mode, d.prevention_applied, d.bound_actor,
    d.pattern_evidence ->> 'kind' AS evidence_kind,
    d.pattern_evidence -> 'fields' AS fields,
    d.pattern_evidence ->> 'summary' AS summary,
    d.pattern_evidence ->> 'action_type' AS action_type,
    d.pattern_evidence -> 'touched' AS touched,
    d.prevention_details ->> 'strategy' AS strategy,
    r.cluster, r.namespace, r.kind, r.name
FROM oscillation_detections AS d
JOIN oscillation_patterns AS p ON p.id = d.pattern_id
JOIN resource_references AS r ON r.id = d.resource_id
WHERE NOT d.resolved
    AND d.until > :now::timestamptz
    AND d.mode = 'enforce'
    AND r.cluster = :cluster::text
ORDER BY d.until DESC
LIMIT :at_most::bigint
