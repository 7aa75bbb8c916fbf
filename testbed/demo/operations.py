"""What is asked of gate beside refusing: people, reports, an outage, audit mode."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from testbed.demo.refusals import scale
from testbed.demo.stage import expect, run_gate, show, title
from testbed.metrics import reviews_answered, reviews_sent
from testbed.workloads import SHOP

if TYPE_CHECKING:
    from testbed.demo.stage import Demo
    from testbed.gate import GateProcess

_SPOOLED: Final = """
SELECT concat_ws(' ', name, verdict) FROM resource_action_traces
WHERE namespace = $1 AND spooled_at IS NOT NULL ORDER BY action_timestamp"""
_PATTERNS: Final = (
    "scale-oscillation",
    "resource-thrashing",
    "ineffective-loop",
    "cascading-failure",
)


async def replay_the_sample() -> None:
    """Step 0."""
    title("0. Nothing installed yet: what would gate have done to a day of a small shop?")
    report = await run_gate("replay --sample")
    expect(
        re.search(r"gate would have refused [1-9]\d* in [1-9]\d* episodes", report),
        "the replay should find what gate would have refused",
    )


async def leave_people_alone(demo: Demo, gate: GateProcess) -> None:
    """Step 5."""
    title("5. An administrator makes the change that the agent is refused; gate is not even asked")
    await demo.act("agent", scale("web", 3), refused=True)
    counted, sent = await reviews_answered(gate), await reviews_sent(demo.plane)
    await demo.act("admin", scale("web", 3))
    counted_after, sent_after = await reviews_answered(gate), await reviews_sent(demo.plane)
    show(
        f"  gate_admission_reviews_total: {counted:.0f} before, {counted_after:.0f} after",
        f"  apiserver_admission_webhook_request_total: {sent:.0f} before, {sent_after:.0f} after",
    )
    expect(counted > 0 and counted == counted_after, "gate should have received no review")
    expect(sent == counted == sent_after, "the API server should have sent none")
    await demo.settle(SHOP, "deployment/web")


async def show_reports(demo: Demo) -> None:
    """Step 6."""
    title("6. What PostgreSQL has on record")
    table = await demo.ask(f"history {SHOP}/StatefulSet/db")
    verdicts = re.findall(r"\b(?:allow|deny)\b", table)
    expect(
        verdicts == ["allow", "allow", "deny", "allow", "deny"],
        "the agent's five restarts should be shown with their verdicts",
    )
    show("")
    found = await demo.ask("detections list --since 1h")
    show("")
    refused = await demo.ask("cooldowns list")
    for pattern in _PATTERNS:
        expect(pattern in found, f"{pattern} should be among the detections")
        expect(pattern in refused, f"{pattern} should be among what is refused now")


async def lose_the_database(demo: Demo) -> None:
    """Step 7."""
    title("7. PostgreSQL is stopped: what is known to be refused stays refused, nothing is lost")
    await demo.database.stop()
    answer = await demo.act("agent", scale("web", 2), refused=True)
    expect("recorded here until PostgreSQL takes it" in answer, "the trace should be kept")
    answer = await demo.act("agent", f"-n {SHOP} scale deployment search --replicas=2")
    expect("admitted without a check, recorded here" in answer, "it should say so in a warning")
    await demo.database.start()
    show("", "PostgreSQL is back, and takes what waited on gate's disk.")
    await demo.database.wait_for(["web deny", "search allow"], _SPOOLED, SHOP)
    table = await demo.ask(f"history {SHOP}/Deployment/search")
    expect(table.count("scale_deployment") == 1, "the trace should be there exactly once")


async def only_warn_in_audit_mode(demo: Demo) -> None:
    """Step 8."""
    title("8. gate again, with --mode audit: the change that was refused is only warned about")
    answer = await demo.act("agent", scale("web", 2))
    expect("gate (audit): would have been refused" in answer, "the warning should say so")
