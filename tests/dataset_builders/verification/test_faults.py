"""What `verify` finds wrong with a replay, with an episode, and with a dataset as a whole."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dataset_builders.certificate import Conventions
from dataset_builders.episodes import PictureConfig
from dataset_builders.features import METADATA, STEPS, all_features
from dataset_builders.records.examples import decode
from dataset_builders.records.formats import read_records
from dataset_builders.records.tfrecords import parse_example
from dataset_builders.replay import Replayed
from dataset_builders.sources import FAILURES
from dataset_builders.verification.episodes import episode_faults
from dataset_builders.verification.replays import MAX_PICTURE_ERROR, Shown, replay_faults
from dataset_builders.verify import _Audit, _dataset_faults, _Found
from tests.dataset_builders.conftest import PIXELS

GOOD = Shown(Replayed(True, 5, 1e-7, 1e-7, 1e-8), {"image": ("rotated", 2.0)})
BUILT = {"same": True, "first_success": 5}
CALM = Conventions(0.9, 3, 0, 0.99, 3.0, 0, True)
FEATURES = all_features(dict(PictureConfig().cameras), PIXELS)


def shown(orientation: tuple[str, float] = ("rotated", 2.0), **changes: Any) -> Shown:
    return Shown(replace(GOOD.replayed, **changes), {"image": orientation})


@pytest.mark.parametrize(
    ("found", "built", "words"),
    [
        (shown(same=False), BUILT, "does not end as it says; the goal held first at step 5"),
        (shown(same=False, first_success=-1), None, "the goal never held"),
        (shown(first_success=7), BUILT, "first succeeds at step 7; when it was built that was"),
        (shown(start_error=0.01), BUILT, "not those of its start"),
        (shown(("rotated", MAX_PICTURE_ERROR + 1)), BUILT, "does not show the episode's start"),
        (shown(("upright", 2.0)), BUILT, "is stored upright, not rotated"),
        (shown(("raw", 2.0)), BUILT, "is stored raw, not rotated"),
    ],
)
def test_what_a_replay_shows_otherwise_is_told(
    found: Shown, built: dict[str, Any] | None, words: str
) -> None:
    faults = replay_faults(found, built)
    assert len(faults) == 1 and words in faults[0]


def test_a_replay_that_is_as_it_was_built_has_no_fault() -> None:
    assert not replay_faults(GOOD, BUILT) and not replay_faults(GOOD, None)
    # The builder's certificate says already that it did not end as the episode says.
    assert not replay_faults(shown(same=False), {"same": False, "first_success": 5})


@pytest.fixture(scope="module")
def episode(dataset: Path) -> dict[str, Any]:
    """The first episode of a dataset, as `verify` decodes it."""
    (shard,) = dataset.glob("*.tfrecord*")
    content = next(iter(read_records(shard))).content
    return decode(parse_example(content, shard, 0), FEATURES)


def jpeg(size: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


Change = Callable[[dict[str, Any]], Any]


def step(number: int, name: str, value: Any) -> Change:
    return lambda one: one[STEPS][number].__setitem__(name, value)


def picture(content: bytes) -> Change:
    return lambda one: one[STEPS][0]["observation"].__setitem__("image", content)


CHANGES: list[tuple[Change, str]] = [
    (step(0, "is_first", False), "is_first is False at step 0"),
    (step(1, "is_last", True), "is_last is True at step 1"),
    (step(-1, "is_terminal", False), "is_terminal is False"),
    (step(-1, "reward", 0.0), "reward is 0.0"),
    (step(1, "discount", 0.5), "discount is 0.5 at step 1"),
    (lambda one: one[METADATA].__setitem__("success", False), "is_terminal is True"),
    (step(1, "action", np.full(7, np.nan, np.float32)), "holds NaN"),
    (step(1, "action", np.full(7, 1.5, np.float32)), "actions outside"),
    (step(1, "action", np.full(7, 0.5, np.float32)), "does not match its content digest"),
    (picture(b"no picture"), "it is no JPEG"),
    (picture(jpeg(PIXELS // 2)), "has shape (32, 32, 3), not (64, 64, 3)"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_what_an_episode_holds_otherwise_is_told(
    change: Change, words: str, episode: dict[str, Any]
) -> None:
    assert not episode_faults(episode, FEATURES)
    other = copy.deepcopy(episode)
    change(other)
    assert any(words in fault for fault in episode_faults(other, FEATURES))


def audit(digest: str, split: str = "train", start: str = "a", shows: Conventions = CALM) -> _Audit:
    return _Audit("x", split, "task z=0", start, digest, 4, shows, None, ("", 0, 0, 0))


@pytest.mark.parametrize(
    ("audits", "words"),
    [
        ([audit("1"), audit("1", start="b")], "1 episodes occur more than once"),
        ([audit("1"), audit("2", "val")], "train and val share 1 start states, such as a"),
        ([audit("1"), audit("2", shows=replace(CALM, gripper_opposes=9))], "gripper's sign"),
        ([audit("1")], "claims episodes"),
        ([audit("1"), audit("2")], "digests in metadata.json are not those"),
        ([audit("1"), audit("2"), audit("3")], "dataset_info.json claims splits"),
    ],
)
def test_what_a_dataset_is_as_a_whole_is_told(
    audits: list[_Audit], words: str, dataset: Path
) -> None:
    found = _Found(dataset, PictureConfig())
    found.audits = audits
    metadata = json.loads((dataset / "metadata.json").read_text())
    metadata["episodes"] = {"task": {"0": 2}}
    assert any(words in fault for fault in _dataset_faults(metadata, found, dataset))


def test_failures_may_start_where_successes_do(dataset: Path) -> None:
    found = _Found(dataset, PictureConfig())
    found.audits = [audit("1"), audit("2", FAILURES), audit("3", "val", "b")]
    metadata = json.loads((dataset / "metadata.json").read_text())
    assert not any("share" in fault for fault in _dataset_faults(metadata, found, dataset))
