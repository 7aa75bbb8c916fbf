"""A connection to one cluster's API, and what went wrong with it in words."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import yaml
from kubernetes_asyncio import client, config

from gate.errors import ClusterError

REQUEST_LIMIT = 10  # seconds


@dataclass(frozen=True, slots=True)
class Cluster:
    """An open connection to a cluster."""

    api: client.ApiClient


@asynccontextmanager
async def connect(kubeconfig: Path | None) -> AsyncIterator[Cluster]:
    """Connect as a kubeconfig says, or as the pod's own service account where there is none.

    Raises ClusterError where neither tells how.
    """
    configuration = client.Configuration()
    try:
        await _configure(configuration, kubeconfig)
    except (config.ConfigException, OSError) as error:
        source = "the pod's service account" if kubeconfig is None else str(kubeconfig)
        raise ClusterError(f"{source} does not tell how to reach a cluster: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClusterError(f"{kubeconfig} is not a kubeconfig") from error
    async with client.ApiClient(configuration) as api:
        yield Cluster(api)


async def _configure(configuration: client.Configuration, kubeconfig: Path | None) -> None:
    if kubeconfig is None:
        config.load_incluster_config(  # type: ignore[no-untyped-call]  # the library has no types here
            client_configuration=configuration
        )
        return
    with kubeconfig.open("rb"):
        pass  # the library takes a missing file for an empty one
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)


async def read_cluster_uid(cluster: Cluster) -> str:
    """Return the UID of namespace kube-system, which no two clusters share."""
    with translated("read namespace kube-system", permission="get on namespaces/kube-system"):
        namespace = await client.CoreV1Api(cluster.api).read_namespace(
            "kube-system", _request_timeout=REQUEST_LIMIT
        )
    return str(namespace.metadata.uid)


@contextmanager
def translated(action: str, *, permission: str) -> Iterator[None]:
    """Turn the API's failures into ClusterErrors: what was refused, and what is missing."""
    try:
        yield
    except client.ApiException as error:
        raise ClusterError(_describe(error, action=action, permission=permission)) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or "no answer in time"
        raise ClusterError(f"the cluster did not let gate {action}: {reason}") from error


def _describe(error: client.ApiException, *, action: str, permission: str) -> str:
    told = f"the cluster refused to let gate {action} ({error.status}): {_message_of(error)}"
    if error.status == 403:
        return f"{told}; the missing permission is {permission}"
    if error.status == 401:
        return f"{told}; the credentials are not valid for this cluster"
    return told


def _message_of(error: client.ApiException) -> str:
    """Return the API's own words, which a Status carries."""
    try:
        status = orjson.loads(error.body or b"")
    except orjson.JSONDecodeError:
        status = None
    message = status.get("message") if isinstance(status, dict) else None
    return str(message or error.reason or "no reason given")
