"""Edits of a workload as agents and people make them, in place on its body."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from gate.domain.snapshot import CONTEXT_PREFIX
from tests.reviews import Body

Edit = Callable[[Body], object]


def scale_to(replicas: int) -> Edit:
    """Return the edit that sets replicas."""
    return lambda body: body["spec"].update(replicas=replicas)


def set_image(image: str, *, container: str = "app") -> Edit:
    """Return the edit that sets a container's image."""
    return lambda body: _container(body, container).update(image=image)


def set_env(name: str, value: str, *, container: str = "app") -> Edit:
    """Return the edit that sets one environment variable, and no other."""
    return lambda body: _container(body, container).update(env=[{"name": name, "value": value}])


def set_resources(
    *,
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    container: str = "app",
) -> Edit:
    """Return the edit that replaces a container's requests and limits."""
    groups = {"requests": requests, "limits": limits}
    resources = {group: dict(held) for group, held in groups.items() if held}
    return lambda body: _container(body, container).update(resources=resources)


def restart(at: datetime) -> Edit:
    """Return the edit that `kubectl rollout restart` makes at an instant."""

    def edit(body: Body) -> None:
        metadata = body["spec"]["template"]["metadata"]
        metadata.setdefault("annotations", {})["kubectl.kubernetes.io/restartedAt"] = at.isoformat(
            timespec="seconds"
        )

    return edit


def label(name: str, value: str) -> Edit:
    """Return the edit that sets a label of the workload itself."""
    return lambda body: body["metadata"].setdefault("labels", {}).update({name: value})


def saying(edit: Edit, **context: str) -> Edit:
    """Return the edit with the agent's words beside it, such as `alert_name="HighMemory"`."""

    def annotated(body: Body) -> None:
        edit(body)
        annotations = body["metadata"].setdefault("annotations", {})
        for name, text in context.items():
            annotations[CONTEXT_PREFIX + name.replace("_", "-")] = text

    return annotated


def _container(body: Body, name: str) -> Any:
    containers = body["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == name)
