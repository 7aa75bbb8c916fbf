-- name: claim_lease
-- Takes a lease that is free or one's own, until so long from now; no row where another holds it.
INSERT INTO leader_leases AS l (name, holder, expires_at)
VALUES (:name::text, :holder::text, now() + :length::interval)
ON CONFLICT (name) DO UPDATE SET
    holder = excluded.holder,
    expires_at = excluded.expires_at
WHERE l.holder = excluded.holder OR l.expires_at <= now()
RETURNING l.expires_at
