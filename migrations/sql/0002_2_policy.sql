-- What the policy file says beside its patterns. One row at most; none where no file was ever given.
CREATE TABLE policy_settings (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    mode text CHECK (mode IN ('enforce', 'audit')),
    failure_mode text CHECK (failure_mode IN ('open', 'closed')),
    namespaces jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(namespaces) = 'array'),
    declared_digest text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN policy_settings.mode IS 'NULL: the setting of each replica holds';
COMMENT ON COLUMN policy_settings.failure_mode IS 'NULL: the setting of each replica holds';
COMMENT ON COLUMN policy_settings.namespaces IS 'match, mode and failure_mode; the first that matches and says it wins';
COMMENT ON COLUMN policy_settings.declared_digest IS 'of the file that the rows were last made equal to; rows that differ from it since were edited';
