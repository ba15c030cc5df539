"""The house's floors: every import goes down, in a file's head and inside its functions alike."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    ("common",),
    ("simulation", "analysis"),
    ("demonstrations",),
    ("generator",),
    ("dataset_builders", "eval_harness"),
    ("vla_adapters",),
    ("reports",),
    ("benchmarks", "experiments"),
    ("cli",),
)
"""From the ground up; rooms on one floor import none of each other."""
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}
LONGEST_FILE = 400
MOST_MODULES = 15


def imported(source: str) -> Iterator[str]:
    """Yield the names of all modules that a source text imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def upward_imports(room: str, source: str) -> list[str]:
    """Return what a module of `room` imports from its own floor's other rooms, or from above."""
    others = ((name, name.split(".")[0]) for name in imported(source))
    return [
        name
        for name, other in others
        if other in HEIGHT and other != room and HEIGHT[other] >= HEIGHT[room]
    ]


def modules(room: str) -> list[Path]:
    """Return the modules of a room."""
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", HEIGHT)
def test_imports_go_down(room):
    found = {
        str(path.relative_to(ROOT)): upward
        for path in modules(room)
        if (upward := upward_imports(room, path.read_text()))
    }
    assert modules(room)
    assert not found


@pytest.mark.parametrize(
    "planted",
    [
        "import generator.recipes",
        "from cli.main import main",
        "def late():\n    from eval_harness import policy",
        "from eval_harness import runner",
    ],
)
def test_upward_import_is_found(planted):
    assert upward_imports("demonstrations", f"import common.errors\n{planted}\n")
    assert not upward_imports("demonstrations", "from simulation.scene import Scene")


def dependencies(root: Path = ROOT) -> dict[str, set[str]]:
    """Return, for each module of the product, the modules of the product that its head imports."""
    names = {}
    for room in HEIGHT:
        for path in sorted((root / room).rglob("*.py")):
            dotted = ".".join(path.relative_to(root).with_suffix("").parts)
            names[dotted.removesuffix(".__init__")] = path
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        found[name] = set()
        for node in ast.parse(path.read_text()).body:
            for target in imported(ast.unparse(node)) if isinstance(node, _IMPORTS) else ():
                parent = target.rpartition(".")[0]
                found[name] |= {m for m in (target, parent) if m in names and m != name}
    return found


_IMPORTS = (ast.Import, ast.ImportFrom)


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules that reach themselves by imports."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph[name]
        return seen

    return [name for name in graph if name in reach(name)]


def test_no_circle():
    graph = dependencies()
    assert len(graph) > 100
    assert not circles(graph)
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def test_files_are_short_and_folders_not_crowded():
    """A file may be longer if its first line says why; the command line has a file a command."""
    for room in HEIGHT:
        folders: dict[Path, int] = {}
        for path in modules(room):
            text = path.read_text()
            first = text.split('"""')[1].splitlines()[0] if '"""' in text else ""
            assert text.count("\n") <= LONGEST_FILE or "long" in first, path
            folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")
        crowded = {f.name: n for f, n in folders.items() if n > MOST_MODULES and f.name != "cli"}
        assert not crowded
