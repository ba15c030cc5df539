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
_BEGINNING = re.compile(r"^class ", re.MULTILINE)
_NEXT = re.compile(r"^(?=[^\s#)\]}])(?!class )", re.MULTILINE)
"""Where a line stands that is no part of the class before it."""
_KEY = re.compile(r"([A-Z0-9])")
_ASSETS = "assets/"
JOINTS = 7
ROBOT_CLASSES = ("MountedPanda", "OnTheGroundPanda")
"""What the names of LIBERO's robots begin with; a posture's number follows."""


@dataclass(frozen=True)
class ProblemClass:
    """What a problem class sets beside what it inherits."""

    base: str
    """Name of the class that it inherits from, in lower case."""
    scene: str | None = None
    """Its scene file, relative to the assets."""
    styles: tuple[tuple[str, str], ...] = ()
    """What floor and walls are called."""


def problem_class(root: Path, name: str, remedy: str) -> ProblemClass | None:
    """Return what a class of `envs/problems` sets; None if there is none of this name.

    Args:
        root: folder of the package `libero.libero`.
        name: of the class, in lower case.
        remedy: what to do where a file is damaged, for the message.

    Raises:
        UnknownTaskError: a file is damaged.
    """
    node = _class(root / "envs" / "problems", name, remedy)
    if node is None:
        return None
    bases = [base.id.lower() for base in node.bases if isinstance(base, ast.Name)]
    settings = _settings(node)
    scene, styles = settings.get("scene_xml"), settings.get("scene_properties")
    named = styles.items() if isinstance(styles, dict) else ()
    return ProblemClass(
        bases[0] if bases else "",
        scene if isinstance(scene, str) else None,
        tuple(sorted((str(key), str(value)) for key, value in named)),
    )


def robot_posture(root: Path, name: str, remedy: str) -> tuple[float, ...] | None:
    """Return the joint angles, rad (7,), of a class of `envs/robots`; None if it sets none.

    Raises:
        UnknownTaskError: a file is damaged.
    """
    node = _class(root / "envs" / "robots", name.lower(), remedy)
    for part in node.body if node is not None else ():
        if isinstance(part, ast.FunctionDef) and part.name == "init_qpos":
            numbers = _numbers(part)
            return numbers if numbers is not None and len(numbers) == JOINTS else None
    return None


def object_file(root: Path, kind: str, remedy: str) -> str | None:
    """Return the MJCF file, relative to the assets, of a kind of `envs/objects`; None without.

    Raises:
        UnknownTaskError: a file is damaged.
    """
    folder = root / "envs" / "objects"
    for name in _sources(folder, remedy):
        if object_key(name) == kind:
            node = _class(folder, name.lower(), remedy)
            texts = _texts(node) if node is not None else ()
            own = (text for text in texts if text.startswith(_ASSETS) and text.endswith(".xml"))
            return next((text.removeprefix(_ASSETS) for text in own), None)
    return None


def style_files(root: Path, remedy: str) -> Mapping[str, Mapping[str, str]]:
    """Return part of a scene (`floor`, `wall`) -> style -> texture, of `envs/arenas/style.py`.

    Raises:
        UnknownTaskError: the file is damaged.
    """
    file = root / "envs" / "arenas" / "style.py"
    found: dict[str, Mapping[str, str]] = {}
    try:
        body = ast.parse(file.read_text()).body if file.is_file() else []
        for node in body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in _STYLES:
                    found[_STYLES[name]] = ast.literal_eval(node.value)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnknownTaskError(f"cannot read {file} ({error!r}): {remedy}") from error
    return found


_STYLES = {"FLOOR_STYLE": "floor", "WALL_STYLE": "wall"}
"""Tables of styles -> part of a scene."""


def object_key(name: str) -> str:
    """Return how definitions call the object of a class."""
    return "_".join(_KEY.sub(r" \1", name).split()).lower()


@functools.lru_cache(maxsize=8)
def _sources(folder: Path, remedy: str) -> Mapping[str, str]:
    """Return name -> source of all classes in a folder's files; there may be thousands."""
    found = {}
    for file in sorted(folder.glob("*.py")):
        try:
            if file.stat().st_size > _MOST_BYTES:
                raise ValueError("it is too large")
            text = file.read_text()
        except (OSError, ValueError) as error:
            raise UnknownTaskError(f"cannot read {file} ({error!r}): {remedy}") from error
        for part in _BEGINNING.split(text)[1:]:
            found[part.partition("(")[0].partition(":")[0].strip()] = f"class {part}"
    return found


@functools.lru_cache(maxsize=256)
def _class(folder: Path, name: str, remedy: str) -> ast.ClassDef | None:
    """Return the syntax of a class, by its name in lower case."""
    sources = _sources(folder, remedy)
    own = next((known for known in sources if known.lower() == name), None)
    if own is None:
        return None
    try:
        body = _NEXT.split(sources[own], maxsplit=1)[0]
        return next(n for n in ast.parse(body).body if isinstance(n, ast.ClassDef))
    except (SyntaxError, ValueError, RecursionError, MemoryError, StopIteration) as error:
        raise UnknownTaskError(f"cannot read {own} in {folder} ({error!r}): {remedy}") from error


def _settings(node: ast.ClassDef) -> dict[str, object]:
    """Return the literals that a class gives to `kwargs.update({...})`, the first of each name."""
    found: dict[str, object] = {}
    for call in ast.walk(node):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        for argument in call.args if call.func.attr == "update" else ():
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
