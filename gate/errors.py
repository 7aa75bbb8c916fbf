"""The failures gate can meet; a refused change is a value, never one of these."""

from collections.abc import Sequence


class GateError(Exception):
    """Anything gate cannot do, with a message meant for a person."""


class SettingsError(GateError):
    """A setting is unknown, missing or impossible; the message names it."""


class StorageUnavailableError(GateError):
    """PostgreSQL did not answer in time, or not at all."""


class UnusableRecordError(StorageUnavailableError):
    """PostgreSQL answers, but this one record can never be written, or not be understood."""


class BusyHistoryError(GateError):
    """PostgreSQL answers, but others kept changing this history, or are recording to it still."""


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


class PolicyFileError(GateError):
    """The policy file cannot be used; the message names the file, the line and what is allowed.

    `problems` are the single ones, where its content is what is wrong.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
