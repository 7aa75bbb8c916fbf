"""What is known of every workload at one moment of the past, in bounded memory."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson

from gate.domain.canonical import encode
from gate.domain.request import Body, metadata_of
from gate.domain.workload import WorkloadKey

_KEPT_AT_MOST = 128 * 1024 * 1024  # bytes of objects
_LEFT_OUT = ("managedFields", "selfLink")
# Its controller writes it after every change of the template; it is no part of the next one.
_CONTROLLERS_OWN = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one workload.

    `body` is the object as of `at`, with everything in it only where `is_whole`; `writer` is who
    last changed its replicas, by the log.
    """

    body: Body = field(default_factory=dict)
    is_whole: bool = False
    exists: bool = True
    writer: str | None = None
    at: datetime | None = None

    @property
    def replicas(self) -> int | None:
        """Return the replicas, None where they are not known."""
        spec = self.body.get("spec")
        value = spec.get("replicas") if isinstance(spec, dict) else None
        if isinstance(value, int):
            return value
        return 1 if self.is_whole else None

    @property
    def version(self) -> int | None:
        """Return the resourceVersion as a number, None where it is not known or none."""
        return version_of(self.body)


class WorkloadStates:
    """Keeps what is known; the workloads that were not changed for longest are forgotten first."""

    def __init__(self, *, at_most: int = _KEPT_AT_MOST) -> None:
        self.forgotten = 0
        self._at_most = at_most
        self._size = 0
        self._kept: OrderedDict[WorkloadKey, tuple[bytes, Known]] = OrderedDict()

    def find(self, key: WorkloadKey) -> Known | None:
        """Return what is known of a workload, None where it was never seen."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        raw, known = kept
        return replace(known, body=orjson.loads(raw))

    def keep(self, key: WorkloadKey, known: Known) -> None:
        """Replace what is known of a workload."""
        raw = encode(_trim(known.body))
        replaced = self._kept.pop(key, None)
        self._size += len(raw) - (len(replaced[0]) if replaced else 0)
        self._kept[key] = raw, replace(known, body={})
        while self._size > self._at_most and len(self._kept) > 1:
            _, (oldest, _) = self._kept.popitem(last=False)
            self._size -= len(oldest)
            self.forgotten += 1

    def list_existing(self, namespace: str, kind: str) -> list[WorkloadKey]:
        """Return the workloads of one kind in a namespace that are known to exist."""
        return [
            key
            for key, (_, known) in self._kept.items()
            if key.namespace == namespace and key.kind == kind and known.exists
        ]


def version_of(body: Body) -> int | None:
    """Return an object's resourceVersion as a number, None where it has none."""
    version = metadata_of(body).get("resourceVersion")
    if not isinstance(version, str) or len(version) > 19:
        return None
    return int(version) if version.isascii() and version.isdecimal() else None


def _trim(body: Body) -> Mapping[str, object]:
    """Return an object without what nothing is decided by."""
    kept = {name: value for name, value in body.items() if name != "status"}
    metadata = metadata_of(body)
    if metadata:
        kept["metadata"] = {
            name: value for name, value in metadata.items() if name not in _LEFT_OUT
        }
    return kept


def without_marks(body: Body) -> Body:
    """Return an object without what its controller notes on it."""
    metadata = metadata_of(body)
    annotations = metadata.get("annotations")
    if not isinstance(annotations, dict) or _CONTROLLERS_OWN not in annotations:
        return body
    kept = {name: value for name, value in annotations.items() if name != _CONTROLLERS_OWN}
    return {**body, "metadata": {**metadata, "annotations": kept}}
