"""One evaluation a condition: the control arm, and each axis at each level, in one folder.

perturbed.json          which arms there are
control/                results folder of the unperturbed episodes: level 0 of every axis
AXIS-LEVEL/             results folder of an axis, or of several at once (`camera+light-3`)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.json_files import read_sealed, write_sealed
from common.locks import lock_folder
from eval_harness.merging import merge, whole_folder
from eval_harness.perturbations.base import CONTROL, PerturbationError
from eval_harness.perturbations.table import parse_axes, parse_condition, parse_levels
from eval_harness.protocols import Protocol
from eval_harness.results import Results, ResultsError, load_results

ARMS, CONTROL_ARM = "perturbed.json", "control"
"""File that names the arms, and the control arm's folder."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Arm:
    """One condition of an evaluation under perturbation."""

    axes: str
    """Axis, or several joined by +; empty for the control."""
    level: int
    """0 for the control."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.axes}-{self.level}" if self.level > CONTROL else CONTROL_ARM

    def protocol(self, protocol: Protocol) -> Protocol:
        """Return a protocol under this condition; the control's is the protocol itself."""
        condition = parse_condition(self.axes, self.level) if self.axes else ()
        return dataclasses.replace(protocol, perturbations=condition)


def make_arms(axes: str, levels: str) -> tuple[Arm, ...]:
    """Return the arms of `camera,light+noise` (or `all`) at `0-5`, the control first.

    The control is always among them, and once: level 0 of every axis is the same episodes.

    Raises:
        PerturbationError: there is no such axis or level, or no level but the control.
    """
    names, numbers = parse_axes(axes), [n for n in parse_levels(levels) if n > CONTROL]
    if not numbers:
        raise PerturbationError("give a level of 1 to 5 besides the control: --levels 0-5")
    return (Arm("", CONTROL), *(Arm(name, level) for name in names for level in numbers))


def run_arms(
    arms: Sequence[Arm], out: Path, run: Callable[[Arm, Path], Results]
) -> dict[Arm, Results]:
    """Run an evaluation for each arm, each into a folder of its own below `out`.

    Arms may be added to those of an earlier run; what is there already is not run again.

    Args:
        arms: the arms, the control among them.
        out: folder of all.
        run: runs one arm into a folder.

    Raises:
        ResultsError: the folder is damaged.
        BusyError: another process runs arms into the folder.
    """
    with lock_folder(out):
        known = list_arms(out) if (out / ARMS).exists() else ()
        together = tuple(dict.fromkeys((*known, *arms)))
        write_arms(out / ARMS, together)
        return {arm: run(arm, out / arm.name) for arm in arms}


def is_arms(folder: Path) -> bool:
    """Return whether a folder holds the arms of an evaluation under perturbation."""
    return (folder / ARMS).exists()


def list_arms(folder: Path) -> tuple[Arm, ...]:
    """Return the arms of a folder, the control first.

    Raises:
        ResultsError: there are none, or their list is damaged.
    """
    path = folder / ARMS
    if not path.exists():
        raise ResultsError(
            f"{folder} is of no evaluation under perturbation: it has no {ARMS}. "
            "`dlr eval run POLICY --perturb all` makes one."
        )
    return read_arms(path)


def write_arms(path: Path, arms: Sequence[Arm]) -> None:
    """Write a list of arms, for `read_arms`."""
    content = {"format_version": FORMAT_VERSION, "arms": [dataclasses.asdict(arm) for arm in arms]}
    write_sealed(path, json.loads(json.dumps(content)))


def read_arms(path: Path) -> tuple[Arm, ...]:
    """Return the arms of a list that `write_arms` wrote.

    Raises:
        ResultsError: it is damaged, or of axes or levels that there are not.
    """
    remedy = "run the same evaluation again into this folder: what is whole is not run anew"
    content = read_sealed(path, "a list of arms", ResultsError, remedy)
    try:
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {content['format_version']}")
        arms = tuple(Arm(str(e["axes"]), int(e["level"])) for e in content["arms"])
        [parse_condition(arm.axes, arm.level) for arm in arms if arm.axes]
        return arms
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is no list of arms ({error}): {remedy}") from error


def load_arms(folder: Path) -> dict[Arm, Results]:
    """Return the results of each arm; of one that has not begun, the control's without episodes.

    Raises:
        ResultsError: the control is missing, or a folder is damaged.
    """
    arms = list_arms(folder)
    if not (folder / CONTROL_ARM).is_dir():
        raise ResultsError(f"{folder} has no control arm yet: run the same evaluation again")
    control = load_results(folder / CONTROL_ARM)
    paths = {arm: folder / arm.name for arm in arms}
    return {
        arm: load_results(path)
        if path.is_dir()
        else dataclasses.replace(control, episodes=[], folder=path)
        for arm, path in paths.items()
    }


def merge_arms(folders: Sequence[Path], out: Path) -> dict[Arm, Results]:
    """Put shards of an evaluation under perturbation together, arm by arm, into a new folder.

    The folder is there whole or not at all.

    Raises:
        ResultsError: the shards have other arms, or an arm's cannot be put together.
        OutputError: the folder cannot be written, or holds something already.
        BusyError: another process writes it.
    """
    first = list_arms(folders[0])
    for folder in folders[1:]:
        if set(list_arms(folder)) != set(first):
            raise ResultsError(f"{folder} and {folders[0]} have other arms: run the same in both")
    with whole_folder(out) as new:
        run_arms(first, new, lambda arm, to: merge([f / arm.name for f in folders], to))
    return load_arms(out)
