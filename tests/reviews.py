"""AdmissionReviews made by hand: for bad input, and for series of changes on one workload."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

Body = dict[str, Any]

AGENT = "system:serviceaccount:ai-agents:scaler"
_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
_UIDS = count(1)


def make_body(
    kind: str = "Deployment", *, namespace: str = "shop", name: str = "web", replicas: Any = 5
) -> Body:
    """Return a small Deployment or StatefulSet; `replicas=None` leaves them out."""
    labels = {"app": "web"}
    spec: Body = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "web:1.0", "resources": {}}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": "5a7e9a3c-0000-4000-8000-000000000001",
            "resourceVersion": "100",
            "generation": 1,
            "labels": dict(labels),
        },
        "spec": spec,
    }


def make_scale(body: Body) -> Body:
    """Return the Scale of a workload: no labels, annotations or generation."""
    metadata = {name: body["metadata"][name] for name in ("namespace", "name", "uid")}
    metadata["resourceVersion"] = body["metadata"]["resourceVersion"]
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": metadata,
        "spec": {"replicas": body["spec"]["replicas"]} if body["spec"]["replicas"] else {},
        "status": {"replicas": body["spec"]["replicas"], "selector": "app=web"},
    }


def make_review(
    old: Body | None,
    new: Body | None,
    *,
    operation: str = "UPDATE",
    subresource: str = "",
    user: str = AGENT,
    dry_run: bool = False,
    uid: str | None = None,
) -> Body:
    """Return a review with a fresh uid, in the order of fields that the API server uses."""
    body = new or old or {}
    metadata = body.get("metadata", {})
    kind = "Deployment" if subresource else body.get("kind", "Deployment")
    request: Body = {
        "uid": uid or next_uid(),
        "kind": {"group": "apps", "version": "v1", "kind": kind},
        "resource": {"group": "apps", "version": "v1", "resource": _PLURALS.get(kind, "pods")},
        "name": metadata.get("name", ""),
        "namespace": metadata.get("namespace", ""),
        "operation": operation,
        "userInfo": {"username": user, "groups": ["system:authenticated"]},
        "object": new,
        "oldObject": old,
        "dryRun": dry_run,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": f"{operation.title()}Options"},
    }
    if subresource:
        request["subResource"] = subresource
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def next_uid() -> str:
    """Return a request uid that was not used before."""
    return str(UUID(int=next(_UIDS)))


@dataclass
class StoredWorkload:
    """A workload as the API server keeps it: what took effect is what the next review shows."""

    body: Body = field(default_factory=make_body)
    subresource: str = ""

    @property
    def replicas(self) -> Any:
        """Return the replicas that are stored now."""
        return self.body["spec"].get("replicas")

    def edit(self, change: Callable[[Body], object], **options: Any) -> Body:
        """Return the review of a change of the object, made in place on a copy."""
        new = copy.deepcopy(self.body)
        change(new)
        new["metadata"]["generation"] += new["spec"] != self.body["spec"]
        return make_review(copy.deepcopy(self.body), new, **options)

    def scale(self, replicas: Any, **options: Any) -> Body:
        """Return the review of a change of replicas, on the object or on `/scale`."""
        if self.subresource != "scale":
            return self.edit(lambda new: new["spec"].update(replicas=replicas), **options)
        old, new = make_scale(self.body), make_scale(self.body)
        new["spec"]["replicas"] = replicas
        review = make_review(old, new, subresource="scale", **options)
        review["request"]["resource"]["resource"] = _PLURALS[self.body["kind"]]
        return review

    def persist(self, review: Body) -> None:
        """Store what a review asked for."""
        new = review["request"]["object"]
        metadata = self.body["metadata"]
        version = str(int(metadata["resourceVersion"]) + 1)
        if self.subresource == "scale":
            self.body["spec"]["replicas"] = new["spec"]["replicas"]
            metadata["generation"] += 1
        else:
            self.body = copy.deepcopy(new)
        self.body["metadata"]["resourceVersion"] = version
