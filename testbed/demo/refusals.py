"""One refusal of each pattern, each with another strategy, and what an approval changes."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from testbed.demo.stage import expect, show, title
from testbed.workloads import PAYMENTS, SHOP

if TYPE_CHECKING:
    from testbed.demo.stage import Demo

_PERSON: Final = "alice@example.org"
_NEXT_SECOND: Final = 1.1  # kubectl writes the instant of a restart in whole seconds
_MEMORY: Final = "-n shop set resources deployment api --limits=memory="
_RESTART: Final = "-n shop rollout restart statefulset db"
_NOWHERE: Final = '{"spec":{"template":{"spec":{"nodeSelector":{"disk":"imaginary"}}}}}'
_ANYWHERE: Final = '{"spec":{"template":{"spec":{"nodeSelector":null}}}}'
_APPROVE: Final = (
    "UPDATE action_histories SET version = version + 1"
    " WHERE resource_id = (SELECT resource_id FROM action_escalations WHERE id = '{id}')",
    "UPDATE action_escalations SET state = 'approved', decided_by = '{who}', decided_at = now()"
    " WHERE id = '{id}' AND state = 'open'",
)
_STATE: Final = "SELECT state FROM action_escalations WHERE id::text = $1"
_FAILED: Final = """
SELECT DISTINCT name FROM resource_action_traces
WHERE namespace = $1 AND execution_status = 'failed' AND action_type = 'update_template'
ORDER BY name"""
_OUTCOMES: Final = """
SELECT concat_ws(' ', action_type, name, execution_status, execution_error)
FROM resource_action_traces
WHERE namespace = $1 AND execution_status = 'failed' ORDER BY version, name"""


async def swing_replicas(demo: Demo) -> None:
    """Step 1."""
    title("1. scale-oscillation: the agent swings shop/web 5 → 3, back to 5, and down to 3 again")
    for replicas in (3, 5):
        await demo.act("agent", scale("web", replicas))
        await demo.settle(SHOP, "deployment/web")
    answer = await demo.act("agent", scale("web", 3), refused=True)
    expect("scale-oscillation" in answer, "the denial should name the pattern")
    expect("5 → 3 → 5" in answer, "the denial should show what was seen")
    expect(re.search(r"admitted from \S+Z \(in \d+ s\)", answer), "it should say when to retry")
    show("", "The agent may still give capacity: 8 replicas.")
    answer = await demo.act("agent", scale("web", 8))
    expect("Warning: gate: admitted, but" in answer, "the increase should carry a warning")
    await demo.settle(SHOP, "deployment/web")


async def swing_memory(demo: Demo) -> None:
    """Step 2."""
    title("2. resource-thrashing: the agent swings the memory limit of shop/api")
    for limit in ("512Mi", "256Mi", "512Mi"):
        await demo.act("agent", f"{_MEMORY}{limit}")
    answer = await demo.act("agent", f"{_MEMORY}256Mi", refused=True)
    expect("Seen: resource-thrashing:" in answer, "the denial should name the pattern")
    expect("Instead: " in answer, "the strategy alternative-action should say what it knows")


async def restart_again_and_again(demo: Demo) -> None:
    """Step 3."""
    title("3. ineffective-loop: the agent restarts shop/db for the third time")
    for _ in range(2):
        await restart(demo)
    answer = await restart(demo, refused=True)
    expect("Seen: ineffective-loop:" in answer, "the denial should name the pattern")
    asked = re.search(r"a person is asked \(([0-9a-f-]{36})\)", answer)
    expect(asked, "the strategy escalate-human should name the escalation")
    await approve(demo, asked[1] if asked else "")


async def approve(demo: Demo, escalation: str) -> None:
    """Let a person say yes, the agent go through once, and be refused again."""
    show("", "A person approves exactly this change; until there is a command for it, with SQL.")
    await demo.database.run(*(line.format(id=escalation, who=_PERSON) for line in _APPROVE))
    answer = await restart(demo)
    expect(f"admitted once, approved by {_PERSON} ({escalation})" in answer, "it should say why")
    await demo.database.wait_for(["consumed"], _STATE, escalation)
    show("", "Once: the change was seen to take effect, and the approval is consumed.")
    answer = await restart(demo, refused=True)
    expect(escalation not in answer, "the consumed approval should not be named again")


async def leave_failures_behind(demo: Demo) -> None:
    """Step 4."""
    title("4. cascading-failure: the agent breaks two of payments' workloads and reaches for more")
    for name in ("cart", "checkout"):
        await demo.act("agent", f"-n {PAYMENTS} patch deployment {name} -p '{_NOWHERE}'")
    await demo.act("agent", f"-n {PAYMENTS} scale deployment invoices --replicas=2")
    await demo.database.wait_for(["cart", "checkout"], _FAILED, PAYMENTS)
    show("", "gate has seen both rollouts fail; PostgreSQL has it on record:")
    show(*(f"  {line}" for line in await demo.database.read(_OUTCOMES, PAYMENTS)), "")
    move = f"-n {PAYMENTS} scale deployment ledger --replicas=2"
    answer = await demo.act("agent", move, refused=True)
    expect("Seen: cascading-failure:" in answer, "the denial should name the pattern")
    show("", "What it has touched, it may repair.")
    await demo.act("agent", f"-n {PAYMENTS} patch deployment cart -p '{_ANYWHERE}'")


async def restart(demo: Demo, *, refused: bool = False) -> str:
    """Let the agent restart the StatefulSet in a second of its own."""
    answer = await demo.act("agent", _RESTART, refused=refused)
    await asyncio.sleep(_NEXT_SECOND)
    await demo.settle(SHOP, "statefulset/db")
    return answer


def scale(name: str, replicas: int) -> str:
    """Return the kubectl arguments that scale a Deployment of the shop."""
    return f"-n {SHOP} scale deployment {name} --replicas={replicas}"
