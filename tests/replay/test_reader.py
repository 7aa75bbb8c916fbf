"""Logs as files: rotated, gzipped, out of order, broken and large."""

import gzip
import io
import sys
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest

from gate.replay.log_file import LogFile, LogFileError
from gate.replay.reader import HELD_BACK, Reader
from tests.replay.logs import Entry, make_event


def write(path: Path, entries: Iterable[Entry | bytes]) -> LogFile:
    lines = [line if isinstance(line, bytes) else orjson.dumps(line) for line in entries]
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return LogFile(str(path))


def read(*files: LogFile) -> tuple[Reader, list[str]]:
    reader = Reader(files, progress=lambda _: None)
    return reader, [call.name for call in reader.read()]


def named(*minutes: float) -> list[Entry]:
    """Return entries that are named by their minute."""
    return [make_event(name=f"at-{minute:g}", minute=minute) for minute in minutes]


@pytest.mark.parametrize("suffix", ["log", "gz"])
def test_a_log_is_read_plain_and_gzipped(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"audit.{suffix}", named(1, 2))

    reader, names = read(file)

    assert names == ["at-1", "at-2"]
    assert reader.lines == 2


def test_rotated_logs_are_read_in_time_whatever_the_order_they_are_named_in(
    tmp_path: Path,
) -> None:
    newer = write(tmp_path / "audit.log", named(5, 6))
    older = write(tmp_path / "audit-1.log.gz", named(1, 2))

    assert read(newer, older)[1] == ["at-1", "at-2", "at-5", "at-6"]


def test_logs_of_several_servers_are_merged(tmp_path: Path) -> None:
    one = write(tmp_path / "one.log", named(1, 3, 5))
    two = write(tmp_path / "two.log", named(2, 4, 6))

    assert read(one, two)[1] == [f"at-{minute}" for minute in range(1, 7)]


def test_neighbours_that_are_out_of_order_are_sorted(tmp_path: Path) -> None:
    reader, names = read(write(tmp_path / "audit.log", named(2, 1, 3)))

    assert names == ["at-1", "at-2", "at-3"]
    assert reader.late == 0


def test_what_comes_much_too_late_is_taken_when_it_comes_and_counted(tmp_path: Path) -> None:
    minutes = [*range(10, 10 + 2 * HELD_BACK), 1]

    reader, names = read(write(tmp_path / "audit.log", named(*minutes)))

    assert names.index("at-1") == len(names) - HELD_BACK - 1
    assert len(names) == len(minutes)
    assert reader.late == 1


def test_broken_lines_are_counted_by_reason_and_empty_ones_are_none(tmp_path: Path) -> None:
    entry = make_event(stageTimestamp="?", requestReceivedTimestamp=None)
    lines: list[Entry | bytes] = [b"{", b"", b"[]", b"  ", entry, *named(1)]

    reader, names = read(write(tmp_path / "audit.log", lines))

    assert names == ["at-1"]
    assert reader.lines == 4
    assert reader.broken == {
        "it is not JSON": 1,
        "it is not a JSON object": 1,
        "it tells no time": 1,
    }


def test_a_line_beyond_all_bounds_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.replay.log_file._LINE_AT_MOST", 2000)
    lines: list[Entry | bytes] = [*named(1), b"x" * 10_000, *named(2)]

    reader, names = read(write(tmp_path / "audit.log", lines))

    assert names == ["at-1", "at-2"]
    assert reader.broken == {"it is too long": 1}


def test_a_gzipped_log_that_ends_early_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write(tmp_path / "audit.gz", named(*range(500)))
    content = Path(whole.name).read_bytes()
    Path(whole.name).write_bytes(content[: len(content) // 2])
    file = LogFile(whole.name)

    _, names = read(file)

    assert names[0] == "at-0"
    assert 0 < len(names) < 500
    assert file.problem is not None


@pytest.mark.parametrize("content", [b"\x1f\x8bnonsense", b"\x1f\x8b"])
def test_what_only_begins_like_gzip_is_no_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.gz"
    path.write_bytes(content)
    file = LogFile(str(path))

    assert read(file)[1] == []
    assert file.problem is not None


def test_standard_input_is_read_gzipped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    content = gzip.compress(orjson.dumps(named(1)[0]))
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert read(LogFile("-"))[1] == ["at-1"]


@pytest.mark.parametrize("name", ["missing.log", "."])
def test_a_log_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogFileError, match="cannot be read: "):
        LogFile(str(tmp_path / name))


def test_progress_reaches_the_size_of_all_logs(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{number}.log", named(*range(number, number + 900))) for number in (0, 5)
    ]
    told: list[int] = []

    list(Reader(files, progress=told.append).read())

    assert told == sorted(told)
    assert told[-1] == sum(file.size or 0 for file in files)
