-- name: ensure_partition
-- Makes the partition of the month a day lies in; its name where it is new, else NULL.
SELECT gate_ensure_partition(:day::date) AS made
