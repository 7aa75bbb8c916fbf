CREATE TABLE oscillation_patterns (
    id bigserial PRIMARY KEY,
    pattern_type text NOT NULL CHECK (
        pattern_type IN
        ('scale-oscillation', 'resource-thrashing', 'ineffective-loop', 'cascading-failure')
    ),
    pattern_name text NOT NULL UNIQUE,
    description text,

    min_occurrences integer NOT NULL DEFAULT 3 CHECK (min_occurrences > 0),
    time_window_minutes integer NOT NULL DEFAULT 120 CHECK (time_window_minutes > 0),
    action_sequence jsonb,
    threshold_config jsonb CHECK (jsonb_typeof(threshold_config) = 'object'),

    resource_types text[],
    namespaces text[],
    label_selectors jsonb CHECK (jsonb_typeof(label_selectors) = 'object'),

    prevention_strategy text NOT NULL CHECK (
        prevention_strategy IN
        ('block-action', 'escalate-human', 'alternative-action', 'cooling-period')
    ),
    prevention_parameters jsonb CHECK (jsonb_typeof(prevention_parameters) = 'object'),
    mode text CHECK (mode IN ('enforce', 'audit')),

    alerting_enabled boolean NOT NULL DEFAULT true,
    alert_severity text NOT NULL DEFAULT 'warning'
        CHECK (alert_severity IN ('info', 'warning', 'critical')),
    alert_channels text[],

    total_detections integer NOT NULL DEFAULT 0,
    prevention_success_rate numeric(4, 3),
    false_positive_rate numeric(4, 3),
    last_detection_at timestamptz,

    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),

    -- One change undone is no loop: a penalty of reversals needs a threshold above 1.
    CONSTRAINT reversals_take_at_least_three_changes CHECK (
        min_occurrences >= 3 OR pattern_type IN ('ineffective-loop', 'cascading-failure')
    )
);

COMMENT ON COLUMN oscillation_patterns.mode IS 'NULL: the one that holds for the namespace or for all';
COMMENT ON COLUMN oscillation_patterns.total_detections IS 'summed by a worker, never on the way of an admission';

CREATE TABLE oscillation_detections (
    id bigserial PRIMARY KEY,
    pattern_id bigint NOT NULL REFERENCES oscillation_patterns (id) ON DELETE CASCADE,
    resource_id bigint NOT NULL REFERENCES resource_references (id) ON DELETE CASCADE,

    detected_at timestamptz NOT NULL DEFAULT now(),
    until timestamptz NOT NULL,
    mode text NOT NULL CHECK (mode IN ('enforce', 'audit')),
    severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    confidence numeric(4, 3) NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    action_count integer NOT NULL,
    time_span_minutes integer NOT NULL,

    matching_actions uuid[] NOT NULL,
    pattern_evidence jsonb NOT NULL,

    prevention_applied boolean NOT NULL DEFAULT false,
    prevention_action text
        CHECK (prevention_action IN ('blocked', 'escalated', 'alternative-suggested')),
    prevention_details jsonb,
    prevention_successful boolean,

    resolved boolean NOT NULL DEFAULT false,
    resolved_at timestamptz,
    resolution_method text
        CHECK (resolution_method IN ('timeout', 'manual-intervention', 'automatic')),
    resolution_notes text,

    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN oscillation_detections.until IS 'what agents are promised: from then on everything is judged afresh';
COMMENT ON COLUMN oscillation_detections.matching_actions IS 'action_id of traces; those may be pruned, the evidence stays';

CREATE INDEX oscillation_detections_open
    ON oscillation_detections (resource_id, until) WHERE NOT resolved;
-- For reports, and so that deleting a pattern or a workload does not read every detection.
CREATE INDEX oscillation_detections_pattern ON oscillation_detections (pattern_id, detected_at);
CREATE INDEX oscillation_detections_resource ON oscillation_detections (resource_id, detected_at);
