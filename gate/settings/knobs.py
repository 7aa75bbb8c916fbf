"""Every knob, with its unit, its default and what it is for."""

import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from gate.domain.actor import AgentRules
from gate.domain.pattern import Mode
from gate.domain.policy import FailureMode
from gate.domain.seal import MINIMUM_KEY_BYTES
from gate.errors import SettingsError

PREFIX = "GATE_"
CONFIG_FILE = "GATE_CONFIG_FILE"
DELIMITER = "__"

_POSTGRES_SCHEME = re.compile(r"postgres(ql)?://")
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")
_PORTS = re.compile(r"[0-9]+(,[0-9]+)*")


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [value]
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("should be one value or a JSON list") from error


_List = NoDecode, BeforeValidator(_split)
Glob = Annotated[str, Field(min_length=1)]
Globs = Annotated[tuple[Glob, ...], *_List]
Port = Annotated[int, Field(ge=0, le=65535)]


class Agents(BaseModel):
    """Who is an AI agent; `*` in a glob matches any run of characters, colons included."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    users: Globs = ("system:serviceaccount:ai-agents:*",)
    """Globs of user names. Default: every service account of namespace `ai-agents`."""

    groups: Globs = ()
    """Globs of group names. Default: none."""

    extra: Mapping[str, Globs] = Field(default_factory=dict)
    """Globs of values by key of the caller's `extra`, for agents that borrow an identity. Default:
    none."""

    @model_validator(mode="after")
    def _names_somebody(self) -> "Agents":
        if not (self.users or self.groups or any(self.extra.values())):
            raise ValueError("should name at least one user, group or extra glob")
        return self

    def as_rules(self) -> AgentRules:
        """Return the globs as the rules that recognise agents."""
        return AgentRules(
            users=self.users,
            groups=self.groups,
            extra=tuple((key, glob) for key, globs in self.extra.items() for glob in globs),
        )


class Settings(BaseSettings):
    """What every command needs: the database, and how much to say."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        hide_input_in_errors=True,
    )

    dsn: SecretStr | None = None
    """PostgreSQL, as a URL such as `postgresql://gate@db.example:5432/gate`. Secret. No default:
    only `gate dev` brings a database of its own."""

    statement_cache_size: int = Field(default=100, ge=0, le=10_000)
    """Prepared statements kept per connection. Default 100; 0 for a pooler in transaction mode that
    does not know prepared statements (PgBouncer before 1.21)."""

    cluster: str | None = Field(default=None, min_length=1, max_length=253)
    """What sets this cluster's workloads apart in a database shared by several. Default: the UID of
    namespace kube-system, which no two clusters share; `gate history` looks at all clusters."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events that are logged. Default info: one line per admission."""

    @field_validator("dsn")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_postgres_url(value.get_secret_value()):
            raise ValueError("should be a URL such as postgresql://user@host:5432/database")
        return value

    def require_dsn(self) -> str:
        """Return the database's URL; raises SettingsError where none is set."""
        if self.dsn is None:
            raise SettingsError(
                "GATE_DSN is not set: set it to the PostgreSQL URL that gate uses, such as"
                " postgresql://user@host:5432/database"
            )
        return self.dsn.get_secret_value()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the command line first, then the environment, then the YAML file."""
        file = YamlConfigSettingsSource(settings_cls, yaml_file=os.environ.get(CONFIG_FILE))
        return init_settings, env_settings, file


class AdmissionSettings(Settings):
    """How admissions are decided, in a cluster and in `gate dev` alike."""

    mode: Mode = Mode.ENFORCE
    """`enforce` refuses, `audit` only says what would have been refused. Default enforce; a
    pattern's own mode wins."""

    failure_mode: FailureMode = FailureMode.OPEN
    """What happens to a change that gate cannot decide or record. Default open: admitted with a
    warning; closed: refused with the reason. What is known to be refused stays refused either
    way."""

    agents: Agents = Field(default_factory=Agents)
    """Whose changes are governed; must be the same as in the webhook's matchConditions."""

    admission_pool_size: int = Field(default=10, ge=1, le=200)
    """Most database connections for admissions. Default 10: more only queue at the disk."""

    general_pool_size: int = Field(default=2, ge=1, le=50)
    """Most database connections for everything else, so that a report never starves admissions.
    Default 2."""

    policy_file: FilePath | None = None
    """YAML file of patterns, modes and agents; followed when it changes. What it names wins over
    the settings. Default: none; the rows of the database hold."""

    patterns_refresh_seconds: float = Field(default=15, ge=1, le=300)
    """Seconds after which patterns and modes are read from the database again. Default 15, so that
    an edit of the policy file holds everywhere within 30."""

    partitions_months_ahead: int = Field(default=3, ge=1, le=24)
    """Months for which partitions of traces are made ahead. Default 3, so that an alarm at 35 days
    leaves time; traces beyond the last one cannot be recorded."""

    spool_dir: Path | None = None
    """A directory of this replica's own, where traces wait for a database that is away; made where
    it is missing. On a volume that outlives the pod, they outlive it too. Default: none, and traces
    of an outage are lost, which a metric counts."""

    spool_max_mib: int = Field(default=64, ge=1, le=65_536)
    """Most MiB in `spool_dir`; beyond that, traces of an outage are lost. Default 64: some 20 000
    traces."""

    spool_max_age_hours: float = Field(default=168, ge=1, le=720)
    """Hours for which a trace waits in `spool_dir` before it is given up. Default 168: decisions
    read no further back than 7 days."""

    outcomes: bool = True
    """Whether the leader watches Deployments and StatefulSets of the cluster to tell what became of
    admitted changes. Default true; without it, what later reviews show has to do."""

    lease_seconds: float = Field(default=15, ge=3, le=300)
    """Seconds after which another replica takes over what only one has to do, once the one that did
    it is gone. Default 15; it is renewed three times as often."""

    drain_seconds: float = Field(default=10, ge=0, le=300)
    """Seconds for which reviews are still answered after SIGTERM. Default 10: about as long as a
    cluster may go on sending them. Keep terminationGracePeriodSeconds above it."""

    @property
    def patterns_refresh(self) -> timedelta:
        """Return how old the patterns may be."""
        return timedelta(seconds=self.patterns_refresh_seconds)

    @property
    def spool_bytes(self) -> int:
        """Return how large the spool may become."""
        return self.spool_max_mib * 1024 * 1024

    @property
    def spool_max_age(self) -> timedelta:
        """Return how long a trace may wait in the spool."""
        return timedelta(hours=self.spool_max_age_hours)

    @property
    def lease(self) -> timedelta:
        """Return for how long a lease is taken."""
        return timedelta(seconds=self.lease_seconds)

    @property
    def drain(self) -> timedelta:
        """Return for how long reviews are still answered after SIGTERM."""
        return timedelta(seconds=self.drain_seconds)


