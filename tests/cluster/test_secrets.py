"""Secrets never enter the history, nor anything else that gate writes or says."""

from pathlib import Path

from testbed.gate import GateProcess
from testbed.metrics import read_metrics
from testbed.workloads import workload
from tests.cluster.api import Api
from tests.cluster.records import Records

PLANTED = "hunter2-c0rrect-h0rse"
PLACES = 8


def secret_of(place: str) -> str:
    return f"{PLANTED}-{place}"


async def test_planted_secrets_are_nowhere_to_be_found(
    admin: Api, agent: Api, namespace: str, gate: GateProcess
) -> None:
    await admin.create("Deployment", workload("Deployment", "web", namespace=namespace))
    annotations = {
        "example.com/token": secret_of("annotation"),
        "kubectl.kubernetes.io/last-applied-configuration": secret_of("last-applied"),
    }
    probe = {
        "httpGet": {
            "port": 80,
            "httpHeaders": [{"name": "Authorization", "value": secret_of("probe-header")}],
        }
    }
    container = {
        "name": "web",
        "image": "registry.example/web:1",
        "env": [{"name": "PASSWORD", "value": secret_of("environment")}],
        "args": [f"--token={secret_of('argument')}"],
        "command": ["sh", "-c", f"login {secret_of('command')}"],
        "livenessProbe": probe,
    }
    template_annotations = {
        "example.com/token": secret_of("template-annotation"),
        "kubectl.kubernetes.io/restartedAt": secret_of("restarted-at"),
    }
    body = {
        "metadata": {"annotations": annotations},
        "spec": {
            "template": {
                "metadata": {"annotations": template_annotations},
                "spec": {"containers": [container]},
            }
        },
    }

    planted = await agent.patch("Deployment", "web", body)
    swings = [await agent.scale("Deployment", "web", n) for n in (3, 5, 3)]
    deleted = await agent.delete("Deployment", "web")

    assert planted.status == 200
    assert [reply.status for reply in (*swings, deleted)] == [200, 200, 403, 403]
    records = Records(gate.dsn)
    (trace, *_) = await records.traces(namespace)
    assert "env.PASSWORD" in str(trace["action_parameters"])
    said = [(reply.message, reply.warnings) for reply in (planted, *swings, deleted)]
    for where, text in {
        "tables": await records.texts(),
        "metrics": await read_metrics(gate),
        "answers": str(said),
    }.items():
        assert PLANTED not in text, f"a secret is in the {where}"
    assert files_with(PLANTED.encode(), gate.data, gate.log) == []
    assert str(body).count(PLANTED) == PLACES


def files_with(needle: bytes, folder: Path, *others: Path) -> list[Path]:
    """Return the files that hold a secret: PostgreSQL's own data and log files included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    return [path for path in (*files, *others) if needle in path.read_bytes()]
