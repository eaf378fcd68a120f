"""The house: folders are floors, imports go down only (the order stands in CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

import zfviz

HOUSE = Path(zfviz.__file__).parent
FLOORS = ("graph", "images", "report", "models", "runtime", "studies", "checks", "cli")
FILES = sorted(HOUSE.rglob("*.py"))
MAX_LINES = 400


def imports(source: str) -> set[str]:
    """Every module that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def upward(floor: str, source: str) -> set[str]:
    """The imports of floors above `floor`."""
    above = FLOORS[FLOORS.index(floor) + 1 :]
    return {name for name in imports(source) if name.startswith("zfviz.") and name.split(".")[1] in above}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down_only(path: Path) -> None:
    floor = path.relative_to(HOUSE).parts[0]
    source = path.read_text()
    if floor in FLOORS:
        assert not upward(floor, source)
    if floor != "runtime":
        assert not {name for name in imports(source) if name.split(".")[0] == "onnxruntime"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_file_is_two(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_every_folder_is_a_known_floor() -> None:
    assert {p.name for p in HOUSE.iterdir() if p.is_dir() and p.name != "__pycache__"} <= set(FLOORS)


def test_a_planted_upward_import_is_seen() -> None:
    assert upward("graph", "def f():\n    from zfviz.runtime.session import open_session") == {"zfviz.runtime.session"}
