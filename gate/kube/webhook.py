"""The webhook configuration by which the API server asks gate."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubernetes_asyncio import client

from gate.domain.matchconditions import MatchCondition
from gate.errors import ClusterError
from gate.kube.client import REQUEST_LIMIT, Cluster, translated

_RESOURCE = "validatingwebhookconfigurations.admissionregistration.k8s.io"
_GOVERNED = ("deployments", "deployments/scale", "statefulsets", "statefulsets/scale")
_ATTEMPTS = 5
TIMEOUT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where and when the API server asks; the url is a secret, for it holds the token."""

    configuration: str
    name: str
    url: str = field(repr=False)
    authority: bytes = field(repr=False)
    conditions: Sequence[MatchCondition]


def build_configuration(webhook: Webhook) -> client.V1ValidatingWebhookConfiguration:
    """Return the configuration of a webhook that is reached by url."""
    return client.V1ValidatingWebhookConfiguration(
        api_version="admissionregistration.k8s.io/v1",
        kind="ValidatingWebhookConfiguration",
        metadata=client.V1ObjectMeta(
            name=webhook.configuration, labels={"app.kubernetes.io/managed-by": "gate"}
        ),
        webhooks=[_build_webhook(webhook)],
    )


async def apply_webhook(cluster: Cluster, webhook: Webhook) -> None:
    """Create the configuration, or replace all of the one that is left from earlier.

    Raises ClusterError where the cluster refuses.
    """
    registration = client.AdmissionregistrationV1Api(cluster.api)
    for _ in range(_ATTEMPTS):
        if await _create(registration, webhook):
            return
        present = await _read(registration, webhook.configuration)
        if present is not None and await _replace(registration, webhook, present):
            return
    raise ClusterError(
        f"ValidatingWebhookConfiguration {webhook.configuration} was changed by somebody else each"
        f" time gate tried to replace it"
    )


async def remove_webhook(cluster: Cluster, webhook: Webhook) -> bool:
    """Delete the configuration, and tell whether it was still there and this webhook's.

    One that another process has replaced meanwhile stays. Raises ClusterError.
    """
    registration = client.AdmissionregistrationV1Api(cluster.api)
    present = await _read(registration, webhook.configuration)
    if present is None or not _is_of(present, webhook):
        return False
    preconditions = client.V1Preconditions(resource_version=present.metadata.resource_version)
    with translated(f"delete {webhook.configuration}", permission=f"delete on {_RESOURCE}"):
        try:
            await registration.delete_validating_webhook_configuration(
                webhook.configuration,
                body=client.V1DeleteOptions(preconditions=preconditions),
                _request_timeout=REQUEST_LIMIT,
            )
        except client.ApiException as error:
            if error.status not in (404, 409):
                raise
            return False
    return True


async def _create(registration: client.AdmissionregistrationV1Api, webhook: Webhook) -> bool:
    """Create the configuration; False where there is one already."""
    with translated(
        f"create ValidatingWebhookConfiguration {webhook.configuration}",
        permission=f"create on {_RESOURCE}",
    ):
        try:
            await registration.create_validating_webhook_configuration(
                build_configuration(webhook), _request_timeout=REQUEST_LIMIT
            )
        except client.ApiException as error:
            if error.status != 409:
                raise
            return False
    return True


async def _read(
    registration: client.AdmissionregistrationV1Api, name: str
) -> client.V1ValidatingWebhookConfiguration | None:
    with translated(
        f"read ValidatingWebhookConfiguration {name}", permission=f"get on {_RESOURCE}"
    ):
        try:
            return await registration.read_validating_webhook_configuration(
                name, _request_timeout=REQUEST_LIMIT
            )
        except client.ApiException as error:
            if error.status != 404:
                raise
            return None


async def _replace(
    registration: client.AdmissionregistrationV1Api,
    webhook: Webhook,
    present: client.V1ValidatingWebhookConfiguration,
) -> bool:
    """Replace a configuration as it was read; False where it has changed or gone since."""
    name = webhook.configuration
    body = build_configuration(webhook)
    body.metadata.resource_version = present.metadata.resource_version
    with translated(
        f"replace ValidatingWebhookConfiguration {name}", permission=f"update on {_RESOURCE}"
    ):
        try:
            await registration.replace_validating_webhook_configuration(
                name, body, _request_timeout=REQUEST_LIMIT
            )
        except client.ApiException as error:
            if error.status not in (404, 409):
                raise
            return False
    return True


def _build_webhook(webhook: Webhook) -> client.V1ValidatingWebhook:
    return client.V1ValidatingWebhook(
        name=webhook.name,
        client_config=client.AdmissionregistrationV1WebhookClientConfig(
            url=webhook.url, ca_bundle=base64.b64encode(webhook.authority).decode()
        ),
        rules=[
            client.V1RuleWithOperations(
                api_groups=["apps"],
                api_versions=["v1"],
                operations=["CREATE", "UPDATE", "DELETE"],
                resources=list(_GOVERNED),
                scope="Namespaced",
            )
        ],
        match_policy="Equivalent",
        match_conditions=[
            client.V1MatchCondition(name=condition.name, expression=condition.expression)
            for condition in webhook.conditions
        ],
        side_effects="NoneOnDryRun",
        timeout_seconds=TIMEOUT_SECONDS,
        failure_policy="Ignore",
        admission_review_versions=["v1"],
    )


def _is_of(present: client.V1ValidatingWebhookConfiguration, webhook: Webhook) -> bool:
    return any(each.client_config.url == webhook.url for each in present.webhooks or ())
