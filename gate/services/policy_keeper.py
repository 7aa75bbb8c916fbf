"""Follows the policy file, and on the leader makes the rows equal to it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from gate.domain.actor import AgentRules
from gate.errors import PolicyFileError
from gate.policy.file import ParsedPolicy, parse_policy, read_policy_file
from gate.ports.policy_rows import Application, PolicyRows, RowChange, RowFate
from gate.services.readiness import Readiness
from gate.telemetry import Metrics

log = structlog.get_logger(__name__)

_FILE_NOTE, _AGENTS_NOTE, _ROWS_NOTE = "policy_file", "agents", "policy_rows"


@dataclass(slots=True)
class _Reading:
    """What the file was last found to hold, and whether that has been taken."""

    content: bytes | None = None
    problem: str | None = None
    is_taken: bool = False


class PolicyKeeper:
    """Follows a policy file; an unusable one keeps the last good one, loudly.

    New content is taken once it was found twice, so that a file that is just being written is
    never taken half. `agents` are those that were taken at the start, and `defaults` those of the
    settings, which the next start takes where the file names none: a difference is reported, and
    waits for a restart.
    """

    def __init__(
        self,
        path: Path,
        rows: PolicyRows,
        *,
        agents: AgentRules,
        defaults: AgentRules,
        is_leader: Callable[[], bool],
        metrics: Metrics,
        readiness: Readiness,
    ) -> None:
        self._path = path
        self._rows = rows
        self._agents = agents
        self._defaults = defaults
        self._is_leader = is_leader
        self._metrics = metrics
        self._readiness = readiness
        self._reading = _Reading()
        self._last_good: ParsedPolicy | None = None
        self._kept: tuple[RowChange, ...] = ()

    async def start(self) -> None:
        """Make the rows equal to the file where no file ever was applied to them.

        So a first start does not decide by the seeded rows until somebody leads. Raises
        StorageUnavailableError.
        """
        await self._follow()
        if self._last_good is not None and not await self._rows.is_declared():
            self._report_rows(await self._rows.apply(self._last_good.declare()))

    async def run_once(self) -> Application | None:
        """Look at the file once, and on the leader at the rows; return what was done to them.

        Raises StorageUnavailableError where the rows cannot be reached; the file has been looked at
        then.
        """
        await self._follow()
        if self._last_good is None or not self._is_leader():
            return None
        application = await self._rows.apply(self._last_good.declare())
        self._report_rows(application)
        return application

    async def _follow(self) -> None:
        found = await asyncio.to_thread(_read, self._path)
        seen = self._reading
        is_first = seen.content is None and seen.problem is None
        is_same = (found.content, found.problem) == (seen.content, seen.problem)
        self._reading = found
        if is_same and seen.is_taken:
            found.is_taken = True
        elif is_same or is_first:
            found.is_taken = True
            await self._take(found)

    async def _take(self, found: _Reading) -> None:
        if found.content is None:
            self._report_file(found.problem, is_whole=True)
            return
        try:
            parsed = await asyncio.to_thread(parse_policy, found.content, source=str(self._path))
        except PolicyFileError as error:
            self._report_file(str(error), is_whole=True)
            return
        self._last_good = parsed
        log.info(
            "policy_file.read",
            path=str(self._path),
            patterns=list(parsed.patterns),
            mode=parsed.file.mode,
        )
        self._report_file(parsed.describe_problems(), is_whole=False)
        self._report_agents(parsed)

    def _report_file(self, problem: str | None, *, is_whole: bool) -> None:
        self._metrics.policy_file_unusable.set(0 if problem is None else 1)
        if problem is None:
            self._readiness.drop_note(_FILE_NOTE)
            return
        if is_whole:
            has_good = self._last_good is not None
            effect = "the last good one goes on" if has_good else "the rows go on as they are"
        else:
            effect = "these patterns go on as they are, and the others are taken"
        self._readiness.note(_FILE_NOTE, f"{problem}; {effect}")
        log.error("policy_file.unusable", problem=problem, effect=effect)

    def _report_agents(self, parsed: ParsedPolicy) -> None:
        declared = parsed.file.agents
        following = self._defaults if declared is None else declared.as_rules()
        is_pending = following != self._agents
        self._metrics.policy_agents_pending.set(1 if is_pending else 0)
        if not is_pending:
            self._readiness.drop_note(_AGENTS_NOTE)
            return
        names = (
            "names no agents, and those of the settings are others than"
            if declared is None
            else "names other agents than"
        )
        self._readiness.note(
            _AGENTS_NOTE,
            f"the policy file {names} those in use: restart gate, together with a change of the"
            f" webhook's matchConditions",
        )
        log.warning("policy_file.agents_pending", effect="they are taken at the next start")

    def _report_rows(self, application: Application) -> None:
        kept = tuple(change for change in application.changes if change.fate is RowFate.KEPT)
        made = [change for change in application.changes if change.fate is not RowFate.KEPT]
        if application.is_drift:
            self._metrics.policy_rows_put_back.inc(len(made))
        for change in made:
            (log.warning if application.is_drift else log.info)(
                "policy.row_put_back" if application.is_drift else "policy.row_applied",
                row=change.name,
                fate=change.fate,
                before=change.before,
                after=change.after,
            )
        if kept == self._kept:
            return
        self._kept = kept
        names = ", ".join(change.name for change in kept)
        if not kept:
            self._readiness.drop_note(_ROWS_NOTE)
            return
        words = (
            f"{names}: a pattern keeps its type, and the row has another one: give the pattern in"
            f" the policy file another name"
        )
        self._readiness.note(_ROWS_NOTE, words)
        log.error("policy.row_kept", problem=words)


def _read(path: Path) -> _Reading:
    try:
        return _Reading(content=read_policy_file(path))
    except PolicyFileError as error:
        return _Reading(problem=str(error))
