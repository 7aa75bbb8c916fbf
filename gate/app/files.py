"""What is read from files: at the start, and whenever they change."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from gate.pki.serving import ServingPair
from gate.services.certificates import CertificateKeeper
from gate.services.clock import utc_now
from gate.services.every import every
from gate.services.tokens import PathTokens
from gate.settings.knobs import ServeSettings
from gate.telemetry import Metrics

# Files are small and local: what was replaced is served within seconds.
FILES_PERIOD = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Files:
    """The serving certificate and the path tokens."""

    pair: ServingPair
    certificates: CertificateKeeper
    tokens: PathTokens

    async def follow(self, metrics: Metrics) -> None:
        """Keep to what the files hold, until cancelled."""
        async with asyncio.TaskGroup() as loops:
            for name, run_once in (
                ("certificates", self.certificates.run_once),
                ("tokens", self.tokens.run_once),
            ):
                metrics.mark_loop(name)
                loops.create_task(every(FILES_PERIOD, run_once, name=name, metrics=metrics))


async def read_files(settings: ServeSettings, metrics: Metrics) -> Files:
    """Read the files that must be usable at the start."""
    pair = ServingPair(certificate=settings.tls_cert_file, key=settings.tls_key_file)
    files = Files(
        pair=pair,
        certificates=CertificateKeeper(pair, clock=utc_now, metrics=metrics),
        tokens=PathTokens(settings.token_files),
    )
    await files.certificates.run_once()
    await files.tokens.run_once()
    return files
