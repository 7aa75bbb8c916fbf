"""A cluster of workloads whose API server writes an audit log, all of it made by hand."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

Body = dict[str, Any]
Event = dict[str, Any]

DAY: Final = datetime(2026, 3, 10, tzinfo=UTC)
AGENTS: Final = "system:serviceaccount:ai-agents:"
SCALER: Final = AGENTS + "scaler"
RIGHTSIZER: Final = AGENTS + "rightsizer"
REMEDIATOR: Final = AGENTS + "remediator"
ENGINEER: Final = "engineer@shop.example"
GITOPS: Final = "system:serviceaccount:argocd:argocd-application-controller"
AUTOSCALER: Final = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
_CONTROLLER: Final = "system:serviceaccount:kube-system:deployment-controller"
_PLURALS: Final = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
_TOOLS: Final = {
    ENGINEER: "kubectl/v1.33.1 (linux/amd64) kubernetes/0000000",
    GITOPS: "argocd-application-controller/v3.0.0",
    AUTOSCALER: "kube-controller-manager/v1.33.1 (linux/amd64) kubernetes/0000000",
    _CONTROLLER: "kube-controller-manager/v1.33.1 (linux/amd64) kubernetes/0000000",
}
ALERT: Final = "ai.prometheus-alerts-slm.io/alert-name"


def at(clock: str) -> datetime:
    """Return an instant of the day, such as 09:20 or 09:20:30.5."""
    hours, minutes, *seconds = clock.split(":")
    return DAY + timedelta(
        hours=int(hours), minutes=int(minutes), seconds=float(seconds[0]) if seconds else 0
    )


@dataclass
class AuditedCluster:
    """Workloads as an API server keeps them, and the events it would write about them."""

    events: list[Event] = field(default_factory=list)
    bodies: dict[tuple[str, str, str], Body] = field(default_factory=dict)
    _version: int = 40_000
    _plans: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    _numbers: random.Random = field(
        default_factory=lambda: random.Random(1)  # noqa: S311 - not for secrets
    )

    def plan(
        self, act: Callable[..., None], *given: object, when: datetime, **named: object
    ) -> None:
        """Note down what is to happen."""
        self._plans.append((when, partial(act, *given, when=when, **named)))

    def run(self) -> list[Event]:
        """Let everything happen that was noted down, in the order of time."""
        for _, act in sorted(self._plans, key=lambda plan: plan[0]):
            act()
        return sorted(self.events, key=lambda event: str(event["stageTimestamp"]))

    def create(
        self,
        name: str,
        *,
        when: datetime,
        user: str = ENGINEER,
        namespace: str = "shop",
        kind: str = "Deployment",
        replicas: int = 3,
        memory: str = "256Mi",
        padding: int = 0,
    ) -> None:
        """Let a user create a workload."""
        sent = _workload(kind, namespace, name, replicas=replicas, memory=memory, padding=padding)
        body = copy.deepcopy(sent)
        body["metadata"] |= {
            "uid": self._uuid(),
            "generation": 1,
            "creationTimestamp": stamp(when, digits=0),
        }
        self.bodies[namespace, kind, name] = body
        self._bump(body)
        self._write(when, user, "create", body, request=sent, response=body, code=201)

    def patch(
        self,
        name: str,
        change: Body,
        *,
        when: datetime,
        user: str,
        namespace: str = "shop",
        kind: str = "Deployment",
        query: str = "fieldManager=kubectl-patch",
    ) -> None:
        """Let a user patch a workload by a strategic merge."""
        body = self.bodies[namespace, kind, name]
        _merge(body, change)
        body["metadata"]["generation"] += 1
        self._bump(body)
        self._write(when, user, "patch", body, request=change, response=body, query=query)
        if kind == "Deployment":
            self._note_status(when + timedelta(milliseconds=40), body)

    def scale(
        self,
        name: str,
        replicas: int,
        *,
        when: datetime,
        user: str,
        namespace: str = "shop",
        kind: str = "Deployment",
    ) -> None:
        """Let a user set replicas through the scale subresource."""
        body = self.bodies[namespace, kind, name]
        body["spec"]["replicas"] = replicas
        body["metadata"]["generation"] += 1
        self._bump(body)
        metadata = {key: body["metadata"][key] for key in ("name", "namespace", "uid")}
        shown = {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {**metadata, "resourceVersion": body["metadata"]["resourceVersion"]},
            "spec": {"replicas": replicas} if replicas else {},
            "status": {"replicas": replicas, "selector": f"app={name}"},
        }
        request = {"spec": {"replicas": replicas}}
        self._write(when, user, "patch", body, request=request, response=shown, sub="scale")

    def refuse(self, name: str, *, when: datetime, user: str, code: int) -> None:
        """Let the API server refuse a change; nothing happens."""
        body = self.bodies["shop", "Deployment", name]
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        request = {"spec": {"replicas": 50}}
        self._write(when, user, "patch", body, request=request, response=status, code=code)

    def try_out(self, name: str, replicas: int, *, when: datetime, user: str) -> None:
        """Let a user ask what a change would do, as a dry run."""
        body = copy.deepcopy(self.bodies["shop", "Deployment", name])
        body["spec"]["replicas"] = replicas
        request = {"spec": {"replicas": replicas}}
        self._write(when, user, "patch", body, request=request, response=body, query="dryRun=All")

    def read(self, resource: str, *, when: datetime, user: str, namespace: str = "shop") -> None:
        """Let a user list something, which no change is."""
        event = self._event(when, user, "list", f"/api/v1/namespaces/{namespace}/{resource}", 200)
        event["objectRef"] = {"resource": resource, "namespace": namespace, "apiVersion": "v1"}
        self.events.append(event)

    def _note_status(self, when: datetime, body: Body) -> None:
        self._bump(body)
        self._write(when, _CONTROLLER, "update", body, sub="status")

    def _write(
        self,
        when: datetime,
        user: str,
        verb: str,
        body: Body,
        *,
        request: object = None,
        response: object = None,
        code: int = 200,
        sub: str = "",
        query: str = "",
    ) -> None:
        metadata = body["metadata"]
        plural = _PLURALS[body["kind"]]
        uri = f"/apis/apps/v1/namespaces/{metadata['namespace']}/{plural}"
        uri += "" if verb == "create" else f"/{metadata['name']}"
        uri += (f"/{sub}" if sub else "") + (f"?{query}" if query else "")
        event = self._event(when, user, verb, uri, code)
        event["objectRef"] = {
            "resource": plural,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "apiGroup": "apps",
            "apiVersion": "v1",
            **({"subresource": sub} if sub else {}),
        }
        if request is not None:
            event["level"] = "RequestResponse"
            event["requestObject"] = copy.deepcopy(request)
            event["responseObject"] = copy.deepcopy(response)
        self.events.append(event)

    def _event(self, when: datetime, user: str, verb: str, uri: str, code: int) -> Event:
        groups = ["system:authenticated"]
        if user.startswith("system:serviceaccount:"):
            groups = ["system:serviceaccounts", *groups]
        return {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": self._uuid(),
            "stage": "ResponseComplete",
            "requestURI": uri,
            "verb": verb,
            "user": {"username": user, "groups": groups},
            "sourceIPs": ["192.0.2.10"],
            "userAgent": _TOOLS.get(user, "agent/1.0"),
            "responseStatus": {"metadata": {}, "code": code},
            "requestReceivedTimestamp": stamp(when - timedelta(milliseconds=12)),
            "stageTimestamp": stamp(when),
            "annotations": {"authorization.k8s.io/decision": "forbid" if code == 403 else "allow"},
        }

    def _bump(self, body: Body) -> None:
        self._version += self._numbers.randint(1, 9)
        body["metadata"]["resourceVersion"] = str(self._version)

    def _uuid(self) -> str:
        return str(UUID(int=self._numbers.getrandbits(128), version=4))


def _workload(
    kind: str, namespace: str, name: str, *, replicas: int, memory: str, padding: int
) -> Body:
    resources = {
        "requests": {"cpu": "250m", "memory": memory},
        "limits": {"memory": memory},
    }
    container = {"name": name, "image": f"registry.example/{name}:1.0", "resources": resources}
    annotations = {"example.com/notes": "x" * padding} if padding else {}
    spec: Body = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [container], "restartPolicy": "Always"},
        },
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {
        "kind": kind,
        "apiVersion": "apps/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name},
            "annotations": annotations,
        },
        "spec": spec,
    }


def _merge(body: Body, change: Body) -> None:
    """Merge a change into an object; containers are told by their names."""
    for key, value in change.items():
        if key == "containers":
            for item in value:
                held = next(each for each in body[key] if each["name"] == item["name"])
                _merge(held, item)
        elif isinstance(value, dict):
            _merge(body.setdefault(key, {}), value)
        else:
            body[key] = value


def stamp(when: datetime, *, digits: int = 6) -> str:
    """Return an instant as logs have it, with microseconds or without."""
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{when.microsecond:06}Z" if digits else f"{text}Z"
