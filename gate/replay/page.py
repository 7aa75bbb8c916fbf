"""A replay as one page: no script, nothing loaded from elsewhere, all of the log's text escaped."""

from collections.abc import Iterator
from importlib.resources import files

from gate.domain.canonical import encode
from gate.replay.call import mapping
from gate.replay.chart import WORDS, draw_chart, draw_mark, quote, show_instant
from gate.replay.comparison import Difference
from gate.replay.report import Report, describe_input, describe_result, list_notes
from gate.replay.row import Disposition, Row
from gate.replay.summary import Line
from gate.replay.timeline import Timeline

_TIMELINES_AT_MOST = 100
_LINES_AT_MOST = 500
_DIFFERENCES_AT_MOST = 500
_SIDE_AT_MOST = 160


def write_page(report: Report) -> Iterator[str]:
    """Return the page in parts, in their order."""
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>gate replay</title>\n"
        f"<style>\n{_read_style()}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#timelines">Skip to the timelines</a>\n<main>\n'
    )
    yield "<h1>What gate would have done</h1>\n"
    yield f'<p class="result">{quote(describe_result(report))}</p>\n'
    yield f"<p>{quote(describe_input(report))} Policy: {quote(report.policy)}.</p>\n"
    yield from _write_notes(report)
    yield from _write_comparison(report)
    yield from _write_summary(report)
    yield from _write_timelines(report)
    yield "</main>\n</body>\n</html>\n"


def _read_style() -> str:
    return files("gate.replay").joinpath("page.css").read_text(encoding="utf-8")


def _write_notes(report: Report) -> Iterator[str]:
    notes = [f"<li>{quote(note, limit=600)}</li>\n" for note in list_notes(report)]
    if notes:
        yield from ("<h2>What limits this</h2>\n<ul>\n", *notes, "</ul>\n")


def _write_comparison(report: Report) -> Iterator[str]:
    comparison = report.comparison
    if comparison is None:
        return
    yield f"<h2>Against {quote(report.against or '')}</h2>\n"
    yield f"<p>It newly refuses {comparison.refused} and newly admits {comparison.admitted}.</p>\n"
    if comparison.kept:
        heads = ("time", "workload", "actor", "change", "now", "then", "why")
        cells = (_describe_difference(d) for d in comparison.kept[:_DIFFERENCES_AT_MOST])
        yield from _write_table("Changes that the policies treat differently", heads, cells)
    yield _more(comparison.refused + comparison.admitted - _DIFFERENCES_AT_MOST, "differences")


def _describe_difference(difference: Difference) -> tuple[str, ...]:
    first, second = difference.first, difference.second
    reason = second if difference.is_stricter else first
    return (
        show_instant(first.time),
        quote(first.workload),
        quote(first.actor),
        _describe_change(first),
        WORDS[first.disposition],
        WORDS[second.disposition],
        quote(f"{reason.pattern}: {reason.summary}", limit=600),
    )


def _write_summary(report: Report) -> Iterator[str]:
    lines = report.summary.lines
    if not lines:
        return
    yield "<h2>By workload, actor and pattern</h2>\n"
    heads = (
        "workload", "actor", "pattern", "changes", "refused", "episodes", "warned", "audit",
        "first refused", "longest wait",
    )  # fmt: skip
    cells = (_describe_line(line) for line in lines[:_LINES_AT_MOST])
    yield from _write_table("Changes by agents, times in UTC", heads, cells)
    yield _more(len(lines) - _LINES_AT_MOST + report.summary.unlisted, "lines")


def _describe_line(line: Line) -> tuple[str, ...]:
    first = "" if line.first_refused is None else show_instant(line.first_refused)
    pattern = f"{line.subject.pattern} → {line.strategy}" if line.subject.pattern else "none"
    numbers = (line.changes, line.refused, line.episodes, line.warned, line.would_be_refused)
    return (
        quote(line.subject.workload),
        quote(line.subject.actor),
        quote(pattern),
        *map(str, numbers),
        first,
        f"{line.longest_wait} s" if line.longest_wait else "",
    )


