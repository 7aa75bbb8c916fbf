"""The API server as one identity sees it: statuses, bodies and warnings, nothing hidden."""

import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_PLURALS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
_PATCH = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Reply:
    """What the API server answered."""

    status: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def message(self) -> str:
        """Return the message of a Status."""
        return str(self.body.get("message", ""))


class Api:
    """Requests to workloads of one namespace, as one identity."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str) -> None:
        self._session = session
        self._namespace = namespace

    async def scale(self, kind: str, name: str, replicas: int, *, query: str = "") -> Reply:
        """Set replicas on the object itself."""
        return await self.patch(kind, name, {"spec": {"replicas": replicas}}, query=query)

    async def scale_subresource(self, kind: str, name: str, replicas: int) -> Reply:
        """Set replicas through `/scale`."""
        return await self.patch(kind, f"{name}/scale", {"spec": {"replicas": replicas}})

    async def patch(self, kind: str, name: str, body: object, *, query: str = "") -> Reply:
        """Send a merge patch."""
        return await self._send("PATCH", f"{self._path(kind)}/{name}{query}", body, _PATCH)

    async def apply(self, kind: str, body: dict[str, Any]) -> Reply:
        """Send a server-side apply."""
        path = f"{self._path(kind)}/{body['metadata']['name']}?fieldManager=test&force=true"
        return await self._send("PATCH", path, body, _APPLY)

    async def create(self, kind: str, body: object) -> Reply:
        """Create an object."""
        return await self._send("POST", self._path(kind), body)

    async def delete(self, kind: str, name: str = "") -> Reply:
        """Delete an object, or all of a kind."""
        return await self._send("DELETE", f"{self._path(kind)}/{name}".rstrip("/"), None)

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        return (await self._send("GET", f"{self._path(kind)}/{name}", None)).body

    def _path(self, kind: str) -> str:
        return f"/apis/apps/v1/namespaces/{self._namespace}/{_PLURALS[kind]}"

    async def _send(
        self, method: str, path: str, body: object, content_type: str = "application/json"
    ) -> Reply:
        async with self._session.request(
            method,
            path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
        ) as response:
            warnings = response.headers.getall("Warning", [])
            return Reply(
                status=response.status,
                body=await response.json(content_type=None),
                warnings=tuple(
                    match[1].replace('\\"', '"')
                    for line in warnings
                    for match in _WARNING.finditer(line)
                ),
            )


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session with the server and token of a kubeconfig."""
    config = json.loads(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    token = config["users"][0]["user"]["token"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    async with aiohttp.ClientSession(
        cluster["server"],
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(ssl=context, limit=0),
        timeout=aiohttp.ClientTimeout(total=30),
    ) as session:
        yield session
