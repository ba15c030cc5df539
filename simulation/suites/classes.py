"""Facts in LIBERO-Plus's Python files, read from their syntax: nothing of a checkout is run.

Its problem classes name a scene file and styles, its robot classes a posture, its object classes
an MJCF file.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import UnknownTaskError

_MOST_BYTES = 2**24
_KEY = re.compile(r"([A-Z0-9])")
_ASSETS = "assets/"
JOINTS = 7


@dataclass(frozen=True)
class ProblemClass:
    """What a problem class sets beside what it inherits."""

    base: str
    """Name of the class that it inherits from, in lower case."""
    scene: str | None = None
    """Its scene file, relative to the assets."""
    styles: tuple[tuple[str, str], ...] = ()
    """What floor and walls are called."""


@functools.lru_cache(maxsize=2)
def problem_classes(root: Path, remedy: str) -> Mapping[str, ProblemClass]:
    """Return name in lower case -> what the class sets, of all in `envs/problems`."""
    found = {}
    for node in _classes(root / "envs" / "problems", remedy):
        bases = [base.id.lower() for base in node.bases if isinstance(base, ast.Name)]
        settings = _settings(node)
        styles = settings.get("scene_properties")
        scene = settings.get("scene_xml")
        found[node.name.lower()] = ProblemClass(
            bases[0] if bases else "",
            scene if isinstance(scene, str) else None,
            tuple(sorted((str(k), str(v)) for k, v in styles.items()))
            if isinstance(styles, dict)
            else (),
        )
    return found


@functools.lru_cache(maxsize=2)
def robot_postures(root: Path, remedy: str) -> Mapping[str, tuple[float, ...]]:
    """Return class -> joint angles, rad (7,), of all robots in `envs/robots` that set them."""
    found = {}
    for node in _classes(root / "envs" / "robots", remedy):
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name == "init_qpos":
                numbers = _numbers(part)
                if numbers is not None and len(numbers) == JOINTS:
                    found[node.name] = numbers
    return found


@functools.lru_cache(maxsize=2)
def object_files(root: Path, remedy: str) -> Mapping[str, str]:
    """Return kind of object -> MJCF file, relative to the assets, of LIBERO-Plus's own objects."""
    found = {}
    for node in _classes(root / "envs" / "objects", remedy):
        for text in _texts(node):
            if text.startswith(_ASSETS) and text.endswith(".xml"):
                found[object_key(node.name)] = text.removeprefix(_ASSETS)
    return found


def object_key(name: str) -> str:
    """Return how definitions call the object of a class."""
    return "_".join(_KEY.sub(r" \1", name).split()).lower()


def _classes(folder: Path, remedy: str) -> Iterator[ast.ClassDef]:
    for file in sorted(folder.glob("*.py")):
        try:
            if file.stat().st_size > _MOST_BYTES:
                raise ValueError("it is too large")
            tree = ast.parse(file.read_text())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UnknownTaskError(f"cannot read {file} ({error!r}): {remedy}") from error
        yield from (node for node in tree.body if isinstance(node, ast.ClassDef))


def _settings(node: ast.ClassDef) -> dict[str, object]:
    """Return the literals that a class gives to `kwargs.update({...})`, the first of each name."""
    found: dict[str, object] = {}
    for call in ast.walk(node):
        updates = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        if not updates or call.func.attr != "update" or not call.args:  # type: ignore[union-attr]
            continue
        for argument in call.args:  # type: ignore[union-attr]
            if not isinstance(argument, ast.Dict):
                continue
            for key, value in zip(argument.keys, argument.values, strict=True):
                try:
                    name = ast.literal_eval(key) if key is not None else None
                    found.setdefault(str(name), ast.literal_eval(value))
                except ValueError:
                    continue  # computed: LIBERO's own classes compute the same
    return found


def _numbers(function: ast.FunctionDef) -> tuple[float, ...] | None:
    for node in ast.walk(function):
        if isinstance(node, ast.List):
            try:
                values = [_number(element) for element in node.elts]
            except ValueError:
                return None
            return tuple(values)
    return None


def _number(node: ast.expr) -> float:
    """Return a number; `np.pi / 4` and the like are what LIBERO itself writes."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _number(node.left) / _number(node.right)
    if isinstance(node, ast.Attribute) and node.attr == "pi":
        return 3.141592653589793
    return float(ast.literal_eval(node))


def _texts(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
