"""One line of a log, whichever kind of audit log it comes from."""

from collections.abc import Iterator, Mapping

import orjson

from gate.replay.call import Call, UnreadableError
from gate.replay.google_entry import read_entry
from gate.replay.kubernetes_event import read_event


def read_line(line: bytes) -> Iterator[Call]:
    """Return the writes to workloads that a line tells of; raises UnreadableError.

    An audit webhook's list of events counts as one line for each.
    """
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise UnreadableError("it is not JSON") from None
    if not isinstance(entry, dict):
        raise UnreadableError("it is not a JSON object")
    if b"deployments" not in line and b"statefulsets" not in line:
        return
    listed = entry.get("items")
    entries = listed if entry.get("kind") == "EventList" and isinstance(listed, list) else [entry]
    for item in entries:
        call = _read(item) if isinstance(item, dict) else None
        if call is not None:
            yield call


def find_instant(line: bytes) -> str | None:
    """Return the time a line tells, as it is written; None where it tells none."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    names = ("stageTimestamp", "requestReceivedTimestamp", "timestamp")
    found = (entry.get(name) for name in names) if isinstance(entry, dict) else ()
    return next((value for value in found if isinstance(value, str)), None)


def _read(entry: Mapping[str, object]) -> Call | None:
    return read_entry(entry) if "protoPayload" in entry else read_event(entry)
