CREATE TABLE action_effectiveness_metrics (
    id bigserial PRIMARY KEY,
    scope_type text NOT NULL
        CHECK (scope_type IN ('global', 'namespace', 'resource-type', 'alert-type', 'model')),
    scope_value text NOT NULL DEFAULT '',
    metric_period text NOT NULL CHECK (metric_period IN ('1h', '24h', '7d', '30d')),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL CHECK (period_end > period_start),

    action_type text NOT NULL,
    sample_size integer NOT NULL CHECK (sample_size >= 0),
    unassessed_count integer NOT NULL DEFAULT 0 CHECK (unassessed_count >= 0),
    average_score numeric(4, 3),
    median_score numeric(4, 3),
    std_deviation numeric(4, 3),
    confidence_interval_lower numeric(4, 3),
    confidence_interval_upper numeric(4, 3),

    trend_direction text CHECK (trend_direction IN ('improving', 'stable', 'declining')),
    trend_confidence numeric(4, 3),

    min_sample_size_met boolean,
    statistical_significance numeric(4, 3),
    significance_details jsonb,

    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (scope_type, scope_value, metric_period, period_start, action_type)
);

COMMENT ON COLUMN action_effectiveness_metrics.unassessed_count IS 'changes of the period without a score; they are not in sample_size';
COMMENT ON COLUMN action_effectiveness_metrics.average_score IS 'NULL where nothing was assessed, never 0';
COMMENT ON COLUMN action_effectiveness_metrics.statistical_significance IS 'the p-value; test, n, effect and correction are in significance_details';

CREATE INDEX action_effectiveness_metrics_period
    ON action_effectiveness_metrics (period_start, period_end);

-- The log outlives its subject.
CREATE TABLE retention_operations (
    id bigserial PRIMARY KEY,
    action_history_id bigint REFERENCES action_histories (id) ON DELETE SET NULL,
    workload text NOT NULL,

    operation_type text NOT NULL CHECK (operation_type IN ('cleanup', 'archive', 'compact')),
    strategy_used text NOT NULL
        CHECK (strategy_used IN ('oldest-first', 'effectiveness-based', 'pattern-aware')),

    records_before integer NOT NULL,
    records_after integer NOT NULL,
    records_deleted integer NOT NULL,
    records_archived integer,

    retention_criteria jsonb,
    preserved_criteria jsonb,

    operation_start timestamptz NOT NULL,
    operation_end timestamptz,
    operation_duration_ms integer,
    operation_status text NOT NULL DEFAULT 'running'
        CHECK (operation_status IN ('running', 'completed', 'failed')),
    error_message text,

    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN retention_operations.workload IS 'cluster/namespace/kind/name, kept when the history is gone';

CREATE INDEX retention_operations_history ON retention_operations (action_history_id);
CREATE INDEX retention_operations_start ON retention_operations (operation_start);
