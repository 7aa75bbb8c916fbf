"""Entries of audit logs made by hand, and what a replay makes of them."""

import copy
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from gate.domain.actor import AgentRules
from gate.domain.policy import Policy
from gate.policy.file import parse_policy
from gate.replay.entry import read_line
from gate.replay.memory import Memory
from gate.replay.row import Row
from gate.replay.run import Replay
from tests.reviews import AGENT, make_body, make_scale

CAPTURED = Path(__file__).with_name("captured.jsonl")
START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
AGENTS = AgentRules(users=("system:serviceaccount:ai-agents:*",))
HUMAN = "engineer@shop.example"

Entry = dict[str, Any]
_NUMBERS = count(1)


def at(minute: float) -> str:
    """Return the instant so many minutes after the start, as logs have it."""
    return (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_event(
    *,
    minute: float = 0,
    verb: str = "patch",
    user: str = AGENT,
    name: str | None = "web",
    namespace: str = "shop",
    resource: str = "deployments",
    subresource: str | None = None,
    request: object = None,
    response: object = None,
    code: int = 200,
    query: str = "",
    **others: object,
) -> Entry:
    """Return an event of audit.k8s.io/v1."""
    reference = {
        "resource": resource,
        "namespace": namespace,
        "name": name,
        "apiGroup": "apps",
        "apiVersion": "v1",
        "subresource": subresource,
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/{resource}/{name}"
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": f"audit-{next(_NUMBERS)}",
        "stage": "ResponseComplete",
        "requestURI": path + (f"?{query}" if query else ""),
        "verb": verb,
        "user": {"username": user, "groups": ["system:authenticated"]},
        "objectRef": {key: value for key, value in reference.items() if value is not None},
        "responseStatus": {"metadata": {}, "code": code},
        "requestObject": request,
        "responseObject": response,
        "requestReceivedTimestamp": at(minute),
        "stageTimestamp": at(minute),
        **others,
    }


def make_entry(
    *,
    minute: float = 0,
    method: str = "deployments.patch",
    resource_name: str = "apps/v1/namespaces/shop/deployments/web",
    user: str = AGENT,
    request: object = None,
    response: object = None,
    code: int = 0,
) -> Entry:
    """Return an entry of Google Cloud's audit logs."""
    payload = {
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "serviceName": "k8s.io",
        "methodName": f"io.k8s.apps.v1.{method}",
        "resourceName": resource_name,
        "authenticationInfo": {"principalEmail": user},
        "status": {"code": code} if code else {},
        "request": request,
        "response": response,
    }
    return {"insertId": f"id-{next(_NUMBERS)}", "timestamp": at(minute), "protoPayload": payload}


class LoggedWorkload:
    """A workload whose changes are written to an audit log as the API server would."""

    def __init__(self, **given: Any) -> None:
        self.body = make_body(**given)
        self.entries: list[Entry] = []

    def patch(self, replicas: int, *, minute: float, **others: Any) -> Entry:
        """Set replicas by a patch of the object."""
        self._set(replicas)
        request = {"spec": {"replicas": replicas}}
        return self._write(minute=minute, request=request, response=self.body, **others)

    def scale(self, replicas: int, *, minute: float, **others: Any) -> Entry:
        """Set replicas through `/scale`."""
        self._set(replicas)
        request = {"spec": {"replicas": replicas}}
        response = make_scale(self.body)
        return self._write(
            minute=minute, subresource="scale", request=request, response=response, **others
        )

    def create(self, *, minute: float, user: str = HUMAN) -> Entry:
        """Create the workload."""
        return self._write(
            minute=minute,
            verb="create",
            user=user,
            code=201,
            request=self.body,
            response=self.body,
        )

    def _set(self, replicas: int) -> None:
        self.body["spec"]["replicas"] = replicas
        metadata = self.body["metadata"]
        metadata["generation"] += 1
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    def _write(self, **given: Any) -> Entry:
        plurals = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
        metadata = self.body["metadata"]
        given = {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "resource": plurals[self.body["kind"]],
            **given,
        }
        entry = make_event(**copy.deepcopy(given))
        self.entries.append(entry)
        return entry


def swing(
    *replicas: int, every: float = 10, start: float = 0, user: str = AGENT, **given: Any
) -> list[Entry]:
    """Return the entries of a workload of 5 replicas that is set to others, one after another."""
    workload = LoggedWorkload(**given)
    workload.create(minute=start - 60)
    for number, wanted in enumerate(replicas):
        workload.patch(wanted, minute=start + every * number, user=user)
    return workload.entries


def default_policy(text: str = "{}") -> Policy:
    """Return what a policy file declares, or the policy that holds without one."""
    return parse_policy(text.encode(), source="test").as_policy()


def replay(
    entries: Iterable[Entry],
    *policies: Policy,
    agents: AgentRules = AGENTS,
    strip: tuple[str, ...] = (),
    memory: Memory | None = None,
) -> tuple[Replay, list[tuple[Row, ...]]]:
    """Replay entries in their order; `strip` names what the log's level leaves out."""
    replayed = Replay(policies or (default_policy(),), agents)
    if memory is not None:
        replayed.memories = (memory,)
    rows = []
    for entry in entries:
        kept = {name: value for name, value in entry.items() if name not in strip}
        for call in read_line(orjson.dumps(kept)):
            rows += [decided.rows for decided in replayed.take(call)]
    return replayed, rows


def rows_of(entries: Iterable[Entry], **given: Any) -> list[Row]:
    """Return the rows of the first policy."""
    return [rows[0] for rows in replay(entries, **given)[1]]


def read_captured() -> list[Entry]:
    """Return what a real API server wrote."""
    return [json.loads(line) for line in CAPTURED.read_text(encoding="utf-8").splitlines()]
