-- name: find_detection
-- One detection with all that it was decided on, for people.
SELECT
    d.id, d.detected_at, d.until, r.cluster, r.namespace, r.kind, r.name, p.pattern_name,
    p.pattern_type, d.pattern_evidence ->> 'kind' AS evidence_kind, d.bound_actor, d.mode,
    d.severity, d.confidence, d.action_count, d.time_span_minutes, d.prevention_applied,
    d.prevention_action, d.prevention_details, d.prevention_successful, d.resolved, d.resolved_at,
    d.resolution_method, d.resolution_notes, d.matching_actions, d.pattern_evidence
FROM oscillation_detections AS d
JOIN oscillation_patterns AS p ON p.id = d.pattern_id
JOIN resource_references AS r ON r.id = d.resource_id
WHERE d.id = :id::bigint
