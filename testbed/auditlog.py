"""Audit logs made by hand: a day of a small shop, and as many megabytes as are asked for.

    python -m testbed.auditlog sample > gate/replay/sample/audit.jsonl
    python -m testbed.auditlog large 500 > large.jsonl

Nothing in them was recorded anywhere.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from testbed.audited_cluster import (
    ALERT,
    AUTOSCALER,
    DAY,
    ENGINEER,
    GITOPS,
    REMEDIATOR,
    RIGHTSIZER,
    SCALER,
    AuditedCluster,
    Event,
    at,
    stamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_sample() -> list[Event]:
    """Return the events of a day: loops of agents, and much else that is none."""
    cluster = AuditedCluster()
    for name, replicas in {"web": 5, "api": 4, "search": 4, "stock": 3, "recommend": 1}.items():
        cluster.plan(cluster.create, name, when=at("07:00"), replicas=replicas)
    cluster.plan(
        cluster.create, "ledger", when=at("07:01"), namespace="payments", kind="StatefulSet"
    )
    for story in (_swing, _resize, _restart, _contest, _ramp, _live):
        story(cluster)
    return cluster.run()


def _swing(cluster: AuditedCluster) -> None:
    """Scale down and up every ten minutes, and the same again after lunch."""
    for start, moves in (("09:00", (3, 5, 3, 6, 3, 5, 3)), ("14:00", (5, 2, 5, 2))):
        for number, replicas in enumerate(moves):
            when = at(start) + timedelta(minutes=10 * number, seconds=number * 3)
            cluster.plan(
                cluster.patch, "web", {"spec": {"replicas": replicas}}, when=when, user=SCALER
            )
    cluster.plan(cluster.try_out, "web", 9, when=at("09:35"), user=SCALER)
    cluster.plan(cluster.refuse, "web", when=at("09:36"), user=SCALER, code=403)
    cluster.plan(cluster.refuse, "web", when=at("09:37"), user=SCALER, code=409)


def _resize(cluster: AuditedCluster) -> None:
    """Raise and lower memory."""
    for number, memory in enumerate(("512Mi", "256Mi", "512Mi", "256Mi", "512Mi", "256Mi")):
        when = at("10:05") + timedelta(minutes=12 * number)
        resources = {"requests": {"memory": memory}, "limits": {"memory": memory}}
        container = {"name": "api", "resources": resources}
        change = {"spec": {"template": {"spec": {"containers": [container]}}}}
        cluster.plan(cluster.patch, "api", change, when=when, user=RIGHTSIZER)


def _restart(cluster: AuditedCluster) -> None:
    """Restart a database for the same alert, again and again."""
    for number in range(5):
        when = at("11:10") + timedelta(minutes=9 * number)
        restarted = {"kubectl.kubernetes.io/restartedAt": stamp(when, digits=0)}
        change = {
            "metadata": {"annotations": {ALERT: "LedgerLagging"}},
            "spec": {"template": {"metadata": {"annotations": restarted}}},
        }
        cluster.plan(
            cluster.patch,
            "ledger",
            change,
            when=when,
            user=REMEDIATOR,
            namespace="payments",
            kind="StatefulSet",
            query="fieldManager=kubectl-rollout",
        )


def _contest(cluster: AuditedCluster) -> None:
    """Give capacity that GitOps takes back every time."""
    for number in range(4):
        when = at("12:00") + timedelta(minutes=15 * number)
        cluster.plan(cluster.patch, "stock", {"spec": {"replicas": 6}}, when=when, user=SCALER)
        back = when + timedelta(minutes=3)
        cluster.plan(cluster.patch, "stock", {"spec": {"replicas": 3}}, when=back, user=GITOPS)


def _ramp(cluster: AuditedCluster) -> None:
    """Roll a canary out, which is no loop."""
    for number, replicas in enumerate((2, 5, 10, 20)):
        when = at("13:00") + timedelta(minutes=8 * number)
        cluster.plan(
            cluster.patch, "recommend", {"spec": {"replicas": replicas}}, when=when, user=SCALER
        )


def _live(cluster: AuditedCluster) -> None:
    """Do as people and controllers do: the autoscaler goes up and down all day."""
    for number, replicas in enumerate((6, 9, 7, 4, 8, 12, 9, 6, 4)):
        when = at("08:30") + timedelta(minutes=47 * number)
        cluster.plan(cluster.scale, "search", replicas, when=when, user=AUTOSCALER)
    for number in range(24):
        when = at("08:00") + timedelta(minutes=20 * number)
        cluster.plan(cluster.read, "pods", when=when, user=(SCALER, ENGINEER, GITOPS)[number % 3])
    container = {"name": "web", "image": "registry.example/web:1.1"}
    image = {"spec": {"template": {"spec": {"containers": [container]}}}}
    cluster.plan(cluster.patch, "web", image, when=at("13:30"), user=ENGINEER)


def make_large(megabytes: int) -> Iterator[bytes]:
    """Return the lines of a log of about that size: mostly of other things than workloads."""
    numbers = random.Random(2)  # noqa: S311 - not for secrets
    cluster = AuditedCluster()
    names = [f"app-{number:03}" for number in range(300)]
    for name in names:
        cluster.create(name, when=DAY, padding=5000)
    when, written = DAY, 0
    while written < megabytes * 1_000_000:
        when += timedelta(seconds=numbers.expovariate(1 / 4))
        for _ in range(12):
            cluster.read(numbers.choice(["pods", "configmaps", "events"]), when=when, user=GITOPS)
        name = numbers.choice(names)
        user = numbers.choice([SCALER, AUTOSCALER, GITOPS])
        if numbers.random() < 0.5:
            change = {"spec": {"replicas": numbers.randint(1, 9)}}
            cluster.patch(name, change, when=when, user=user)
        else:
            cluster.scale(name, numbers.randint(1, 9), when=when, user=user)
        for event in cluster.events:
            line = _line(event)
            written += len(line)
            yield line
        cluster.events.clear()


def _line(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def main(arguments: list[str]) -> int:
    """Write one of the logs to standard output."""
    match arguments:
        case ["sample"]:
            lines: Iterator[bytes] = map(_line, make_sample())
        case ["large", megabytes] if megabytes.isdecimal():
            lines = make_large(int(megabytes))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    for line in lines:
        sys.stdout.buffer.write(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
