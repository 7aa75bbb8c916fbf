"""What a run found, for people and for programs."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from bench.load import Fared
from bench.rounds import Rounds
from bench.targets import Findings, Target


def describe_machine() -> dict[str, object]:
    """Return what figures in milliseconds depend on."""
    return {
        "processor": _read_processor(),
        "processors": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def write_results(
    path: Path, found: Findings, targets: Iterable[Target], *, about: Mapping[str, object]
) -> None:
    """Write everything that was measured."""
    results = {
        **about,
        "targets": [{**asdict(target), "is_met": target.is_met} for target in targets],
        "rounds": [
            {"cell": str(cell), "ceiling": asdict(pair.ceiling), "gate": asdict(pair.gate)}
            for cell, pairs in found.rounds.pairs.items()
            for pair in pairs
        ],
        "statements_p50_ms": found.rounds.statements,
        "hot": asdict(found.hot),
        "far": [asdict(far) for far in found.far],
        "memory_mb": found.memory.resident,
        "start": asdict(found.start),
        "books": asdict(found.books),
    }
    path.write_text(json.dumps(rounded(results), indent=2) + "\n", encoding="utf-8")


def show_rounds(rounds: Rounds) -> str:
    """Return the medians of all cells as a table."""
    lines = [
        f"{'':28}{'ceiling per s':>14}{'p50':>8}{'p99':>8}{'gate per s':>13}{'p50':>8}{'p99':>8}"
        f"{'ratio':>8}"
    ]
    for cell in rounds.pairs:
        cells = [f"{cell!s:28}"]
        for of_side, width in ((rounds.ceiling, 14), (rounds.gate, 13)):
            cells.append(f"{of_side(cell, _per_second):{width}.0f}")
            cells.append(f"{of_side(cell, _p50):8.2f}{of_side(cell, _p99):8.2f}")
        cells.append(f"{rounds.ratio(cell, _per_second):8.2f}")
        lines.append("".join(cells))
    return "\n".join(lines)


def show_targets(targets: Iterable[Target]) -> str:
    """Return every target as a line that says whether it was met."""
    return "\n".join(
        f"{'met   ' if target.is_met else 'MISSED'}  {target.name}: {target.value:.3g}"
        f" {'≥' if target.is_floor else '≤'} {target.limit:.3g} {target.unit} ({target.detail})"
        for target in targets
    )


def _per_second(fared: Fared) -> float:
    return fared.per_second


def _p50(fared: Fared) -> float:
    return fared.p50


def _p99(fared: Fared) -> float:
    return fared.p99


def rounded(value: object) -> object:
    """Return a value for JSON, with numbers to four places."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {str(name): rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _read_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
