"""Awaited changes, and states of their workload, made by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from gate.domain.change import Operation
from gate.domain.observation import Observation, Rollout
from gate.domain.outcome import Awaited
from gate.domain.trace import State
from gate.domain.workload import Kind, WorkloadKey
from tests.timeline import minute

KEY = WorkloadKey("prod", "shop", Kind.DEPLOYMENT, "web")
NOW = minute(0)
SECOND = timedelta(seconds=1)


def describe(
    replicas: int = 5,
    *,
    image: str = "web:1",
    cpu: str = "1",
    digest: str = "t",
    metadata: str = "m",
) -> dict[str, object]:
    """Return a state as it is kept of a workload with one container."""
    return {
        "replicas": replicas,
        "containers": {"web": {"image": image, "requests.cpu": cpu}},
        "strategy": {"type": "RollingUpdate"},
        "digest": digest,
        "metadata": metadata,
    }


def change(
    before: State | None,
    after: State | None,
    *,
    version: int = 1,
    base: int | None = 7,
    resource_version: str | None = "100",
    uid: str = "one",
    actor: str = "agent",
) -> Awaited:
    """Return an admitted change; no state before is CREATE, none after DELETE."""
    operation = (
        Operation.CREATE
        if before is None
        else Operation.DELETE
        if after is None
        else Operation.UPDATE
    )
    return Awaited(
        action_id=f"trace {version}",
        key=KEY,
        version=version,
        at=NOW,
        actor=actor,
        operation=operation,
        uid=uid,
        resource_version=None if operation is Operation.CREATE else resource_version,
        base=None if operation is Operation.CREATE else base,
        before=before,
        after=after,
    )


def scaled(before: int, after: int, **given: object) -> Awaited:
    """Return a change of replicas made through the object."""
    return change(describe(before), describe(after), **given)  # type: ignore[arg-type]  # as above


def scaled_by_subresource(before: int, after: int, **given: object) -> Awaited:
    """Return a change of replicas made through `/scale`, which carries no generation."""
    states = {"replicas": before}, {"replicas": after}
    return change(*states, base=None, **given)  # type: ignore[arg-type]  # as above


def see(
    state: State,
    *,
    generation: int,
    resource_version: int = 101,
    second: float = 1,
    uid: str = "one",
    ready: int | None = None,
    owners: Mapping[tuple[str, str], str] | None = None,
    **given: object,
) -> Observation:
    """Return a state of the workload; without `ready` its rollout is complete."""
    wanted = state["replicas"]
    assert isinstance(wanted, int)
    ready = wanted if ready is None else ready
    seen = Observation(
        key=KEY,
        at=NOW + second * SECOND,
        uid=uid,
        resource_version=str(resource_version),
        generation=generation,
        state=state,
        rollout=Rollout(
            observed_generation=generation,
            wanted=wanted,
            to_update=wanted,
            total=wanted,
            updated=wanted,
            available=ready,
        ),
        owners=owners or {},
    )
    return replace(seen, **given)  # type: ignore[arg-type]  # fields of the observation
