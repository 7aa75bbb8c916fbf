-- name: read_policy
-- All that decides in one statement, so that no review sees half of a change; oldest pattern first,
-- so that every replica judges in one order. Without any pattern there is still the row of the modes.
-- Of many patterns only the first are read, with some names of the others: each is a cost to every
-- decision.
SELECT
    s.id IS NOT NULL AS has_modes, s.mode AS modes_mode, s.failure_mode AS modes_failure_mode,
    s.namespaces AS modes_namespaces,
    p.id, p.pattern_type, p.pattern_name, p.min_occurrences, p.time_window_minutes,
    p.threshold_config, p.resource_types, p.namespaces, p.label_selectors, p.prevention_strategy,
    p.prevention_parameters, p.mode,
    (SELECT count(*) FROM oscillation_patterns AS a WHERE a.active) AS active_patterns,
    ARRAY(
        SELECT a.pattern_name
        FROM oscillation_patterns AS a
        WHERE a.active
        ORDER BY a.id
        OFFSET :most_patterns::bigint
        LIMIT :names_shown::bigint
    ) AS left_out
FROM (VALUES (1)) AS one (id)
LEFT JOIN policy_settings AS s ON s.id = one.id
LEFT JOIN (
    SELECT
        a.id, a.pattern_type, a.pattern_name, a.min_occurrences, a.time_window_minutes,
        a.threshold_config, a.resource_types, a.namespaces, a.label_selectors,
        a.prevention_strategy, a.prevention_parameters, a.mode
    FROM oscillation_patterns AS a
    WHERE a.active
    ORDER BY a.id
    LIMIT :most_patterns::bigint
) AS p ON true
ORDER BY p.id
