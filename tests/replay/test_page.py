"""The page: self-contained, readable without a script, and nothing of the log is markup."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from gate.replay.comparison import Comparison
from gate.replay.page import write_page
from gate.replay.reader import Reader
from gate.replay.report import Report
from gate.replay.summary import Summary
from gate.replay.timeline import Timelines
from tests.replay.logs import Entry, default_policy, replay, swing

HOSTILE = "</svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\u202e\x00"
VOID = {"meta", "br", "img", "link"}


def make_page(entries: list[Entry], *policies: str) -> str:
    replayed, rows = replay(entries, *map(default_policy, policies or ("{}",)))
    report = Report(
        reader=Reader((), progress=lambda _: None),
        replay=replayed,
        summary=Summary(),
        timelines=Timelines(),
        agents=("*",),
        policy="default",
        against="other" if len(policies) > 1 else None,
        comparison=Comparison() if len(policies) > 1 else None,
    )
    for decided in rows:
        report.summary.take(decided[0])
        report.timelines.take(decided[0])
        if report.comparison is not None:
            report.comparison.take(decided[0], decided[-1])
    return "".join(write_page(report))


class Outline(HTMLParser):
    """The tags of a page, their attributes and ids; fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [value for _, given in self.tags if (value := given.get(attribute))]


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = make_page(swing(3, 5, 3, 5, 3))

    outline = Outline(page)

    assert {tag for tag, _ in outline.tags} & {"script", "link", "img", "iframe", "object"} == set()
    assert all(link.startswith("#") for link in outline.values("href"))
    assert outline.values("src") == []
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_every_link_leads_to_something_on_the_page() -> None:
    outline = Outline(make_page(swing(3, 5, 3, 5, 3)))

    links = {link.removeprefix("#") for link in outline.values("href")}

    assert links <= set(outline.values("id"))
    assert len(outline.values("id")) == len(set(outline.values("id")))


def test_refusals_are_links_that_keyboards_reach_and_say_what_they_are() -> None:
    outline = Outline(make_page(swing(3, 5, 3, 5, 3)))

    marks = [given for tag, given in outline.tags if tag == "a" and "aria-label" in given]

    assert [mark["aria-label"] for mark in marks] == [
        "2026-03-10 09:20:00 scale_deployment: refused",
        "2026-03-10 09:40:00 scale_deployment: refused",
    ]


def test_pictures_are_well_formed() -> None:
    page = make_page([*swing(3, 5, 3), *swing(7, name="api")])

    pictures = re.findall(r"<svg viewBox=\"0 0.*?</svg>", page, re.DOTALL)

    assert len(pictures) == 2
    for picture in pictures:
        ElementTree.fromstring(picture)  # noqa: S314 - made here


def test_nothing_of_the_log_is_markup() -> None:
    entries = swing(3, 5, 3, user="system:serviceaccount:ai-agents:" + HOSTILE)
    for entry in entries:
        entry["objectRef"] |= {"name": HOSTILE, "namespace": HOSTILE}
        entry["requestURI"] = ""

    page = make_page(entries)

    assert "<script" not in page
    assert "<img" not in page
    assert "\x00" not in page
    assert "\u202e" not in page
    assert not any(name.startswith("on") for _, given in Outline(page).tags for name in given)


def test_a_page_of_nothing_is_a_page() -> None:
    assert "There is nothing to draw." in make_page([])


def test_a_page_of_one_change_is_a_page() -> None:
    names = Outline(make_page(swing(3))).values("aria-label")

    assert "Every change of shop/Deployment/web" in names


def test_differences_of_two_policies_are_told() -> None:
    lax = "patterns: {scale-oscillation: {type: scale-oscillation, min_occurrences: 8}}"

    page = make_page(swing(3, 5, 3), "{}", lax)

    assert "It newly refuses 0 and newly admits 1." in page


def test_tables_and_charts_have_names_of_their_own() -> None:
    names = Outline(make_page(swing(3, 5, 3))).values("aria-label")

    assert "Every change of shop/Deployment/web" in names
    assert "Penalty and changes of shop/Deployment/web" in names
    assert len(names) == len(set(names))


def test_every_row_has_a_header_and_every_axis_a_title() -> None:
    page = make_page(swing(3, 5, 3))

    assert page.count('<th scope="row">') == page.count("<tr") - page.count("<thead><tr>")
    assert ">penalty</text>" in page
    assert ">time, UTC</text>" in page


def test_changes_are_written_as_people_write_them() -> None:
    page = make_page(swing(3, 5, 3))

    assert "<code>replicas 3 → replicas 5</code>" in page


def test_old_browsers_know_every_colour() -> None:
    assert "light-dark(" not in make_page([])
