"""What a policy file says that is taken at the start."""

from dataclasses import dataclass, field
from pathlib import Path

from gate.domain.actor import AgentRules
from gate.errors import PolicyFileError
from gate.policy.file import parse_agents, parse_policy, read_policy_file
from gate.ports.policy import DeclaredModes


@dataclass(frozen=True, slots=True)
class Start:
    """The agents while gate runs, where the file names any, and the modes until rows were read."""

    agents: AgentRules | None = None
    modes: DeclaredModes = field(default_factory=DeclaredModes)


def read_at_start(path: Path | None) -> Start:
    """Return what holds from the start; nothing where there is no policy file.

    Raises PolicyFileError where the file's agents cannot be told: to guess whose changes are
    governed would leave some of them out. Whatever else is wrong, gate starts with the rows.
    """
    if path is None:
        return Start()
    content = read_policy_file(path)
    agents = parse_agents(content, source=str(path))
    rules = None if agents is None else agents.as_rules()
    try:
        return Start(rules, parse_policy(content, source=str(path)).modes)
    except PolicyFileError:
        return Start(rules)  # whoever follows the file reports what is wrong with it
