-- What the cluster showed of a change once it was there. execution_start_time is set exactly where it
-- was seen, however its rollout ended.
ALTER TABLE resource_action_traces
    ADD COLUMN observed_generation bigint,
    ADD COLUMN observed_state jsonb;

COMMENT ON COLUMN resource_action_traces.execution_start_time IS 'when the change was there; NULL: it was never seen';
COMMENT ON COLUMN resource_action_traces.execution_end_time IS 'when its rollout was over; NULL where nobody saw that, as when another change came before';
COMMENT ON COLUMN resource_action_traces.execution_error IS 'not-persisted, progress-deadline-exceeded or rollout-stalled, a colon, and what was seen';
COMMENT ON COLUMN resource_action_traces.follow_up_actions IS 'a list; type undone: somebody else (by, a field manager) moved values back; reverted: a later trace did';
COMMENT ON COLUMN resource_action_traces.observed_generation IS 'of the object with the change in it';
COMMENT ON COLUMN resource_action_traces.observed_state IS 'the state the object was seen in when the outcome was told';

-- Which detections are in the sums of their patterns. A mark on each row, not the highest id: ids
-- are given before they are committed, so a lower one may appear after a higher one was counted.
ALTER TABLE oscillation_detections ADD COLUMN tallied boolean NOT NULL DEFAULT false;

CREATE INDEX oscillation_detections_untallied ON oscillation_detections (id) WHERE NOT tallied;
