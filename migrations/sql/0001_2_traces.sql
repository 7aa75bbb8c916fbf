-- One row for each change an agent asked for. Partitions are monthly and made ahead by gate; there is
-- no DEFAULT partition, since a row in it would block the making of its month.
CREATE TABLE resource_action_traces (
    id bigserial NOT NULL,
    -- A history is not deleted while it has traces: retention prunes them first, and on purpose.
    action_history_id bigint NOT NULL REFERENCES action_histories (id),
    version bigint NOT NULL,

    action_id uuid NOT NULL,
    correlation_id text,

    action_timestamp timestamptz NOT NULL,
    execution_start_time timestamptz,
    execution_end_time timestamptz,
    execution_duration_ms integer,

    cluster text NOT NULL,
    resource_uid text,
    actor text NOT NULL,
    actor_rule text NOT NULL,
    actor_certainty text NOT NULL CHECK (actor_certainty IN ('proven', 'delegated', 'asserted')),

    alert_name text,
    alert_severity text CHECK (alert_severity IN ('info', 'warning', 'critical')),
    alert_labels jsonb,
    alert_annotations jsonb,
    alert_firing_time timestamptz,

    model_used text,
    routing_tier text,
    model_confidence numeric(4, 3) CHECK (model_confidence BETWEEN 0 AND 1),
    model_reasoning text,
    alternative_actions jsonb,

    operation text NOT NULL CHECK (operation IN ('CREATE', 'UPDATE', 'DELETE')),
    subresource text NOT NULL DEFAULT '',
    action_type text NOT NULL,
    action_parameters jsonb NOT NULL,
    resource_state_before jsonb,
    resource_state_after jsonb,
    changes_capacity boolean NOT NULL,
    change_fingerprint text NOT NULL,

    request_uid text NOT NULL,
    request_fingerprint text NOT NULL,
    old_resource_version text,
    old_generation bigint,
    attempts integer NOT NULL DEFAULT 1 CHECK (attempts > 0),

    verdict text NOT NULL CHECK (verdict IN ('allow', 'deny')),
    mode text NOT NULL CHECK (mode IN ('enforce', 'audit')),
    decision jsonb NOT NULL,

    execution_status text NOT NULL DEFAULT 'pending' CHECK (
        execution_status IN
        ('pending', 'executing', 'completed', 'failed', 'rolled-back', 'blocked')
    ),
    execution_error text,
    kubernetes_operations jsonb,

    effectiveness_score numeric(4, 3) CHECK (effectiveness_score BETWEEN 0 AND 1),
    effectiveness_criteria jsonb,
    effectiveness_assessed_at timestamptz,
    effectiveness_assessment_method text
        CHECK (effectiveness_assessment_method IN ('automated', 'manual', 'ml-derived')),
    effectiveness_notes text,
    follow_up_actions jsonb,

    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),

    PRIMARY KEY (action_id, action_timestamp),
    -- The id is a UUIDv7, whose first 48 bits are milliseconds since 1970. With this the pair is
    -- unique exactly when the id is, and a look-up by id reads one partition.
    CONSTRAINT action_timestamp_is_in_action_id CHECK (
        extract(epoch FROM action_timestamp - timestamptz '1970-01-01 00:00:00+00') * 1000
        = ('x' || left(replace(action_id::text, '-', ''), 12))::bit(48)::bigint
    )
) PARTITION BY RANGE (action_timestamp);

COMMENT ON COLUMN resource_action_traces.version IS 'of the history after this trace; a trace in spite of contention shares its predecessor''s';
COMMENT ON COLUMN resource_action_traces.changes_capacity IS 'replicas or resources are among what changes, as in every creation and deletion';
COMMENT ON COLUMN resource_action_traces.attempts IS 'how often the API server asked about this one request';
COMMENT ON COLUMN resource_action_traces.execution_status IS 'what became of the change; blocked: it was refused';

-- The four ranges that a decision reads (the newest admitted and refused ones, of capacity and of
-- anything else), and the check that keeps a history with traces. Updates touch none of its columns.
CREATE INDEX resource_action_traces_history
    ON resource_action_traces (action_history_id, verdict, changes_capacity, action_timestamp DESC);
CREATE INDEX resource_action_traces_time ON resource_action_traces USING brin (action_timestamp);

-- Makes the partition of the month that a day lies in, in UTC. Returns its name, NULL if it exists.
-- Attaching a table of its own, rather than creating a partition in place, keeps readers going.
CREATE FUNCTION gate_ensure_partition(day date) RETURNS text
LANGUAGE plpgsql
SET lock_timeout = '5s'
AS $$
DECLARE
    first_day timestamp := date_trunc('month', day::timestamp);
    partition_name text := 'resource_action_traces_y' || to_char(first_day, 'YYYY"m"MM');
BEGIN
    PERFORM pg_advisory_xact_lock(1734440037, 2);
    IF EXISTS (
        SELECT FROM pg_inherits
        JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'resource_action_traces'::regclass
            AND pg_class.relname = partition_name
    ) THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE resource_action_traces INCLUDING DEFAULTS INCLUDING CONSTRAINTS) '
        'WITH (fillfactor = 90)',
        partition_name
    );
    EXECUTE format(
        'ALTER TABLE resource_action_traces ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition_name,
        first_day AT TIME ZONE 'UTC',
        (first_day + interval '1 month') AT TIME ZONE 'UTC'
    );
    RETURN partition_name;
END
$$;
