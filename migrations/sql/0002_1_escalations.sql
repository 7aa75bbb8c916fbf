-- What a person is asked, and what was answered. It outlives the traces that it is about.
CREATE TABLE action_escalations (
    id uuid PRIMARY KEY,
    resource_id bigint NOT NULL REFERENCES resource_references (id),
    pattern_id bigint REFERENCES oscillation_patterns (id) ON DELETE SET NULL,
    action_id uuid NOT NULL,
    digest text NOT NULL,
    actor text NOT NULL,
    change jsonb NOT NULL,
    summary text NOT NULL,

    state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'approved', 'denied', 'expired', 'consumed')),
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > requested_at),
    decided_by text,
    decided_at timestamptz,
    reason text,
    reserved_by uuid,
    reserved_at timestamptz,
    consumed_at timestamptz,

    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT who_asks_does_not_decide CHECK (decided_by <> actor),
    CONSTRAINT an_answer_has_an_author CHECK (
        state NOT IN ('approved', 'denied', 'consumed')
        OR (decided_by IS NOT NULL AND decided_at IS NOT NULL)
    )
);

COMMENT ON COLUMN action_escalations.action_id IS 'of the refused trace that asked';
COMMENT ON COLUMN action_escalations.digest IS 'of the exact change, its actor and the policy: an approval holds for these';
COMMENT ON COLUMN action_escalations.reserved_by IS 'action_id of the trace that the approval let through; consumed when that took effect';

-- Those that decisions read, and those that may have to expire, are few.
CREATE INDEX action_escalations_live
    ON action_escalations (resource_id) WHERE state IN ('open', 'approved');
CREATE INDEX action_escalations_due
    ON action_escalations (expires_at) WHERE state IN ('open', 'approved');
CREATE INDEX action_escalations_reserved
    ON action_escalations (reserved_by) WHERE state = 'approved' AND reserved_by IS NOT NULL;
CREATE INDEX action_escalations_resource ON action_escalations (resource_id, requested_at);
CREATE INDEX action_escalations_pattern ON action_escalations (pattern_id);

-- What is to be told to somebody, written together with what it tells; delivered at least once.
CREATE TABLE notification_outbox (
    id bigserial PRIMARY KEY,
    dedup_key text NOT NULL UNIQUE,
    kind text NOT NULL,
    channel text,
    escalation_id uuid REFERENCES action_escalations (id) ON DELETE CASCADE,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    available_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    delivered_at timestamptz,
    dead_at timestamptz,
    last_error text
);

COMMENT ON COLUMN notification_outbox.channel IS 'by its configured name; NULL: the one for everything';
COMMENT ON COLUMN notification_outbox.dead_at IS 'when delivery was given up';

CREATE INDEX notification_outbox_pending
    ON notification_outbox (available_at) WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX notification_outbox_escalation ON notification_outbox (escalation_id, channel, id);

ALTER TABLE resource_action_traces
    ADD COLUMN namespace text,
    ADD COLUMN kind text,
    ADD COLUMN name text,
    ADD COLUMN spooled_at timestamptz;

COMMENT ON COLUMN resource_action_traces.namespace IS 'of the workload, as kind and name; NULL in traces of a release that did not write them';
COMMENT ON COLUMN resource_action_traces.spooled_at IS 'when the trace began to wait on the local disk for the database; NULL: it never had to';

-- What an actor, or an incident, admittedly did around a workload. Only what can leave a workload
-- unhealthy is in it, so that no number of label patches has to be read over. Updates touch none of
-- the columns.
CREATE INDEX resource_action_traces_actor
    ON resource_action_traces (cluster, namespace, actor, action_timestamp DESC)
    WHERE verdict = 'allow' AND action_type NOT IN ('create_workload', 'update_metadata');
CREATE INDEX resource_action_traces_correlation
    ON resource_action_traces (cluster, namespace, correlation_id, action_timestamp DESC)
    WHERE correlation_id IS NOT NULL
        AND verdict = 'allow' AND action_type NOT IN ('create_workload', 'update_metadata');

ALTER TABLE oscillation_detections ADD COLUMN bound_actor text;

COMMENT ON COLUMN oscillation_detections.bound_actor IS 'set where it binds that actor in the whole namespace, not the workload alone';

-- The open ones that bind an actor are few; their namespaces are looked up.
CREATE INDEX oscillation_detections_bound_actor
    ON oscillation_detections (bound_actor, until) WHERE NOT resolved AND bound_actor IS NOT NULL;
