-- name: read_policy
-- All that decides in one statement, so that no review sees half of a change; oldest pattern first,
-- so that every replica judges in one order. Without any pattern there is still the row of the modes.
SELECT
    s.id IS NOT NULL AS has_modes, s.mode AS modes_mode, s.failure_mode AS modes_failure_mode,
    s.namespaces AS modes_namespaces,
    p.id, p.pattern_type, p.pattern_name, p.min_occurrences, p.time_window_minutes,
    p.threshold_config, p.resource_types, p.namespaces, p.label_selectors, p.prevention_strategy,
    p.prevention_parameters, p.mode
FROM (VALUES (1)) AS one (id)
LEFT JOIN policy_settings AS s ON s.id = one.id
LEFT JOIN oscillation_patterns AS p ON p.active
ORDER BY p.id
