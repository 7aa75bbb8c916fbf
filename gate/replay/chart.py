"""A workload's timeline as SVG: the penalty as it rises and decays, and every change as a mark."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape as escape_html
from itertools import pairwise

from gate.domain.words import escape
from gate.replay.judging import Penalty
from gate.replay.row import Disposition, Row

_WIDTH, _HEIGHT = 960, 232
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 14, 46
_SAMPLES = 24  # points of a curve between two changes
_TICKS = 5
_MARKS = {
    Disposition.ADMITS: '<circle r="3.5" class="admits"/>',
    Disposition.WARNS: '<path d="M0-6 6 0 0 6-6 0Z" class="warns"/>',
    Disposition.WOULD_REFUSE: '<path d="M-6-6H6V6H-6Z" class="would"/>',
    Disposition.REFUSES: '<path d="M-7-6H7L0 8Z" class="refuses"/>',
}
WORDS = {
    Disposition.ADMITS: "admitted",
    Disposition.WARNS: "admitted with a warning",
    Disposition.WOULD_REFUSE: "would have been refused (audit)",
    Disposition.REFUSES: "refused",
}


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where instants and penalties lie on the picture."""

    start: datetime
    span: timedelta
    highest: float

    def x(self, at: datetime) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * ((at - self.start) / self.span), 1)

    def y(self, penalty: float) -> float:
        height = _HEIGHT - _TOP - _BOTTOM
        return round(_HEIGHT - _BOTTOM - height * min(penalty / self.highest, 1.0), 1)


def draw_chart(rows: Sequence[Row], *, title: str, anchor: str) -> str:
    """Return the picture of a workload's changes, oldest first; marks of refusals are links.

    `anchor` is the start of the ids of the rows that they lead to.
    """
    axes = _lay_out(rows)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" aria-label="{quote(title)}">',
        *_draw_frame(axes),
        *_draw_thresholds(rows, axes),
        *_draw_curves(rows, axes),
        *(_draw_mark(row, axes, link=f"#{anchor}-{n}") for n, row in enumerate(rows)),
        "</svg>",
    ]
    return "\n".join(parts)


def draw_mark(disposition: Disposition) -> str:
    """Return the mark of one kind alone, for a legend."""
    return (
        f'<svg viewBox="-9 -9 18 18" width="14" height="14" aria-hidden="true">'
        f"{_MARKS[disposition]}</svg>"
    )


def quote(text: str, *, limit: int = 300) -> str:
    """Return text of the log fit for a page: on one line, bounded, and never markup."""
    return escape_html(escape(text, limit=limit))


def show_instant(instant: datetime) -> str:
    """Return an instant as the page shows it."""
    return instant.strftime("%Y-%m-%d %H:%M:%S")


def _lay_out(rows: Sequence[Row]) -> _Axes:
    times = [row.time for row in rows]
    start = min(times)
    span = max(max(times) - start, timedelta(seconds=1))
    penalties = [row.penalty for row in rows if row.penalty is not None]
    highest = max((max(p.value, p.threshold) for p in penalties), default=1.0)
    return _Axes(start - span * 0.02, span * 1.04, highest * 1.1)


def _draw_frame(axes: _Axes) -> Iterator[str]:
    floor = _HEIGHT - _BOTTOM
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - _RIGHT}"/>'
    for number in range(_TICKS):
        at = axes.start + axes.span * (number / (_TICKS - 1))
        x = axes.x(at)
        anchor = "start" if number == 0 else "end" if number == _TICKS - 1 else "middle"
        yield f'<path class="axis" d="M{x} {floor}v4"/>'
        yield (
            f'<text x="{x}" y="{floor + 18}" text-anchor="{anchor}">{show_instant(at)[5:16]}</text>'
        )
    for value in (0.0, axes.highest / 2, axes.highest):
        y = axes.y(value)
        yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.1f}</text>'
    yield from _draw_titles()


def _draw_titles() -> Iterator[str]:
    """Say what the axes are of."""
    x, y = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    yield f'<text x="{x}" y="{_HEIGHT - 6}" text-anchor="middle">time, UTC</text>'
    yield f'<text transform="translate(14 {y}) rotate(-90)" text-anchor="middle">penalty</text>'


def _draw_thresholds(rows: Sequence[Row], axes: _Axes) -> Iterator[str]:
    found = {(row.penalty.pattern, row.penalty.threshold) for row in rows if row.penalty}
    for number, (pattern, threshold) in enumerate(sorted(found)):
        y = axes.y(threshold)
        yield f'<path class="threshold" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>'
        yield (
            f'<text x="{_LEFT + 6 + 240 * number}" y="{y - 4}" class="named">'
            f"{quote(pattern, limit=40)}: threshold {threshold:.2f}</text>"
        )


def _draw_curves(rows: Sequence[Row], axes: _Axes) -> Iterator[str]:
    """Draw one curve for each pattern that folds reversals, decaying between changes."""
    curves: dict[str, list[tuple[datetime, Penalty]]] = {}
    for row in rows:
        if row.penalty is not None:
            curves.setdefault(row.penalty.pattern, []).append((row.time, row.penalty))
    for number, points in enumerate(curves[name] for name in sorted(curves)):
        yield f'<path class="curve curve-{number % 3}" d="M{" ".join(_trace(points, axes))}"/>'


def _trace(points: Sequence[tuple[datetime, Penalty]], axes: _Axes) -> Iterator[str]:
    first, penalty = points[0]
    yield f"{axes.x(first)},{axes.y(penalty.value)}"
    for (start, held), (end, reached) in pairwise(points):
        for sample in range(1, _SAMPLES + 1):
            at = start + (end - start) * (sample / _SAMPLES)
            yield f"{axes.x(at)},{axes.y(held.after(at - start))}"
        yield f"{axes.x(end)},{axes.y(reached.value)}"


def _draw_mark(row: Row, axes: _Axes, *, link: str) -> str:
    penalty = 0.0 if row.penalty is None else row.penalty.value
    words = quote(f"{show_instant(row.time)} {row.action_type}: {WORDS[row.disposition]}")
    mark = (
        f'<g transform="translate({axes.x(row.time)} {axes.y(penalty)})">'
        f"<title>{words}</title>{_MARKS[row.disposition]}</g>"
    )
    if row.disposition < Disposition.WOULD_REFUSE:
        return mark
    return f'<a href="{link}" aria-label="{words}">{mark}</a>'
