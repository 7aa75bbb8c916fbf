-- name: release_lease
-- Gives one's own lease back, so that another replica need not wait for its end.
DELETE FROM leader_leases AS l
WHERE l.name = :name::text AND l.holder = :holder::text