class ServeSettings(AdmissionSettings):
    """What a replica serves with."""

    listen_host: str = "0.0.0.0"  # noqa: S104 - in a pod, the API server comes from outside
    """The address reviews arrive at. Default: all IPv4 addresses of the pod."""

    listen_port: Port = 10250
    """The TCP port reviews arrive at. Default 10250: private GKE clusters let it through without
    another firewall rule. 0 takes any free port."""

    probe_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside
    """The address of /healthz, /readyz and /metrics. Default: all IPv4 addresses of the pod."""

    probe_port: Port = 8080
    """The TCP port of /healthz, /readyz and /metrics, in plain HTTP. Default 8080. 0 takes any free
    port."""

    tls_cert_file: FilePath
    """PEM file of the serving certificate with its chain; followed when it changes."""

    tls_key_file: FilePath
    """PEM file of the key that fits `tls_cert_file`; followed when it changes."""

    token_files: Annotated[tuple[FilePath, ...], Field(min_length=1), *_List]
    """Files with the unguessable path segments the API server may use, one a line; all of them are
    accepted, so that they can be rotated. Followed when they change."""

    seal_key_file: FilePath
    """File of the key under which secret values are sealed: its bytes as they are, at least 32. The
    same for all replicas and for ever: another key makes equal values look different."""

    kubeconfig: FilePath | None = None
    """How to reach the cluster, for its UID where `cluster` is not set and to watch what becomes of
    changes. Default: the pod's own service account."""

    @field_validator("seal_key_file")
    @classmethod
    def _is_long_enough(cls, path: Path) -> Path:
        if len(_read_bytes(path)) < MINIMUM_KEY_BYTES:
            raise ValueError(f"should hold a key of at least {MINIMUM_KEY_BYTES} bytes")
        return path

    def read_seal_key(self) -> bytes:
        """Return the key under which values are sealed."""
        return _read_bytes(self.seal_key_file)


def _is_postgres_url(text: str) -> bool:
    if not _POSTGRES_SCHEME.match(text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2].split(",")
    ports = [",".join(values) for name, values in parse_qs(parts.query).items() if name == "port"]
    return all(map(_HOST.fullmatch, hosts)) and all(map(_PORTS.fullmatch, ports))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
