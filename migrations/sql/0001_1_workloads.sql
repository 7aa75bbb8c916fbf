-- One row for each workload key, through deletion and re-creation.
CREATE TABLE resource_references (
    id bigserial PRIMARY KEY,
    cluster text NOT NULL,
    namespace text NOT NULL DEFAULT '',
    kind text NOT NULL,
    name text NOT NULL,
    api_version text NOT NULL DEFAULT 'apps/v1',
    resource_uid text,
    labels jsonb CHECK (jsonb_typeof(labels) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    last_seen timestamptz NOT NULL DEFAULT now(),
    -- In this order, so that people who name no cluster are served by it too.
    UNIQUE (namespace, kind, name, cluster)
) WITH (fillfactor = 90);

COMMENT ON COLUMN resource_references.resource_uid IS 'of the latest incarnation';
COMMENT ON COLUMN resource_references.labels IS 'as last seen; a Scale carries none';
COMMENT ON COLUMN resource_references.deleted_at IS 'of the last admitted deletion; NULL while the workload exists';

-- Changes only when a workload is made anew, so the frequent updates of last_seen stay HOT.
CREATE INDEX resource_references_uid ON resource_references (resource_uid);

-- Every admission updates its row: nothing that it touches is indexed.
CREATE TABLE action_histories (
    id bigserial PRIMARY KEY,
    resource_id bigint NOT NULL UNIQUE REFERENCES resource_references (id) ON DELETE CASCADE,
    version bigint NOT NULL DEFAULT 0,
    max_actions integer NOT NULL DEFAULT 1000 CHECK (max_actions > 0),
    max_age_days integer NOT NULL DEFAULT 30 CHECK (max_age_days > 0),
    compaction_strategy text NOT NULL DEFAULT 'pattern-aware'
        CHECK (compaction_strategy IN ('oldest-first', 'effectiveness-based', 'pattern-aware')),
    oscillation_window_minutes integer CHECK (oscillation_window_minutes > 0),
    effectiveness_threshold numeric(3, 2) CHECK (effectiveness_threshold BETWEEN 0 AND 1),
    pattern_min_occurrences integer CHECK (pattern_min_occurrences BETWEEN 3 AND 64),
    total_actions integer NOT NULL DEFAULT 0,
    last_action_at timestamptz,
    last_analysis_at timestamptz,
    next_analysis_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 90);

COMMENT ON COLUMN action_histories.version IS 'counts the writes that were decided on this history; each compares and sets it';
COMMENT ON COLUMN action_histories.oscillation_window_minutes IS 'overrides the pattern for this workload; NULL keeps the pattern''s';
COMMENT ON COLUMN action_histories.effectiveness_threshold IS 'overrides the pattern for this workload; NULL keeps the pattern''s';
COMMENT ON COLUMN action_histories.pattern_min_occurrences IS 'overrides the pattern for this workload; NULL keeps the pattern''s';
