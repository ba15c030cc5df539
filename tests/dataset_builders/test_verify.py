"""`verify` accepts what was built, and names shard, episode and feature of any damage."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from common.errors import DatasetError, SettingError
from common.json_files import read_sealed, sealed_line
from common.manifest import MANIFEST, file_sha256, write_manifest
from dataset_builders.certificate import Conventions, convention_faults, conventions
from dataset_builders.cloud.publish import PublishConfig, publish
from dataset_builders.episodes import to_stored
from dataset_builders.finishing import EPISODES, read_episodes
from dataset_builders.verification.episodes import decode_picture, orientation_of
from dataset_builders.verify import verify
from tests.cloud_storage import BUCKET, CloudStorage

FRAMING = 12, 4


def copy_of(dataset: Path, folder: Path) -> Path:
    return Path(shutil.copytree(dataset, folder / "copy" / "1.0.0"))


def shard_of(dataset: Path) -> Path:
    (shard,) = dataset.glob("*.tfrecord*")
    return shard


def test_a_built_dataset_is_accepted(dataset: Path, trajectories: Path) -> None:
    report = verify(dataset, trajectories, replay="all", workers=1)
    assert (report.episodes, report.steps, report.replayed) == (2, 7, 2)
    assert report.pictures_checked == 4
    metadata = json.loads((dataset / "metadata.json").read_text())
    assert metadata["digest"] == report.digest
    certificate = metadata["certificate"]
    assert certificate["replayed"] == 2 and certificate["episodes"] == 2
    # They are random actions that claim success, which the certificate does not hide.
    assert certificate["succeeded"] == 0 and len(certificate["failed"]) == 2
    assert certificate["largest_position_error_m"] < 1e-6
    assert "2 episodes, 7 steps" in str(report)


def test_the_run_that_it_was_built_from_does_as_well(
    dataset: Path, trajectories: Path, tmp_path: Path
) -> None:
    """A source is told by its path below a run's trajectories, whichever folder was given."""
    (tmp_path / "trajectories").symlink_to(trajectories)
    assert verify(dataset, tmp_path, replay=0).episodes == 2


def damage(shard: Path, offset: int, bit: int) -> None:
    content = bytearray(shard.read_bytes())
    content[offset] ^= 1 << bit
    shard.write_bytes(content)


def wanted_name(dataset: Path, offset: int) -> tuple[str, str]:
    """Return the episode and what of it a byte of the only shard belongs to."""
    start = 0
    for episode in read_episodes(dataset):
        end = start + FRAMING[0] + episode.bytes + FRAMING[1]
        if offset < end:
            inside = offset - start - FRAMING[0]
            if not 0 <= inside < episode.bytes:
                return episode.key, "the record's"
            place = episode.bytes - sum(entry.length for entry in episode.entries)
            for entry in episode.entries:
                if place <= inside < place + entry.length:
                    return episode.key, entry.name
                place += entry.length
            return episode.key, "the record's own header"
        start = end
    raise AssertionError(offset)


def test_every_flipped_bit_is_named(dataset: Path, tmp_path: Path) -> None:
    copy = copy_of(dataset, tmp_path)
    shard, rng = shard_of(copy), np.random.default_rng(0)
    whole = shard.read_bytes()
    named = 0
    for offset in (0, 9, 12, 13, len(whole) - 1, *rng.integers(0, len(whole), 20)):
        damage(shard, int(offset), int(rng.integers(8)))
        key, feature = wanted_name(dataset, int(offset))
        with pytest.raises(DatasetError) as error:
            verify(copy, replay=0)
        message = str(error.value)
        assert "1 faults" in message and shard.name in message
        assert key in message and feature in message
        shard.write_bytes(whole)
        named += 1
    assert named == 25
    assert verify(copy, replay=0).episodes == 2


def seal(dataset: Path) -> None:
    """Note the digests of changed files, as one who does so on purpose would."""
    names = read_sealed(dataset / MANIFEST, "", DatasetError, "")["files"]
    write_manifest(dataset, sorted(names))


def change_json(name: str, change: Callable[[Any], None], dataset: Path) -> None:
    content = json.loads((dataset / name).read_text())
    change(content)
    (dataset / name).write_text(json.dumps(content))
    seal(dataset)


def add_line(dataset: Path) -> None:
    with (dataset / EPISODES).open("ab") as file:
        file.write(sealed_line({"key": "x"}))
    seal(dataset)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda d: shard_of(d).write_bytes(shard_of(d).read_bytes()[:-100]),
        "is truncated: it ends within",
    ),
    "longer": (lambda d: shard_of(d).open("ab").write(b"x"), "bytes, not"),
    "missing shard": (lambda d: shard_of(d).unlink(), "is missing"),
    "missing digests": (lambda d: (d / MANIFEST).unlink(), f"cannot read .*{MANIFEST}"),
    "other line": (add_line, "is not a"),
    "missing list": (lambda d: (d / EPISODES).unlink(), f"{EPISODES} is missing"),
    "metadata": (lambda d: (d / "metadata.json").write_text("{}"), "metadata.json is damaged"),
    "no JSON": (
        lambda d: (d / "features.json").write_text("[" * 10_000),
        "features.json is damaged",
    ),
    "claims": (
        lambda d: change_json(
            "metadata.json", lambda m: next(iter(m["episodes"].values())).update({"0": 9}), d
        ),
        "metadata.json claims episodes",
    ),
    "digests": (
        lambda d: change_json("metadata.json", lambda m: m["digests"].update(train="0" * 64), d),
        "the splits' digests",
    ),
    "sizes": (
        lambda d: change_json(
            "dataset_info.json", lambda i: i["splits"][0].update(shardLengths=["3"]), d
        ),
        "dataset_info.json claims",
    ),
}


