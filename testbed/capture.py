"""Records what the API server really sends for every kind of change gate must understand.

`python -m testbed.capture OUT_DIR` writes one AdmissionReview per file, as received.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from testbed.binaries import find_binaries
from testbed.component import ControlPlaneError
from testbed.controlplane import ControlPlane
from testbed.recorder import Recorder, recording_webhook

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

NAMESPACE: Final = "shop"
AGENT: Final = "system:serviceaccount:ai-agents:scaler"
GROUPS: Final = (
    "system:serviceaccounts",
    "system:serviceaccounts:ai-agents",
    "system:authenticated",
)
ARRIVAL_LIMIT: Final = timedelta(seconds=20)
EFFECT_LIMIT: Final = timedelta(seconds=20)


@dataclass(frozen=True)
class Step:
    """One request, and the file its review goes to."""

    name: str
    args: tuple[str, ...]
    operation: str = "UPDATE"
    manifest: dict[str, Any] | None = None
    as_administrator: bool = False


def _workload(kind: str, name: str, **spec: object) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name}
    container = {
        "name": "app",
        "image": f"{name}:1.4.2",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "CACHE_SIZE", "value": "256"}],
        "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            "limits": {"memory": "512Mi"},
        },
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template} | spec,
    }


def _patch(workload: str, patch: dict[str, Any], *flags: str) -> tuple[str, ...]:
    return ("patch", workload, f"--patch={json.dumps(patch)}", *flags)


def _deployment_steps() -> tuple[Step, ...]:
    checkout = _workload("Deployment", "checkout")
    metadata = {"metadata": {"labels": {"team": "payments"}, "annotations": {"note": "reviewed"}}}
    strategy = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    four, five = ({"spec": {"replicas": count}} for count in (4, 5))
    create = ("create", "--filename=-")
    return (
        Step("deployment-create", create, "CREATE", manifest=checkout),
        Step("deployment-update-replicas", _patch("deployment/checkout", five)),
        Step("deployment-no-change", _patch("deployment/checkout", five)),
        Step(
            "deployment-update-image",
            ("set", "image", "deployment/checkout", "app=checkout:1.5.0"),
        ),
        Step(
            "deployment-update-resources",
            ("set", "resources", "deployment/checkout", "--limits=memory=1Gi"),
        ),
        Step("deployment-update-env", ("set", "env", "deployment/checkout", "CACHE_SIZE=512")),
        Step("deployment-restart", ("rollout", "restart", "deployment/checkout")),
        Step(
            "deployment-update-strategy",
            _patch("deployment/checkout", {"spec": {"strategy": strategy}}),
        ),
        Step("deployment-update-metadata", _patch("deployment/checkout", metadata)),
        Step("deployment-scale", ("scale", "deployment/checkout", "--replicas=6")),
        Step(
            "deployment-dry-run",
            _patch("deployment/checkout", four, "--dry-run=server"),
        ),
        Step(
            "deployment-server-side-apply",
            (
                *("apply", "--server-side", "--force-conflicts"),
                *("--field-manager=release-agent", "--filename=-"),
            ),
            manifest=_workload("Deployment", "checkout", replicas=8),
        ),
        Step(
            "deployment-impersonated",
            (
                *_patch("deployment/checkout", four),
                *(f"--as={AGENT}", *(f"--as-group={group}" for group in GROUPS)),
            ),
            as_administrator=True,
        ),
    )


def _statefulset_steps() -> tuple[Step, ...]:
    ledger = _workload("StatefulSet", "ledger", serviceName="ledger")
    return (
        Step("statefulset-create", ("create", "--filename=-"), "CREATE", manifest=ledger),
        Step("statefulset-scale", ("scale", "statefulset/ledger", "--replicas=5")),
        Step(
            "statefulset-update-template",
            ("set", "image", "statefulset/ledger", "app=ledger:1.5.0"),
        ),
    )


def _deletion_steps() -> tuple[Step, ...]:
    collection = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
    return (
        Step("deployment-delete", ("delete", "deployment/checkout"), "DELETE"),
        Step("deployment-deletecollection", ("delete", f"--raw={collection}"), "DELETE"),
        Step("statefulset-delete", ("delete", "statefulset/ledger"), "DELETE"),
    )


class Capture:
    """Performs steps against one control plane and keeps the reviews they cause."""

    def __init__(self, plane: ControlPlane, *, recorder: Recorder, agent: Path) -> None:
        self._plane = plane
        self._recorder = recorder
        self._agent = agent

    async def perform(self, steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
        """Return the review of every step, by name."""
        return {step.name: await self._perform_one(step) for step in steps}

    async def _perform_one(self, step: Step) -> dict[str, Any]:
        self._recorder.received.clear()
        manifest = json.dumps(step.manifest) if step.manifest else None
        await self._plane.kubectl(
            *step.args,
            f"--namespace={NAMESPACE}",
            kubeconfig=None if step.as_administrator else self._agent,
            stdin=manifest,
        )

        def is_wanted(request: dict[str, Any]) -> bool:
            author: str = request["userInfo"]["username"]
            operation: str = request["operation"]
            return author == AGENT and operation == step.operation

        try:
            return await self._recorder.find(is_wanted, limit=ARRIVAL_LIMIT)
        except TimeoutError as late:
            raise ControlPlaneError(f"no review arrived for {step.name}") from late


def webhook_configuration(recorder: Recorder) -> dict[str, Any]:
    """Return a configuration that sends every change of a workload to the recorder."""
    resources = ("deployments", "deployments/scale", "statefulsets", "statefulsets/scale")
    webhook = {
        "name": "recorder.gate.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "NoneOnDryRun",
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": 3,
        "clientConfig": {
            "url": recorder.url,
            "caBundle": base64.b64encode(recorder.certificate).decode(),
        },
        "rules": [
            {
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": list(resources),
                "scope": "Namespaced",
            }
        ],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "recorder"},
        "webhooks": [webhook],
    }


async def capture_reviews(plane: ControlPlane, *, recorder: Recorder) -> dict[str, dict[str, Any]]:
    """Return one review per kind of change, by name, as the API server sent it."""
    agent = await _agent_kubeconfig(plane)
    # What deletecollection finds once the other deployment is gone.
    search = json.dumps(_workload("Deployment", "search"))
    await plane.kubectl("create", "--filename=-", stdin=search)
    configuration = json.dumps(webhook_configuration(recorder))
    await plane.kubectl("create", "--filename=-", stdin=configuration)
    await _await_effect(plane, recorder=recorder)
    capture = Capture(plane, recorder=recorder, agent=agent)
    return await capture.perform((*_deployment_steps(), *_statefulset_steps(), *_deletion_steps()))


async def _agent_kubeconfig(plane: ControlPlane) -> Path:
    """Make a service account that may do everything in one namespace."""
    for namespace in (NAMESPACE, "ai-agents"):
        await plane.kubectl("create", "namespace", namespace)
    await plane.kubectl("create", "serviceaccount", "scaler", "--namespace=ai-agents")
    await plane.kubectl(
        *("create", "rolebinding", "scaler", f"--namespace={NAMESPACE}"),
        *("--clusterrole=admin", "--serviceaccount=ai-agents:scaler"),
    )
    return await plane.kubeconfig_for_service_account("ai-agents", "scaler")


async def _await_effect(plane: ControlPlane, *, recorder: Recorder) -> None:
    """Ask for dry runs until one of them reaches the recorder."""
    probe = json.dumps(_workload("Deployment", "probe"))
    async with asyncio.timeout(EFFECT_LIMIT.total_seconds()):
        while not recorder.received:
            await plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=probe)


async def _capture_into(folder: Path, *, binaries: Path, directory: Path) -> None:
    async with (
        recording_webhook(directory) as recorder,
        ControlPlane(directory, binaries=binaries, workers=True) as plane,
    ):
        reviews = await capture_reviews(plane, recorder=recorder)
        last = recorder.received[-1]
        log.info("the API server asked for %s with the headers %s", last.path, dict(last.headers))
    folder.mkdir(parents=True, exist_ok=True)
    for name, review in reviews.items():
        (folder / f"{name}.json").write_text(json.dumps(review, indent=2) + "\n")
    log.info("wrote %d reviews", len(reviews))


def main() -> None:
    """Write the reviews into the folder named on the command line."""
    logging.basicConfig(level=logging.INFO, format="testbed: %(message)s", stream=sys.stderr)
    if len(sys.argv) != 2:
        sys.exit("usage: python -m testbed.capture OUT_DIR")
    binaries = find_binaries(os.environ)
    with tempfile.TemporaryDirectory(prefix="testbed-") as directory:
        try:
            asyncio.run(
                _capture_into(Path(sys.argv[1]), binaries=binaries, directory=Path(directory))
            )
        except ControlPlaneError as failure:
            sys.exit(f"testbed: {failure}")


if __name__ == "__main__":
    main()