def _write_timelines(report: Report) -> Iterator[str]:
    timelines = report.timelines.list_weightiest(_TIMELINES_AT_MOST)
    yield '<h2 id="timelines">Timelines</h2>\n'
    if not timelines:
        yield "<p>There is nothing to draw.</p>\n"
        return
    legend = "".join(
        f"<li>{draw_mark(disposition)} {WORDS[disposition]}</li>" for disposition in Disposition
    )
    yield (
        "<p>The curve is the penalty of reversals: each adds one, and it decays with time. A change"
        " is refused where it reverses another and the penalty reaches the threshold. What was"
        " refused here happened all the same, so the curve goes on from it. Times are UTC.</p>\n"
        f'<ul class="legend">{legend}</ul>\n'
    )
    yield '<nav aria-label="Workloads"><ol>\n'
    for number, timeline in enumerate(timelines):
        yield (
            f'<li><a href="#w{number}">{quote(timeline.workload)}</a>: {timeline.changes} changes,'
            f" {timeline.refusals} refused</li>\n"
        )
    yield "</ol></nav>\n"
    for number, timeline in enumerate(timelines):
        yield from _write_timeline(timeline, f"w{number}")
    yield _more(
        len(report.timelines) - len(timelines) + report.timelines.left_out, "workloads, not drawn"
    )


def _write_timeline(timeline: Timeline, anchor: str) -> Iterator[str]:
    rows = sorted(timeline.rows, key=lambda row: row.time)
    yield f'<section id="{anchor}">\n<h3>{quote(timeline.workload)}</h3>\n'
    if timeline.changes > len(rows):
        yield f"<p>The newest {len(rows)} of {timeline.changes} changes.</p>\n"
    title = f"Penalty and changes of {timeline.workload}"
    yield f"<figure>{draw_chart(rows, title=title, anchor=anchor)}</figure>\n"
    heads = ("time", "actor", "change", "answer", "why", "retry after")
    yield "<details open>\n<summary>Every change</summary>\n"
    cells = (_describe_row(row) for row in rows)
    classes = tuple(_class_of(row) for row in rows)
    caption = f"Every change of {timeline.workload}"
    yield from _write_table(caption, heads, cells, anchor=anchor, classes=classes)
    yield "</details>\n</section>\n"


def _describe_row(row: Row) -> tuple[str, ...]:
    answer = WORDS[row.disposition] + (", first of its episode" if row.first_of_episode else "")
    wait = row.retry_after_seconds
    return (
        show_instant(row.time),
        quote(row.actor),
        _describe_change(row),
        answer,
        quote(f"{row.pattern}: {row.summary}", limit=600) if row.pattern else "",
        "" if wait is None else f"{wait} s",
    )


def _describe_change(row: Row) -> str:
    before, after = (_show_side(side) for side in (row.before, row.after))
    return f"{quote(row.action_type)}<br><code>{before} → {after}</code>"


def _show_side(side: object) -> str:
    """Return one side as people write it, such as `replicas 3` or `app limits.memory 256Mi`."""
    return "?" if side is None else quote(", ".join(_list_values(side)), limit=_SIDE_AT_MOST)


def _list_values(side: object) -> Iterator[str]:
    for name, value in mapping(side).items():
        if name != "containers":
            yield f"{name} {_show_value(value)}"
            continue
        for container, fields in mapping(value).items():
            for field, inner in mapping(fields).items():
                yield f"{container} {field} {_show_value(inner)}"


def _show_value(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else encode(value).decode()


def _write_table(
    caption: str,
    heads: tuple[str, ...],
    rows: Iterator[tuple[str, ...]],
    *,
    anchor: str | None = None,
    classes: tuple[str, ...] = (),
) -> Iterator[str]:
    """Write a table that can be scrolled by keyboard; its cells are markup, escaped already.

    The first cell of a row is its header.
    """
    yield (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{quote(caption)}">\n<table>\n'
        f"<caption>{quote(caption)}</caption>\n<thead><tr>"
    )
    yield from (f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead>\n<tbody>\n"
    for number, (header, *cells) in enumerate(rows):
        mark = f' id="{anchor}-{number}"' if anchor else ""
        mark += f' class="{classes[number]}"' if classes else ""
        rest = "".join(f"<td>{cell}</td>" for cell in cells)
        yield f'<tr{mark}><th scope="row">{header}</th>{rest}</tr>\n'
    yield "</tbody></table></div>\n"


def _class_of(row: Row) -> str:
    return "refused" if row.disposition >= Disposition.WOULD_REFUSE else "admitted"


def _more(number: int, what: str) -> str:
    return f"<p>And {number} more {what}.</p>\n" if number > 0 else ""
