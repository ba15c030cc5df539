"""The work item of a build: one episode, rendered into one small file of its own.

A part is a TFRecord file of two records: the episode as the dataset's shards hold it, and a sealed
line of JSON that says what it is. It is a function of the trajectory, the pictures' settings and
the assets alone, whoever makes it; what is there whole is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DatasetError
from common.files import write_bytes
from common.json_files import parse_sealed, sealed_line
from dataset_builders.certificate import conventions
from dataset_builders.describing.statistics import encode_numbers
from dataset_builders.digests import CONTENT
from dataset_builders.episodes import JPEG_QUALITY, PictureConfig, render_episode
from dataset_builders.features import METADATA, STEPS
from dataset_builders.records.examples import encode
from dataset_builders.records.tfrecords import frame, records
from dataset_builders.replay import replay
from dataset_builders.sources import EpisodeRef

FORMAT = 1
"""Version of what a part holds; another one's parts are made anew."""
LINE = "a line of an episode"
REMEDY = "run the same command again, and it is made anew"
_NAME_CHARACTERS = 32


@dataclass(frozen=True)
class PartItem:
    """An episode that is to be rendered: frozen and picklable, as `common.workers` wants it."""

    ref: EpisodeRef
    """Where the episode is."""
    pictures: PictureConfig
    """What to render."""
    folder: str
    """Folder of parts, which all workers reach."""
    replay: bool = False
    """Whether to simulate the episode again from what the dataset stores."""

    @property
    def name(self) -> str:
        """The part's name: a digest of all that its content follows from."""
        pictures = self.pictures
        settings = [
            FORMAT,
            self.ref.key,
            self.ref.task,
            self.ref.digest,
            pictures.resolution,
            pictures.cameras,
            JPEG_QUALITY,
            self.replay,
        ]
        digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
        return f"{digest[:_NAME_CHARACTERS]}.part"

    @property
    def path(self) -> Path:
        """The part's file."""
        return Path(self.folder) / self.name


def render_part(item: PartItem) -> str:
    """Make a part, unless it is there, and return its name; it appears whole or not at all.

    Raises:
        TrajectoryError, DatasetError: as `episodes.render_episode`.
        OutputError: the part cannot be written.
    """
    if not item.path.exists():
        example = render_episode(item.ref, item.pictures)
        content, entries = encode(example)
        line = {
            "key": item.ref.key,
            "content": example[METADATA][CONTENT],
            "steps": len(example[STEPS]),
            "bytes": len(content),
            "features": [entry.name for entry in entries],
            "lengths": [entry.length for entry in entries],
            "digests": [entry.digest for entry in entries],
            "numbers": encode_numbers(numbers(example[STEPS])),
            "conventions": vars(conventions(*numbers(example[STEPS])[:2])),
            "replay": _replay(example, item.pictures.assets) if item.replay else None,
        }
        write_bytes(item.path, frame(content) + frame(sealed_line(line)))
    return item.name


def read_part(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the episode's record, framed as in a TFRecord file, and what the part says of it.

    Raises:
        DatasetError: the part is missing or damaged.
    """
    found = [record.content for record in records(path)]
    if len(found) != 2:
        raise DatasetError(f"{path} is no part of a dataset: delete it, and {REMEDY}")
    line = parse_sealed(found[1], str(path), LINE, DatasetError, f"delete it, and {REMEDY}")
    return frame(found[0]), line


def numbers(steps: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return actions (T, 7), states (T, 8) and joints (T, 7) of an episode's steps, float32."""
    observations = [step["observation"] for step in steps]
    return (
        np.stack([step["action"] for step in steps]),
        np.stack([observation["state"] for observation in observations]),
        np.stack([observation["joint_state"] for observation in observations]),
    )


def _replay(example: Mapping[str, Any], assets: str | None) -> dict[str, Any]:
    return vars(replay(example[METADATA], *numbers(example[STEPS]), assets))
