"""An audit as one page of HTML: no scripts, nothing fetched, the evidence inside it."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from math import isfinite
from urllib.parse import quote

from PIL import Image

from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.checking import GROUPS, Measurement
from zfviz.checks.evidence import numbered
from zfviz.checks.formats.elements import Html, element, join, void
from zfviz.checks.formats.wording import (
    about,
    expected,
    facts,
    ignored,
    number,
    overview,
    printable,
    sentence,
    tally,
    tone,
    verdict,
    worst,
)
from zfviz.runtime.session import versions

PICTURES = 40
"""How many pictures a page holds."""

WIDEST = 1200
"""How many pixels wide a picture is at most."""

_TALLEST = 4000
_OF_ONE_CHECK = 4  # pictures
_LISTED = 300  # findings, or layers of one check
_OPEN = 30  # tables of at most this many layers are unfolded where something was found
_CHARTED = 3  # numbers that make a chart
_SHORT = 60  # characters of a name where there is little room
_DRAWABLE = ("1", "L", "LA", "P", "RGB", "RGBA")

Pictures = Mapping[Measurement, Html]


def write(audit: Audit) -> str:
    """The page: the verdict, all findings, then each check with its numbers and pictures, by group."""
    pictures = {measurement: _picture(measurement) for measurement in _shown(audit)}
    groups = {group: [r for r in audit.results if r.check.group == group] for group in GROUPS}
    groups = {group: results for group, results in groups.items() if results}
    style = files("zfviz.checks.formats").joinpath("page.css").read_text("utf-8")
    head = join(
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        void("meta", name="referrer", content="no-referrer"),
        element("title", f"{verdict(audit)}: zfviz audit of {printable(audit.path)}"),
        element("style", Html(style)),
    )
    body = join(
        _banner(audit),
        element(
            "div",
            _contents(groups),
            element("main", _findings(audit), *(_group(*item, pictures) for item in groups.items())),
            class_="columns",
        ),
        element("footer", " · ".join(f"{name} {version}" for name, version in versions().items())),
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _policy(style: str) -> str:
    """The page may show its own pictures in its own style, and do nothing else."""
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"


def _shown(audit: Audit) -> list[Measurement]:
    """The measurements whose pictures are shown: of findings, the most severe first, then of each check's first layer
    that has one.
    """
    chosen: dict[Measurement, None] = {}
    for result in sorted(audit.results, key=lambda r: min(map(worst, r.counted), default=len(GROUPS))):
        own = [finding.measurement for finding in sorted(result.counted, key=worst)]
        own = [measurement for measurement in own if measurement.picture] or [
            measurement for measurement in result.measurements if measurement.picture
        ][:1]
        chosen |= dict.fromkeys(own[:_OF_ONE_CHECK])
    return list(chosen)[:PICTURES]


def _picture(measurement: Measurement) -> Html:
    assert measurement.picture
    picture = measurement.picture()
    if picture.mode not in _DRAWABLE:
        picture = picture.convert("RGB")
    shrunk = min(1.0, WIDEST / picture.width, _TALLEST / picture.height)
    if shrunk < 1:
        size = max(1, round(picture.width * shrunk)), max(1, round(picture.height * shrunk))
        picture = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "PNG")
    said = f"{measurement.layer}: {measurement.said}" if measurement.layer else measurement.said
    image = void(
        "img",
        src=Html(f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"),
        alt=said,
        width=picture.width,
        height=picture.height,
        class_="small" if picture.width < 200 else "",
    )
    return element("figure", image, element("figcaption", said))


def _banner(audit: Audit) -> Html:
    told = {
        "Model": audit.model.name,
        **facts(audit),
        "SHA-256": audit.model.source.sha256 or "unknown",
        "Fails on": audit.fail_on,
    }
    return element(
        "header",
        element("p", "zfviz audit", class_="eyebrow"),
        element("h1", _name(audit.path), " ", element("span", verdict(audit), class_=f"badge {tone(audit)}")),
        element("p", f"{tally(audit).capitalize()}. {overview(audit)}.", class_="lead"),
        _facts(told),
        class_=tone(audit),
    )


def _contents(groups: Mapping[str, Sequence[Result]]) -> Html:
    parts = [element("a", "Findings", href="#findings", class_="group")]
    for group, results in groups.items():
        parts.append(element("a", group.capitalize(), href=f"#{group}", class_="group"))
        links = (
            element(
                "li",
                element(
                    "a",
                    element("span", "", class_=f"dot {_tone(result)}", title=result.status),
                    element("span", result.check.code, class_="code"),
                    " ",
                    printable(result.check.name, _SHORT),
                    href=_link(result),
                ),
            )
            for result in results
        )
        parts.append(element("ul", *links))
    return element("nav", *parts, aria_label="Checks")


def _findings(audit: Audit) -> Html:
    found, hidden = audit.findings, ignored(audit)
    rows = (
        element(
            "tr",
            element("td", element("span", f.severity, class_=f"badge {f.severity}")),
            element("td", element("a", f.check.code, href=f"#{quote(printable(f.check.code))}", class_="code")),
            element("td", _name(f.layer) if f.layer else "the model"),
            element("td", _without_layer(f)),
        )
        for f in found[:_LISTED]
    )
    table = _table(("Severity", "Check", "Layer", "What was found"), rows) if found else element("p", "None.")
    more = [element("p", f"{numbered(len(hidden), 'finding')} ignored; the reasons stand with the checks.")]
    return element(
        "section", element("h2", "Findings"), table, _more(len(found)), *(more if hidden else []), id="findings"
    )


def _group(group: str, results: Sequence[Result], pictures: Pictures) -> Html:
    return element(
        "section", element("h2", group.capitalize()), *(_check(result, pictures) for result in results), id=group
    )


def _check(result: Result, pictures: Pictures) -> Html:
    check, worst_one = result.check, result.worst
    told = {
        "Worst": _worst(worst_one) if worst_one else "",
        "Expected": expected(check),
        "Counts": check.unit,
        "Source": check.source,
    }
    drawn = [pictures[measurement] for measurement in result.measurements if measurement in pictures]
    return element(
        "article",
        element(
            "h3",
            element("span", check.code, class_="code"),
            " ",
            check.name,
            " ",
            element("span", _tone(result), class_=f"badge {_tone(result)}"),
        ),
        element("p", check.question, class_="question"),
        *([element("p", f"Did not run: {result.skipped}.")] if result.skipped else []),
        *([element("p", about(check), class_="about")] if about(check) else []),
        _facts(told),
        _found(result.findings),
        element("div", *drawn, class_="pictures") if drawn else Html(),
        _measurements(result),
        id=Html(quote(printable(check.code))),
        class_=f"{result.status} {_tone(result)}",
    )


def _found(findings: Sequence[Finding]) -> Html:
    items = (
        element(
            "li",
            element("span", f.severity, class_=f"badge {'skipped' if f.ignored else f.severity}"),
            " ",
            sentence(f),
            *([element("em", f" Ignored: {printable(f.ignored)}")] if f.ignored else []),
        )
        for f in sorted(findings, key=worst)[:_LISTED]
    )
    return join(element("ul", *items, class_="findings"), _more(len(findings))) if findings else Html()


def _measurements(result: Result) -> Html:
    """The numbers as a chart, and in a table to unfold."""
    found = result.measurements[:_LISTED]
    if not found:
        return Html() if result.skipped else element("p", "There is nothing to measure in this model.", class_="about")
    if len(found) == 1 and not found[0].image:
        return Html()  # it is the worst, which is told already
    tones = {f.measurement: "skipped" if f.ignored else f.severity for f in result.findings}
    rows = (
        element(
            "tr",
            element("td", _name(m.layer) if m.layer else "the model"),
            element("td", number(m.value), class_=f"number {tones.get(m, '')}"),
            element("td", m.said, *(["; in ", _name(m.image)] if m.image else [])),
        )
        for m in found
    )
    title = numbered(len(result.measurements), "measurement")
    if len(found) > 1:
        title += f", {printable(found[0].layer, _SHORT)} to {printable(result.measurements[-1].layer, _SHORT)}"
    table = _table(("Layer", "Number", "What was measured"), rows)
    opened = bool(result.counted) and len(found) <= _OPEN
    folded = element("details", element("summary", title), table, _more(len(result.measurements)), open=opened)
    return join(_chart(found, result.check.limit, tones), folded)


def _chart(found: Sequence[Measurement], limit: float | None, tones: Mapping[Measurement, str]) -> Html:
    """A column for each number, and the limit as a line across; nothing where all are zero, or there are too few."""
    known = [m.value for m in found if isfinite(m.value)]
    top = max([*known, limit if limit is not None and isfinite(limit) else 0.0, 0.0])
    if len(found) < _CHARTED or not top or not any(known):
        return Html()
    columns = (
        element(
            "g",
            element("title", f"{printable(m.layer, _SHORT)}: {number(m.value)}"),
            element("rect", x=10 * place + 1, y=0, width=8, height=100, class_="track"),
            element("rect", x=10 * place + 1, y=100 - high, width=8, height=high, class_=f"bar {tones.get(m, '')}"),
        )
        for place, m in enumerate(found)
        for high in [round(100 * min(1.0, max(0.0, m.value / top)), 2) if isfinite(m.value) else 100]
    )
    line = Html()
    if limit is not None and 0 <= limit <= top:
        at = round(100 - 100 * limit / top, 2)
        line = element("line", x1=0, x2=10 * len(found), y1=at, y2=at)
    return element(
        "svg",
        *columns,
        line,
        viewBox=f"0 0 {10 * len(found)} 100",
        preserveAspectRatio="none",
        width=min(720, 16 * len(found)),
        height=48,
        role="img",
        aria_label="the numbers of all layers",
    )


def _tone(result: Result) -> str:
    """The colour of a check: its worst finding's severity, or its status."""
    return min(result.counted, key=worst).severity if result.counted else result.status


def _link(result: Result) -> str:
    return f"#{quote(printable(result.check.code))}"


def _name(text: str) -> Html:
    return element("code", text)


def _worst(measurement: Measurement) -> Html:
    where = [" in ", _name(measurement.layer)] if measurement.layer else []
    return join(element("strong", number(measurement.value)), *where, ": ", measurement.said)


def _without_layer(finding: Finding) -> str:
    return sentence(finding).removeprefix(f"{printable(finding.layer)}: " if finding.layer else "")


def _facts(facts: Mapping[str, str]) -> Html:
    pairs = (element("div", element("dt", name), element("dd", text)) for name, text in facts.items() if text)
    return element("dl", *pairs)


def _table(titles: tuple[str, ...], rows: Iterable[Html]) -> Html:
    heads = element("thead", element("tr", *(element("th", title, scope="col") for title in titles)))
    return element("div", element("table", heads, element("tbody", *rows)), class_="wide")


def _more(count: int) -> Html:
    left = count - _LISTED
    return element("p", f"And {left:,} more; the format json has all.") if left > 0 else Html()
