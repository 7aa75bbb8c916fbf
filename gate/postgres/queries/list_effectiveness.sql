-- name: list_effectiveness
-- The latest figures of each action type by alert and by kind, of the longest period there is; what
-- has no lower bound says nothing about what to do instead. Bounded, so that a table that has grown
-- never fills the memory of a replica.
SELECT DISTINCT ON (m.scope_type, m.scope_value, m.action_type)
    m.scope_type, m.scope_value, m.action_type, m.average_score, m.confidence_interval_lower,
    m.sample_size
FROM action_effectiveness_metrics AS m
WHERE m.scope_type IN ('alert-type', 'resource-type')
    AND m.confidence_interval_lower IS NOT NULL
    AND m.average_score IS NOT NULL
    AND m.period_end > now() - interval '90 days'
ORDER BY
    m.scope_type, m.scope_value, m.action_type,
    array_position(ARRAY['30d', '7d', '24h', '1h'], m.metric_period), m.period_end DESC
LIMIT 20000
