-- name: list_pattern_rows
-- Patterns for people, with their statistics; those that are looked for come first.
SELECT
    p.id, p.pattern_type, p.pattern_name, p.description, p.min_occurrences, p.time_window_minutes,
    p.threshold_config, p.resource_types, p.namespaces, p.label_selectors, p.prevention_strategy,
    p.prevention_parameters, p.mode, p.alerting_enabled, p.alert_severity, p.alert_channels,
    p.total_detections, p.prevention_success_rate, p.false_positive_rate, p.last_detection_at,
    p.active, p.created_at, p.updated_at
FROM oscillation_patterns AS p
ORDER BY p.active DESC, p.id
