"""What earlier commands left where trajectories are to be written: gone on with, or set aside."""

from __future__ import annotations

import enum
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import output_errors

_ASIDE = "set_aside"
"""Ends a name with a number, so that no reader of `*.hdf5` takes the file for one of its own."""


class Relation(enum.Enum):
    """How episodes that are there stand to those that are asked for."""

    SAME = "same"
    """They are those."""
    SOME = "some"
    """They are some of those: the same settings, but more is asked for."""
    OTHER = "other"
    """Other settings made them."""


Comparison = Callable[[Mapping[str, Any], Mapping[str, Any]], Relation]
"""Of an earlier configuration with the present one, both as JSON has them."""


def equal(before: Mapping[str, Any], now: Mapping[str, Any]) -> Relation:
    """Compare configurations of which all is to be the same."""
    return Relation.SAME if before == now else Relation.OTHER


def relation(before: Mapping[str, Any], now: Mapping[str, Any], compare: Comparison) -> Relation:
    """Compare the attributes of trajectory files: all are to be the same but `config`.

    Args:
        before: of the earlier episodes, or more than those.
        now: of those that are asked for.
        compare: of their configurations.
    """
    if any(before.get(name) != value for name, value in now.items() if name != "config"):
        return Relation.OTHER
    return compare(json.loads(before["config"]), json.loads(now["config"]))


def serve(manifest: Path, relation: Callable[[Mapping[str, Any]], Relation]) -> bool:
    """Return whether parts with this manifest, the attributes as JSON, are of those asked for."""
    try:
        return relation(json.loads(manifest.read_text())) is not Relation.OTHER
    except (OSError, ValueError, KeyError, TypeError):
        return False


def clear(folder: Path, holds: re.Pattern[str]) -> None:
    """Set a folder aside; one that holds nothing of such a name is removed.

    Raises:
        OutputError: it cannot be renamed.
    """
    if any(holds.fullmatch(entry.name) for entry in folder.iterdir()):
        set_aside(folder)
    else:
        shutil.rmtree(folder)


def set_aside(path: Path, beside: Sequence[str] = (), others: Sequence[Path] = ()) -> Path:
    """Give what is at a path, a file or a folder, a name beside it, and say so on one line.

    Args:
        path: what makes way.
        beside: endings that, added to its name, name files that go with it.
        others: files of other names that go with it, each to a name beside its own.

    Returns:
        where it is now.

    Raises:
        OutputError: it cannot be renamed.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.{_ASIDE}_{number}")).exists():
        number += 1
    with output_errors(path):
        for ending in beside:
            companion = path.with_name(path.name + ending)
            if companion.exists():
                companion.replace(aside.with_name(aside.name + ending))
        for other in others:
            if other.exists():
                other.replace(other.with_name(f"{other.name}.{_ASIDE}_{number}"))
        path.rename(aside)
    print(
        f"dlr: {path} is of other settings, versions or assets; it is kept as {aside.name}",
        file=sys.stderr,
        flush=True,
    )
    return aside
