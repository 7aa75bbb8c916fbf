-- name: list_patterns
-- The patterns that are looked for, oldest first, so that every replica judges in one order.
SELECT
    p.id, p.pattern_type, p.pattern_name, p.min_occurrences, p.time_window_minutes,
    p.threshold_config, p.resource_types, p.namespaces, p.label_selectors, p.prevention_strategy,
    p.prevention_parameters, p.mode
FROM oscillation_patterns AS p
WHERE p.active
ORDER BY p.id
