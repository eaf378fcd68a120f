"""The formats of an audit for people: Markdown and the page show names as they are, and run nothing."""

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser
from io import BytesIO

import pytest
from audits import HOSTILE, audited, hostile, judged, made, many, ordinary, picture
from markdown_it import MarkdownIt
from PIL import Image

from zfviz.checks.auditing import Audit, audit
from zfviz.checks.checking import Measurement
from zfviz.checks.formats import markdown, page
from zfviz.checks.formats.wording import printable


@pytest.fixture(scope="module")
def real() -> Audit:
    return audit("zfnet", config={})


class Reader(HTMLParser):
    """The tags of a page with their attributes, its texts by tag; what is not closed in order fails."""

    VOID = ("meta", "img", "br", "hr")

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(content)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def texts_of(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]


def test_markdown_shows_names_as_they_are_and_nothing_else() -> None:
    told = hostile().to_markdown()
    page_ = Reader(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(told))
    expected = "h3 p code table thead tbody tr th td details summary sub"
    assert {tag for tag, _ in page_.tags} == set(expected.split())
    assert not [given for _, given in page_.tags if given]
    names = "".join(page_.texts_of("code"))
    assert all(printable(evil, 120) in names for evil in HOSTILE)
    assert all(len(row.split(" | ")) == 4 for row in told.splitlines() if row.startswith("| ⚠️ warning"))
    # a comment stands between the sign and the name, so that they are two texts
    assert not [text for _, text in page_.texts if re.search(r"[@#]\w", text)]
    assert "www." not in told
    assert "://" not in told


def test_markdown_is_short_enough_for_a_comment() -> None:
    for each in (many(), hostile(), ordinary()):
        assert len(each.to_markdown()) < markdown.LONGEST
    told = many().to_markdown()
    shown = told.count("| ⚠️ warning |") + told.count("| ❌ error |")
    assert f"And {10_001 - shown:,} findings more" in told
    assert shown > 200


def test_markdown_says_the_verdict_first() -> None:
    lines = ordinary().to_markdown().splitlines()
    assert lines[0] == "### ❌ zfviz audit of <code>models/tiny.onnx</code>: failed"
    assert lines[2].startswith("2 errors, 2 warnings, 1 note, 1 ignored; 8 checks: 4 with findings")
    assert (
        lines[6] == "| ❌ error | ZX1 check-ZX1 | <code>conv1</code> | 7 of 10 are; share: 0.7, expected at most 0.5. |"
    )
    warned = audited(judged(made("ZX2"), Measurement("conv1", 0.7, "many"))).to_markdown()
    assert warned.startswith("### ⚠️ zfviz audit of <code>models/tiny.onnx</code>: passed")
    assert audited().to_markdown().startswith("### ✅ zfviz audit of <code>models/tiny.onnx</code>: passed")


def test_the_page_holds_nothing_but_itself(real: Audit) -> None:
    for each in (real, ordinary(), hostile(), many(), audited()):
        read = Reader(each.to_html())
        assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in read.tags}
        given = [(key, value or "") for _, attributes in read.tags for key, value in attributes.items()]
        assert not [key for key, _ in given if key.startswith("on") or key == "style"]
        for key, value in given:
            if key in ("src", "href"):
                assert value.startswith("data:image/png;base64," if key == "src" else "#")
        ids = [value for key, value in given if key == "id"]
        assert len(ids) == len(set(ids))
        assert {value[1:] for key, value in given if key == "href"} <= set(ids)
        (policy,) = [a["content"] for _, a in read.tags if a.get("http-equiv") == "Content-Security-Policy"]
        (style,) = read.texts_of("style")
        assert base64.b64encode(sha256(style.encode()).digest()).decode() in policy
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert "unsafe" not in policy
        assert "url(" not in style


def test_the_page_shows_names_as_they_are() -> None:
    read = Reader(hostile().to_html())
    names = read.texts_of("code")
    assert all(printable(evil) in names for evil in HOSTILE)


def test_the_page_holds_the_evidence_and_not_too_much_of_it() -> None:
    each = ordinary()
    shown = [a for tag, a in Reader(each.to_html()).tags if tag == "img"]
    assert [a["alt"] for a in shown] == ["conv2: many", "conv1: told"]
    wide = [
        judged(made(f"ZX{n}"), *(Measurement(f"{m}", 1.0, "wide", picture=picture(3000, 90, "CMYK")) for m in range(9)))
        for n in range(12)
    ]
    told = audited(*wide).to_html()
    shown = [a for tag, a in Reader(told).tags if tag == "img"]
    assert len(shown) == page.PICTURES
    for attributes in shown:
        with Image.open(BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))) as drawn:
            assert drawn.size == (int(attributes["width"]), int(attributes["height"])) == (page.WIDEST, 36)
    assert audited(*wide[:1]).to_html().count("<img") == 4
    small = judged(made("ZX1"), Measurement("a", 1.0, "small", picture=picture(mode="CMYK")))
    assert 'width="30" height="20"' in audited(small).to_html()
    assert len(many().to_html()) < 1_000_000


def test_the_page_tells_each_check() -> None:
    told = "".join(text for _, text in Reader(ordinary().to_html()).texts)
    for said in ("Is it?", "What is wrong, as a share.", "at most 0.5", "us 2025", "Ignored: known since May", "-2.5"):
        assert said in told
    assert "Did not run: no images were given (--images)." in told


def test_the_page_charts_numbers_with_their_limit() -> None:
    found = [Measurement(f"{n}", n / 4, "so") for n in range(4)] + [Measurement("4", float("nan"), "no number")]
    read = Reader(audited(judged(made("ZX1", limit=0.5), *found)).to_html())
    bars = [a for tag, a in read.tags if tag == "rect" and "bar" in a["class"]]
    assert [float(a["height"]) for a in bars] == [0, 33.33, 66.67, 100, 100]
    assert [a["class"].split()[1:] for a in bars] == [[], [], [], ["warning"], ["warning"]]
    (line,) = [a for tag, a in read.tags if tag == "line"]
    assert line["y1"] == line["y2"] == "33.33"
    assert read.texts_of("title")[1:] == ["0: 0", "1: 0.25", "2: 0.5", "3: 0.75", "4: nan"]
    for flat in ([0.0] * 4, [1.0, 2.0], [-1.0] * 4):
        for limit in (None, 0.0) if any(flat) else (None, 0.0, 0.5):
            one = judged(made("ZX1", limit=limit), *(Measurement("a", value, "so") for value in flat))
            assert "<svg" not in audited(one).to_html()


def test_a_single_number_is_told_once() -> None:
    def tables(*found: Measurement) -> int:
        return audited(judged(made("ZX1"), *found)).to_html().count("<details")

    one = Measurement("a", 0.1, "so")
    assert (tables(one), tables(one, one), tables(Measurement("a", 0.1, "so", (), "a.jpg"))) == (0, 1, 1)
