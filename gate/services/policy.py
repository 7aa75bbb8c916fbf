"""The policy in memory; a review takes it once, and never waits for it."""

from collections.abc import Iterable

import structlog

from gate.domain.pattern import Mode, Pattern
from gate.domain.policy import FailureMode, Policy
from gate.errors import StorageUnavailableError
from gate.policy.version import hold_modes, make_policy
from gate.ports.policy import DeclaredModes, PolicyListing, PolicySource, UnusablePattern
from gate.services.readiness import Readiness
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_NOTE = "patterns"


class PolicyBook:
    """Holds the policy as of the last successful read, as one value that is replaced as a whole.

    Where a row is edited into one that cannot be used, its last usable version goes on: one bad
    edit must not disarm the guard. `mode` and `failure_mode` are those of the settings, which hold
    where no others are declared; `declared` are those of the policy file at the start.
    """

    def __init__(
        self,
        source: PolicySource,
        *,
        metrics: Metrics,
        readiness: Readiness,
        mode: Mode = Mode.ENFORCE,
        failure_mode: FailureMode = FailureMode.OPEN,
        declared: DeclaredModes | None = None,
    ) -> None:
        self._source = source
        self._metrics = metrics
        self._readiness = readiness
        self._mode = mode
        self._failure_mode = failure_mode
        self._modes = declared or DeclaredModes()
        self._latest = self._make((), self._modes)
        self._is_read = False
        self._problems: tuple[str, ...] = ()

    @property
    def latest(self) -> Policy:
        """Return the policy as far as it is known: without patterns before the first read."""
        return self._latest

    @property
    def current(self) -> Policy:
        """Return the policy; raises StorageUnavailableError until it has been read once."""
        self.require_read()
        return self._latest

    def require_read(self) -> None:
        """Raise StorageUnavailableError until the patterns were read: none is looked for then."""
        if not self._is_read:
            raise StorageUnavailableError("the policy has not been read from the database yet")

    async def run_once(self) -> None:
        """Read the policy again; a row that cannot be used is reported and leaves the others be."""
        listing = await self._source.read()
        kept = self._find_last_usable(listing.problems)
        modes = self._modes if listing.modes is None else listing.modes
        patterns = sorted((*listing.patterns, *kept), key=lambda pattern: pattern.id)
        policy = self._make(patterns, modes)
        self._report(listing, kept)
        if policy != self._latest or not self._is_read:
            log.info(
                "policy.read",
                version=policy.version,
                patterns=[pattern.name for pattern in policy.patterns],
                mode=policy.modes.default,
                failure_mode=policy.failure_modes.default,
            )
        self._latest, self._modes, self._is_read = policy, modes, True

    def _make(self, patterns: Iterable[Pattern], modes: DeclaredModes) -> Policy:
        held = hold_modes(modes, mode=self._mode, failure_mode=self._failure_mode)
        return make_policy(patterns, held)

    def _find_last_usable(self, unusable: Iterable[UnusablePattern]) -> tuple[Pattern, ...]:
        ids = {row.id for row in unusable}
        return tuple(pattern for pattern in self._latest.patterns if pattern.id in ids)

    def _report(self, listing: PolicyListing, kept: Iterable[Pattern]) -> None:
        problems = tuple(row.problem for row in listing.problems)
        whole = (listing.left_out_problem, listing.modes_problem)
        problems = (*problems, *(problem for problem in whole if problem is not None))
        self._metrics.patterns_unusable.set(len(listing.problems) + listing.left_out)
        self._metrics.policy_modes_unusable.set(0 if listing.modes_problem is None else 1)
        if problems:
            self._readiness.note(_NOTE, "; ".join(problems))
        else:
            self._readiness.drop_note(_NOTE)
        if problems == self._problems:
            return
        self._problems = problems
        ids = {pattern.id for pattern in kept}
        for row in listing.problems:
            goes_on = row.id in ids
            log.error(
                "pattern.unusable",
                problem=row.problem,
                effect="its last usable version goes on" if goes_on else "it is not looked for",
            )
        if listing.left_out_problem is not None:
            log.error(
                "pattern.left_out",
                problem=listing.left_out_problem,
                effect="they are not looked for",
            )
        if listing.modes_problem is not None:
            log.error(
                "policy.modes_unusable",
                problem=listing.modes_problem,
                effect="the last usable modes go on",
            )
