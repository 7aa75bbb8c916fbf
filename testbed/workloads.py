"""The little shop that demo and tests act on, and the agent that may write to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.controlplane import ControlPlane

SHOP: Final = "shop"
PAYMENTS: Final = "payments"
AGENTS: Final = "ai-agents"
ACCOUNT: Final = "scaler"
_SHOP: Final = {"web": 5, "api": 1, "search": 1}
_PAYMENTS: Final = ("cart", "checkout", "invoices", "ledger")
_DATABASE_REPLICAS: Final = 2
_PATIENCE: Final = 2  # seconds after which a rollout that stands still has failed


async def prepare_agent(plane: ControlPlane) -> Path:
    """Create the agent and its rights; return its kubeconfig."""
    await _apply(plane, _agent())
    return await plane.kubeconfig_for_service_account(AGENTS, ACCOUNT)


async def prepare_shop(plane: ControlPlane) -> None:
    """Create a shop and its payments."""
    service: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db", "namespace": SHOP},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}},
    }
    await _apply(
        plane,
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PAYMENTS}},
            service,
            workload("StatefulSet", "db", replicas=_DATABASE_REPLICAS),
            *(workload("Deployment", name, replicas=count) for name, count in _SHOP.items()),
            *(workload("Deployment", n, replicas=1, namespace=PAYMENTS) for n in _PAYMENTS),
        ],
    )


def list_shop() -> list[tuple[str, str]]:
    """Return namespace and name of what `prepare_shop` makes, as kubectl takes it."""
    return [
        (SHOP, "statefulset/db"),
        *((SHOP, f"deployment/{name}") for name in _SHOP),
        *((PAYMENTS, f"deployment/{name}") for name in _PAYMENTS),
    ]


async def lose_patience(plane: ControlPlane) -> None:
    """Have rollouts of payments count as failed soon; only once those at the start are complete."""
    patch = json.dumps({"spec": {"progressDeadlineSeconds": _PATIENCE}})
    for name in _PAYMENTS:
        await plane.kubectl("-n", PAYMENTS, "patch", "deployment", name, "--patch", patch)


async def _apply(plane: ControlPlane, objects: list[dict[str, object]]) -> None:
    listing = {"apiVersion": "v1", "kind": "List", "items": objects}
    await plane.kubectl("apply", "--filename=-", stdin=json.dumps(listing))


def workload(
    kind: str, name: str, *, replicas: int = 5, namespace: str = SHOP
) -> dict[str, object]:
    """Return the manifest of a workload with one container."""
    spec: dict[str, object] = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": name, "image": f"registry.example/{name}:1"}]},
        },
    }
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _agent() -> list[dict[str, object]]:
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": AGENTS}},
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": AGENTS},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": ACCOUNT},
            "rules": [
                {
                    "apiGroups": ["apps"],
                    "resources": ["deployments", "statefulsets"],
                    "verbs": [
                        "get",
                        "list",
                        "create",
                        "patch",
                        "update",
                        "delete",
                        "deletecollection",
                    ],
                },
                {
                    "apiGroups": ["apps"],
                    "resources": ["deployments/scale", "statefulsets/scale"],
                    "verbs": ["get", "patch", "update"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": ACCOUNT,
            },
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": AGENTS}],
        },
    ]
