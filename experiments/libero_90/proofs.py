"""Small sealed files on the datasets that were built of a campaign: what was found in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.json_files import build, read_sealed
from experiments.study_results import StudyError

PROOF = "proof.json"
_REMEDY = "delete it and run `python -m experiments.libero_90.dataset` again"


@dataclass(frozen=True)
class Proof:
    """What was found in a dataset, every episode of which was simulated again."""

    tasks: int
    episodes: int
    steps: int
    replayed: int
    """Episodes that were simulated again from their stored actions."""
    succeeded: int
    """Of these, how many ended as the dataset says."""
    pictures_checked: int
    """Pictures that agree with a new rendering."""
    content: str
    """sha256 of the sorted content digests of all episodes."""
    bytes: int
    """Size of its files."""
    lerobot: str
    """sha256 of the manifest of the LeRobotDataset v3 that was exported from it."""
    lerobot_bytes: int
    """Size of its files."""
    settings: Mapping[str, Any]
    """How it was built."""
    provenance: Mapping[str, Any]
    """Asset pack, commit and machine."""


def kept_in(out: Path) -> Path:
    """Return the folder of what is kept of datasets."""
    return out / "datasets" / "libero_90"


def read_proof(path: Path) -> Proof:
    """Return what was found in a dataset.

    Raises:
        StudyError: the file is damaged.
    """
    try:
        return build(Proof, read_sealed(path, "a dataset's proof", StudyError, _REMEDY))
    except ValueError as error:
        raise StudyError(f"{path} is no dataset's proof ({error}): {_REMEDY}") from error


def read_proofs(out: Path) -> dict[str, Proof]:
    """Return what was found in the datasets of a folder, by their names."""
    return {path.parent.name: read_proof(path) for path in sorted(out.glob(f"*/{PROOF}"))}
