-- name: apply_policy
-- Touches only rows that differ, and only the columns that a file declares. A pattern of the same
-- name and another type is left as it is, for what it detected would be judged by other rules.
WITH wanted AS (
    SELECT w.*
    FROM jsonb_to_recordset(:patterns::jsonb) AS w (
        pattern_name text, pattern_type text, description text, min_occurrences integer,
        time_window_minutes integer, threshold_config jsonb, resource_types text[],
        namespaces text[], label_selectors jsonb, prevention_strategy text,
        prevention_parameters jsonb, mode text, alerting_enabled boolean, alert_severity text,
        alert_channels text[]
    )
),
modes_before AS (
    SELECT s.mode, s.failure_mode, s.namespaces, s.declared_digest
    FROM policy_settings AS s
),
different AS (
    SELECT
        w.*,
        p.id IS NULL AS is_new,
        p.pattern_type <> w.pattern_type AS is_other_type,
        to_jsonb(p) AS before
    FROM wanted AS w
    LEFT JOIN oscillation_patterns AS p ON p.pattern_name = w.pattern_name
    WHERE p.id IS NULL OR NOT p.active OR p.pattern_type <> w.pattern_type
        OR (
            p.description, p.min_occurrences, p.time_window_minutes, p.threshold_config,
            p.resource_types, p.namespaces, p.label_selectors, p.prevention_strategy,
            p.prevention_parameters, p.mode, p.alerting_enabled, p.alert_severity, p.alert_channels
        ) IS DISTINCT FROM (
            w.description, w.min_occurrences, w.time_window_minutes, w.threshold_config,
            w.resource_types, w.namespaces, w.label_selectors, w.prevention_strategy,
            w.prevention_parameters, w.mode, w.alerting_enabled, w.alert_severity, w.alert_channels
        )
),
written AS (
    INSERT INTO oscillation_patterns AS p (
        pattern_name, pattern_type, description, min_occurrences, time_window_minutes,
        threshold_config, resource_types, namespaces, label_selectors, prevention_strategy,
        prevention_parameters, mode, alerting_enabled, alert_severity, alert_channels
    )
    SELECT
        d.pattern_name, d.pattern_type, d.description, d.min_occurrences, d.time_window_minutes,
        d.threshold_config, d.resource_types, d.namespaces, d.label_selectors,
        d.prevention_strategy, d.prevention_parameters, d.mode, d.alerting_enabled,
        d.alert_severity, d.alert_channels
    FROM different AS d
    WHERE d.is_other_type IS NOT TRUE
    ORDER BY d.pattern_name
    ON CONFLICT (pattern_name) DO UPDATE SET
        description = excluded.description,
        min_occurrences = excluded.min_occurrences,
        time_window_minutes = excluded.time_window_minutes,
        threshold_config = excluded.threshold_config,
        resource_types = excluded.resource_types,
        namespaces = excluded.namespaces,
        label_selectors = excluded.label_selectors,
        prevention_strategy = excluded.prevention_strategy,
        prevention_parameters = excluded.prevention_parameters,
        mode = excluded.mode,
        alerting_enabled = excluded.alerting_enabled,
        alert_severity = excluded.alert_severity,
        alert_channels = excluded.alert_channels,
        active = true,
        updated_at = now()
    WHERE p.pattern_type = excluded.pattern_type
    RETURNING p.pattern_name
),
retired AS (
    UPDATE oscillation_patterns AS p
    SET active = false, updated_at = now()
    WHERE p.active
        AND p.pattern_name <> ALL (:spared::text[])
        AND NOT EXISTS (SELECT FROM wanted AS w WHERE w.pattern_name = p.pattern_name)
    RETURNING p.pattern_name
),
modes AS (
    INSERT INTO policy_settings AS s (id, mode, failure_mode, namespaces, declared_digest)
    SELECT 1, :mode::text, :failure_mode::text, :mode_namespaces::jsonb, :digest::text
    WHERE NOT EXISTS (
        SELECT FROM modes_before AS b
        WHERE (b.mode, b.failure_mode, b.namespaces, b.declared_digest) IS NOT DISTINCT FROM
            (:mode::text, :failure_mode::text, :mode_namespaces::jsonb, :digest::text)
    )
    ON CONFLICT (id) DO UPDATE SET
        mode = excluded.mode,
        failure_mode = excluded.failure_mode,
        namespaces = excluded.namespaces,
        declared_digest = excluded.declared_digest,
        updated_at = now()
    RETURNING s.id
)
SELECT
    d.pattern_name AS name,
    CASE WHEN d.is_other_type THEN 'kept' WHEN d.is_new THEN 'added' ELSE 'changed' END AS fate,
    d.before,
    to_jsonb(d) - 'before' - 'is_new' - 'is_other_type' || '{"active": true}' AS after,
    (SELECT b.declared_digest FROM modes_before AS b) AS earlier_digest
FROM different AS d
UNION ALL
SELECT
    r.pattern_name, 'retired', '{"active": true}', '{"active": false}',
    (SELECT b.declared_digest FROM modes_before AS b)
FROM retired AS r
UNION ALL
SELECT
    '', CASE WHEN EXISTS (SELECT FROM modes_before) THEN 'changed' ELSE 'added' END,
    (SELECT to_jsonb(b) - 'declared_digest' FROM modes_before AS b),
    jsonb_build_object(
        'mode', :mode::text, 'failure_mode', :failure_mode::text,
        'namespaces', :mode_namespaces::jsonb
    ),
    (SELECT b.declared_digest FROM modes_before AS b)
FROM modes AS m
ORDER BY 1
