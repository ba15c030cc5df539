"""What a whole dataset says of itself, and how its episodes are split."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import DatasetError
from common.versions import package_version
from dataset_builders.episodes import EpisodeRef
from simulation.recordings.trajectories import TrajectoryFile

CONTROL_FREQUENCY_HZ = 20
_PACKAGES = ("dlr-vla", "mujoco", "robosuite", "hf-libero", "tensorflow-datasets")


def describe_dataset(
    refs: Sequence[EpisodeRef], resolution: int, cameras: Mapping[str, str]
) -> dict[str, Any]:
    """Return the dataset's provenance, for its metadata.json: plain JSON types.

    `sources` names every trajectory file with its sha256 and configuration, `asset_packs` the
    packs' digests, `episodes` the number of episodes by task and pattern.
    """
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for ref in refs:
        counts[ref.task][str(ref.info.pattern)] += 1
    sources = [_describe_source(path, name) for path, name in _files(refs)]
    return {
        "episodes": {task: dict(sorted(counts[task].items())) for task in sorted(counts)},
        "sources": sources,
        "asset_packs": {source["asset_pack"]: source["asset_digest"] for source in sources},
        "resolution": resolution,
        "cameras": dict(cameras),
        "image_convention": "raw[::-1, ::-1] of the raw picture; stored[:, ::-1] is upright",
        "action_convention": "end-effector deltas in [-1, 1]; gripper -1 opens, +1 closes",
        "control_frequency_hz": CONTROL_FREQUENCY_HZ,
        "built_with": {name: package_version(name) for name in _PACKAGES},
    }


def _files(refs: Sequence[EpisodeRef]) -> list[tuple[Path, str]]:
    return sorted({(Path(ref.path), ref.name) for ref in refs}, key=lambda item: item[1])


def _describe_source(path: Path, name: str) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with TrajectoryFile(path) as source:
        return {
            "file": name,
            "sha256": digest,
            "task": source.task.key,
            "asset_pack": source.asset_pack,
            "asset_digest": source.asset_digest,
            "versions": source.versions,
            "config": source.config,
        }


def split_episodes(refs: Sequence[EpisodeRef], val_fraction: float) -> dict[str, list[EpisodeRef]]:
    """Return the splits `train` and, for a positive fraction, `val`.

    Episodes with the same task and start state (official init state, or seed of a fresh reset)
    stay together, so the splits share no start state. The choice depends on those alone.

    Raises:
        DatasetError: a split would be empty.
    """
    if not 0 <= val_fraction < 1:
        raise DatasetError(f"val_fraction must be in [0, 1), not {val_fraction}")
    if val_fraction == 0:
        return {"train": list(refs)}
    starts = sorted({ref.start for ref in refs}, key=lambda s: hashlib.sha256(s.encode()).digest())
    held_out = set(starts[: round(val_fraction * len(starts))])
    splits = {
        "train": [ref for ref in refs if ref.start not in held_out],
        "val": [ref for ref in refs if ref.start in held_out],
    }
    if not all(splits.values()):
        raise DatasetError(
            f"val_fraction {val_fraction} of {len(starts)} start states leaves a split empty: "
            "choose another fraction, or 0 for `train` alone"
        )
    return splits
