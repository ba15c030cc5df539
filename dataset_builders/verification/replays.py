"""Episodes simulated and pictured again from what the dataset stores, as work items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.workers import Processes, run_items
from dataset_builders.episodes import PictureConfig, picture_start
from dataset_builders.features import METADATA, STEPS, all_features
from dataset_builders.parts import numbers
from dataset_builders.records.examples import decode
from dataset_builders.records.formats import TFRECORD, format_of, read_records
from dataset_builders.records.tfrecords import parse_example
from dataset_builders.replay import Replayed, replay
from dataset_builders.verification.episodes import decode_picture, orientation_of

MAX_PICTURE_ERROR = 10.0
"""Mean absolute difference, of 255, allowed between a stored JPEG and a new rendering."""
_MAX_START_ERROR_M = 1e-4
"""Distance from the stored state that an episode's start may have: far more than rounding."""


@dataclass(frozen=True)
class ReplayItem:
    """An episode that is simulated again: frozen and picklable."""

    path: str
    """The shard."""
    number: int
    """Its place in the shard."""
    offset: int
    """Where its record's content begins in the file, bytes; -1 where the format does not say."""
    length: int
    """Length of the content, bytes."""
    pictures: PictureConfig
    """How the dataset's pictures were made, and the assets to simulate and render with."""


@dataclass(frozen=True)
class Shown:
    """What a replay showed."""

    replayed: Replayed
    """The simulation."""
    orientations: dict[str, tuple[str, float]]
    """Picture of the first step -> how it lies, and its distance from a new rendering, of 255."""


def show_again(item: ReplayItem) -> Shown:
    """Simulate an episode again, and render its start.

    Raises:
        DatasetError: the assets are not those of the episode, or its start is damaged.
    """
    path = Path(item.path)
    if format_of(path.name) == TFRECORD:
        with path.open("rb") as file:
            file.seek(item.offset)
            content = file.read(item.length)
    else:
        content = next(r.content for n, r in enumerate(read_records(path)) if n == item.number)
    features = all_features(dict(item.pictures.cameras), item.pictures.resolution)
    episode = decode(parse_example(content, path, item.number), features)
    metadata, steps = episode[METADATA], episode[STEPS]
    replayed = replay(metadata, *numbers(steps), item.pictures.assets)
    first = steps[0]["observation"]
    orientations = {
        name: orientation_of(decode_picture(first[name]), upright)
        for name, upright in picture_start(metadata, item.pictures).items()
    }
    return Shown(replayed, orientations)


def replay_faults(shown: Shown, built: Mapping[str, Any] | None) -> list[str]:
    """Return what a replay found wrong, in words.

    Args:
        shown: the replay.
        built: what the builder's own replay of the episode found; None if it made none.
    """
    faults, found = [], shown.replayed
    if not found.same and (built is None or built["same"]):
        faults.append(
            "simulated again from its actions it does not end as it says; the goal "
            + (
                f"held first at step {found.first_success}"
                if found.first_success >= 0
                else "never held"
            )
        )
    if built is not None and found.first_success != built["first_success"]:
        faults.append(
            f"simulated again it first succeeds at step {found.first_success}; when it was built "
            f"that was step {built['first_success']}"
        )
    if found.start_error > _MAX_START_ERROR_M:
        faults.append(
            f"its state and joints are not those of its start ({found.start_error:.4f} off): "
            "their layout is another"
        )
    for name, (orientation, error) in shown.orientations.items():
        if error > MAX_PICTURE_ERROR:
            faults.append(f"{name} does not show the episode's start (error {error:.0f}/255)")
        elif orientation != "rotated":
            faults.append(f"{name} is stored {orientation}, not rotated by 180 degrees")
    return faults


def show_all(items: Sequence[ReplayItem], workers: int | None) -> list[Shown]:
    """Return what replays show, from a pool of processes that load no TensorFlow."""
    return list(run_items(show_again, items, Processes(workers), "simulating again"))
