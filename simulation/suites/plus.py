"""A checkout of LIBERO-Plus: its variants by suite, kind of change and level of difficulty."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from common.errors import AssetError, UnknownTaskError
from common.files import check_name
from common.json_files import read_json
from simulation.suites.variant import (
    Found,
    Variant,
    View,
    language_of,
    read_definition,
)

PLUS_VARIABLE = "DLR_LIBERO_PLUS"
"""Environment variable that names the checkout."""
REMEDY = "`git clone https://github.com/sylvestf/LIBERO-plus`, and give that folder"
ASSETS_REMEDY = (
    "download assets.zip (6.4 GB) of the data set Sylvest/LIBERO-plus on the Hugging Face hub, and "
    "unzip it in the checkout's libero/libero"
)
"""What to do where a checkout has no assets: they are not in the repository."""
CATEGORIES = {
    "Camera Viewpoints": "camera",
    "Robot Initial States": "robot",
    "Language Instructions": "language",
    "Light Conditions": "light",
    "Background Textures": "background",
    "Sensor Noise": "noise",
    "Objects Layout": "layout",
}
"""LIBERO-Plus's kinds of change -> what a suite's name ends in."""
_ASSETS = ("articulated_objects", "scenes", "stable_scanned_objects")
"""Folders that the assets have at least."""
_CLASSES = Path("benchmark") / "task_classification.json"
_VIEW = re.compile(
    r"(?P<stem>.+)_view_(?P<view>-?\d+_-?\d+_-?\d+_-?\d+_-?\d+)_initstate_(?P<robot>\d+)"
    r"(_noise_(?P<noise>\d+))?"
)
_CHANGES = re.compile(r"_(table|tb|light|language)_\d+$")
_LAYOUTS = re.compile(r"(_add_\d+|_level\d+_sample\d+)$")


def plus_tasks(folder: Path) -> Mapping[str, Found]:
    """Return LIBERO-Plus's suites and their parts: name -> tasks.

    `libero_goal_plus` has all of the suite's variants, `libero_goal_plus_camera` those of one
    kind of change, `libero_goal_plus_camera_3` of one level of difficulty. Their tasks have the
    whole suite's name in any case.

    Args:
        folder: the checkout, or its `libero/libero`.

    Raises:
        UnknownTaskError: it is none.
    """
    return _read(checkout_root(folder))


def checkout_root(folder: Path) -> Path:
    """Return the folder of the package `libero.libero` in a checkout.

    Raises:
        UnknownTaskError: there is none.
    """
    for root in (folder / "libero" / "libero", folder):
        if (root / _CLASSES).is_file():
            return root
    raise UnknownTaskError(f"{folder} has no libero/libero/{_CLASSES} of LIBERO-Plus: {REMEDY}")


def plus_assets(folder: Path) -> Path:
    """Return the folder of a checkout's assets.

    Raises:
        UnknownTaskError: it is no checkout.
        AssetError: the assets are missing.
    """
    assets = checkout_root(folder) / "assets"
    missing = [name for name in _ASSETS if not (assets / name).is_dir()]
    if missing:
        raise AssetError(
            f"the checkout of LIBERO-Plus has no assets: {assets / missing[0]} is missing; "
            f"{ASSETS_REMEDY}, so that it is {assets}"
        )
    return assets


@functools.lru_cache(maxsize=2)
def _read(root: Path) -> Mapping[str, Found]:
    file = root / _CLASSES
    content = read_json(file, "LIBERO-Plus's classes of tasks", UnknownTaskError, REMEDY)
    suites: dict[str, Found] = defaultdict(list)
    for base, rows in content.items():
        suite = f"{check_name(base, f'{file}: a suite', UnknownTaskError)}_plus"
        for index, row in enumerate(rows if isinstance(rows, list) else []):
            try:
                name, kind = row["name"], CATEGORIES[row["category"]]
                level = row.get("difficulty_level")
            except (TypeError, KeyError) as error:
                raise UnknownTaskError(f"{file}: entry {index} of {base} is malformed") from error
            check_name(name, f"{file}: entry {index} of {base}", UnknownTaskError)
            variant = _variant(root, base, name, kind, level)
            if variant is None:
                continue
            entry = (suite, index, name, variant)
            parts = [suite, f"{suite}_{kind}"]
            parts += [f"{suite}_{kind}_{level}"] if isinstance(level, int) else []
            for part in parts:
                suites[part].append(entry)
    return dict(suites)


def _variant(root: Path, base: str, name: str, kind: str, level: int | None) -> Variant | None:
    """Return a variant; None for the few whose instruction is none (issue 59)."""
    match = _VIEW.fullmatch(name)
    stem = match["stem"] if match else name
    definition = root / "bddl_files" / base / f"{stem}.bddl"
    language = _language(definition)
    if language is None and kind == "language":
        return None
    return Variant(
        base,
        language or language_of(read_definition(definition, REMEDY), definition, REMEDY),
        definition,
        _init_file(root, base, stem),
        root,
        REMEDY,
        root / "assets",
        ASSETS_REMEDY,
        View(*map(int, match["view"].split("_"))) if match else None,
        int(match["robot"]) if match else 0,
        int(match["noise"] or 0) if match else 0,
        kind,
        level,
    )


@functools.cache
def _language(definition: Path) -> str | None:
    """Return a definition's instruction; None if it is none."""
    text = read_definition(definition, REMEDY)
    try:
        return language_of(text, definition, REMEDY)
    except UnknownTaskError:
        return None


def _init_file(root: Path, base: str, stem: str) -> Path:
    """Return the file of a variant's initial states: of another layout its own, else LIBERO's."""
    folder = root / "init_files"
    if _LAYOUTS.search(stem):
        return folder / "libero_newobj" / base / f"{stem}.pruned_init"
    return folder / base / f"{_CHANGES.sub('', stem)}.pruned_init"
