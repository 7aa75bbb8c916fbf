"""The serving certificate, loaded again whenever its files change."""

from collections.abc import Callable
from datetime import datetime

import structlog

from gate.ports.certificates import Leaf, ServedPair
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)


class CertificateKeeper:
    """Follows the files of the serving certificate."""

    def __init__(
        self, pair: ServedPair, *, clock: Callable[[], datetime], metrics: Metrics
    ) -> None:
        self._pair = pair
        self._clock = clock
        self._metrics = metrics

    async def run_once(self) -> Leaf | None:
        """Look at the files once; return the certificate that is served from now on, if changed.

        Raises CertificateError where the files hold nothing to serve; the earlier one stays.
        """
        leaf = self._pair.reload(now=self._clock())
        if leaf is not None:
            self._metrics.certificate_expiry.set(leaf.expires_at.timestamp())
            log.info(
                "certificate.loaded",
                names=leaf.names,
                serial=leaf.serial,
                expires_at=leaf.expires_at.isoformat(),
            )
        return leaf
