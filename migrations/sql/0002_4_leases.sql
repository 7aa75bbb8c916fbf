-- Who does what only one replica has to do, by the clock of the database alone.
CREATE TABLE leader_leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    expires_at timestamptz NOT NULL
);

COMMENT ON COLUMN leader_leases.name IS 'database, or watch/ and a cluster';