@pytest.mark.parametrize(("harm", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(
    harm: Callable[[Path], object], message: str, dataset: Path, tmp_path: Path
) -> None:
    copy = copy_of(dataset, tmp_path)
    harm(copy)
    with pytest.raises(DatasetError, match=message):
        verify(copy, replay=0)


def test_a_flipped_bit_of_the_list_is_named(dataset: Path, tmp_path: Path) -> None:
    copy = copy_of(dataset, tmp_path)
    damage(copy / EPISODES, (copy / EPISODES).stat().st_size // 2, 1)
    with pytest.raises(DatasetError, match=f"{EPISODES} is damaged"):
        verify(copy, replay=0)


def test_other_trajectories_are_noticed(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not there"):
        verify(dataset, tmp_path, replay=0)
    (tmp_path / "libero_90.hdf5").write_bytes(b"x")
    with pytest.raises(DatasetError, match="is not the file that the dataset was built from"):
        verify(dataset, tmp_path, replay=0)


def test_verify_asks_for_the_folder_of_one_version(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give the folder of one version"):
        verify(tmp_path)


def test_a_missing_remote_dataset_is_not_a_full_disk() -> None:
    with pytest.raises(DatasetError, match=r"cannot read memory:///?nowhere") as error:
        verify("memory://nowhere/1.0.0")
    assert "make room" not in str(error.value)


def grasp(sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Return actions and states of a hand that closes and opens, and moves where it is told."""
    actions, states = np.zeros((40, 7), np.float32), np.zeros((40, 8), np.float32)
    actions[:, 6] = sign * np.where((np.arange(40) // 10) % 2, 1, -1)
    actions[:, 0] = np.sin(np.arange(40))
    states[1:, 0] = 0.05 * np.cumsum(actions[:-1, 0])
    opening = 0.04 + np.concatenate(([0], np.cumsum(-0.002 * actions[:-1, 6] * sign)))
    states[:, 6], states[:, 7] = opening, -opening
    return actions, states


def test_conventions_are_seen() -> None:
    right = conventions(*grasp(1))
    assert right.gripper_follows == 3 and not right.gripper_opposes
    assert right.translation > 0.99 and not convention_faults([right])
    actions, states = grasp(-1)
    assert "gripper's sign" in convention_faults([conventions(actions, states)])[0]
    actions, states = grasp(1)
    actions[:, :3] *= -1
    assert "axes or signs" in convention_faults([conventions(actions, states)])[0]
    states[:, 3:6] = 9
    assert any("axis-angle" in fault for fault in convention_faults([conventions(actions, states)]))
    assert isinstance(right, Conventions) and right.noops == 1 and not right.released


def test_orientations_are_told_apart() -> None:
    upright = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    assert orientation_of(to_stored(upright), upright)[0] == "rotated"
    assert orientation_of(upright[::-1], upright) == ("raw", 0.0)
    assert orientation_of(upright, upright)[0] == "upright"
    assert orientation_of(upright[::-1, ::-1], upright)[0] == "upright rotated"


def test_a_picture_that_would_fill_the_memory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 64)).save(jpeg, "JPEG")
    assert decode_picture(jpeg.getvalue()).shape == (64, 64, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="it is no JPEG"):
        decode_picture(jpeg.getvalue())


def test_sums_are_those_of_the_shards(dataset: Path) -> None:
    line = (dataset / "SHA256SUMS").read_text().split()
    assert line == [file_sha256(shard_of(dataset)), shard_of(dataset).name]


def test_a_published_dataset_is_verified_where_it_is(
    dataset: Path, cloud: CloudStorage, tmp_path: Path
) -> None:
    address = f"gs://{BUCKET}/libero_rl/dlr/1.0.0"
    publish(PublishConfig(dataset, address))
    assert verify(address, replay=0) == verify(dataset, replay=0)
    shard = shard_of(copy_of(dataset, tmp_path))
    damage(shard, 1000, 3)
    filesystem, path = fsspec.core.url_to_fs(f"{address}/{shard.name}")
    filesystem.pipe_file(path, shard.read_bytes())
    with pytest.raises(DatasetError, match=f"{shard.name}, episode 0"):
        verify(address, replay=0)


def test_a_number_of_replays_that_cannot_be_is_refused(dataset: Path) -> None:
    with pytest.raises(SettingError, match="replay must be at least 0, or all, not -1"):
        verify(dataset, replay=-1)
    with pytest.raises(SettingError, match="workers must be at least 1, not -2"):
        verify(dataset, replay=1, workers=-2)
