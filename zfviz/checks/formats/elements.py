"""HTML that escapes by itself: an element takes texts as they are, and only `Html` goes in unchanged."""

from html import escape

from zfviz.checks.formats.wording import printable


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | int | float | bool) -> Html:
    """An element; an attribute's trailing underscore is dropped, and one that is False left out."""
    given = "".join(_attribute(key.rstrip("_"), value) for key, value in attributes.items() if value is not False)
    return Html(f"<{name}{given}>{join(*content)}</{name}>")


def void(name: str, /, **attributes: str | int | float) -> Html:
    """An element that holds nothing."""
    return Html(f"<{name}{''.join(_attribute(key.rstrip('_'), value) for key, value in attributes.items())}>")


def join(*content: str) -> Html:
    """One after the other."""
    return Html("".join(_safe(part) for part in content))


def _attribute(key: str, value: str | int | float | bool) -> str:
    return f" {key.replace('_', '-')}" if value is True else f' {key.replace("_", "-")}="{_safe(str_of(value))}"'


def str_of(value: str | int | float) -> str:
    """The text of an attribute's value."""
    return value if isinstance(value, str) else f"{value:g}"


def _safe(part: str) -> str:
    return part if isinstance(part, Html) else escape(printable(part))
