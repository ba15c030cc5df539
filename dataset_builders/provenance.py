"""What a whole dataset says of itself."""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import DatasetError
from common.json_files import read_sealed
from common.versions import package_version
from dataset_builders.sources import EpisodeRef
from simulation.recordings.trajectories import TrajectoryFile

CONTROL_FREQUENCY_HZ = 20
_PACKAGES = ("dlr-vla", "mujoco", "robosuite", "hf-libero", "tensorflow-datasets")


def describe_dataset(
    refs: Sequence[EpisodeRef],
    resolution: int,
    cameras: Mapping[str, str],
    policies: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the dataset's provenance, for its metadata.json: plain JSON types.

    `sources` names every trajectory file with its sha256 and configuration, or the `policies` that
    the episodes were rolled out with; `asset_packs` the packs' digests, several of one name with
    commas between them; `episodes` the number of episodes by task and pattern.
    """
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for ref in refs:
        counts[ref.task][str(ref.info.pattern)] += 1
    sources = [*describe_files(refs), *policies]
    return {
        "episodes": {task: dict(sorted(counts[task].items())) for task in sorted(counts)},
        "sources": sources,
        "asset_packs": _packs(sources),
        "resolution": resolution,
        "cameras": dict(cameras),
        "image_convention": "raw[::-1, ::-1] of the raw picture; stored[:, ::-1] is upright",
        "action_convention": "end-effector deltas in [-1, 1]; gripper -1 opens, +1 closes",
        "control_frequency_hz": CONTROL_FREQUENCY_HZ,
        "built_with": {name: package_version(name) for name in _PACKAGES},
    }


def _packs(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    digests: dict[str, set[str]] = collections.defaultdict(set)
    for source in sources:
        digests[source["asset_pack"]].add(source["asset_digest"])
    return {name: ", ".join(sorted(found)) for name, found in digests.items()}


def _attempts(path: Path) -> int | None:
    """Return how many attempts `dlr collect` made for a file; None where nothing says so."""
    ledger = path.with_name(f"{path.name}.attempts.json")
    if not ledger.is_file():
        return None
    content = read_sealed(ledger, "a list of attempts", DatasetError, "delete it")
    return len(content["outcomes"])


def describe_files(refs: Sequence[EpisodeRef]) -> list[dict[str, Any]]:
    """Return what a dataset says of the trajectory files that its episodes are in."""
    files = {(Path(ref.path), ref.name) for ref in refs if ref.rollout is None}
    ordered = sorted(files, key=lambda item: item[1])
    return [_describe_source(path, name) for path, name in ordered]


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
            "attempts": _attempts(path),
        }
