"""The terminal: what comes from files of strangers is shown, and does nothing."""


def visible(text: str) -> str:
    """The text with what cannot be printed as its escape, such as \\x1b: names could clear or paint the screen."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
