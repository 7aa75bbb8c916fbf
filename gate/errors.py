"""The failures gate can meet; a refused change is a value, never one of these."""


class GateError(Exception):
    """Anything gate cannot do, with a message meant for a person."""


class SettingsError(GateError):
    """A setting is unknown, missing or impossible; the message names it."""


class StorageUnavailableError(GateError):
    """PostgreSQL did not answer in time, or not at all."""


class SchemaNotCurrentError(GateError):
    """The database has not been migrated to the schema this release needs."""


class MissingPartitionError(GateError):
    """No partition exists for the month of a trace; the message names the month."""


class EmbeddedServerError(GateError):
    """The embedded PostgreSQL could not be prepared or started."""


class ClusterError(GateError):
    """The Kubernetes API refused or did not answer a request of gate's own."""


class CertificateError(GateError):
    """Certificate material is missing, unreadable or does not fit together."""
