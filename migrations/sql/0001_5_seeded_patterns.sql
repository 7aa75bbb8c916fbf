INSERT INTO oscillation_patterns (
    pattern_type, pattern_name, description, min_occurrences, time_window_minutes,
    threshold_config, resource_types, prevention_strategy, prevention_parameters
) VALUES
(
    'scale-oscillation', 'scale-oscillation',
    'Replicas go up and down, or an agent is undone by somebody else again and again.',
    3, 120,
    '{"dead_absolute": 1, "dead_relative": 0.1, "on_increase": "warn", "increase_cap": 2.0}',
    '{Deployment,StatefulSet}', 'cooling-period',
    '{"cooling_period_minutes": 30, "escalate_after": 3}'
),
(
    'resource-thrashing', 'resource-thrashing',
    'Requests or limits of a container go up and down, or replicas and resources in turn.',
    3, 90,
    '{"dead_absolute_cpu": "50m", "dead_absolute_memory": "32Mi", "dead_relative": 0.1,
      "on_increase": "warn", "increase_cap": 2.0}',
    '{Deployment,StatefulSet}', 'alternative-action',
    '{"cooling_period_minutes": 30}'
),
(
    'ineffective-loop', 'ineffective-loop',
    'The same kind of change again and again, although it does not help.',
    3, 180,
    '{"effectiveness_threshold": 0.3, "alert_occurrences": 5, "alert_window_minutes": 240,
      "identical_occurrences": 3, "identical_window_minutes": 60, "ratchet_factor": 4,
      "ratchet_factor_unassessed": 8, "ratchet_replicas": false, "churn_occurrences": 10,
      "churn_window_minutes": 60, "churn_mode": "audit"}',
    '{Deployment,StatefulSet}', 'escalate-human',
    '{"cooling_period_minutes": 30}'
),
(
    'cascading-failure', 'cascading-failure',
    'One agent moves on through a namespace and leaves unhealthy workloads behind.',
    3, 60,
    '{"unhealthy_workloads": 2}',
    '{Deployment,StatefulSet}', 'block-action',
    '{"block_minutes": 60}'
);
