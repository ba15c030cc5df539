"""Trajectory files: what is read is what was written, and nothing that was added is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from common.errors import BusyError, OutputError, TrajectoryError
from simulation.assets.resolve import AssetPack
from simulation.recordings.stored_episode import digest
from simulation.recordings.trajectories import (
    Episode,
    EpisodeInfo,
    TrajectoryFile,
    TrajectoryWriter,
)
from simulation.scene import Fixtures
from simulation.tasks import get_task

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
PACK = AssetPack("some-pack", Path(), "0" * 64)
CONFIG = {"episodes": 3, "folder": Path("x")}


def episode(seed: int, steps: int = 4) -> Episode:
    """Return an episode of random numbers."""
    rng = np.random.default_rng(seed)
    return Episode(
        states=rng.normal(size=(steps, 11)),
        actions=rng.uniform(-1, 1, (steps, 7)),
        proprio=rng.normal(size=(steps, 8)),
        joints=rng.normal(size=(steps, 7)),
        final_state=rng.normal(size=11),
        final_proprio=rng.normal(size=8),
        fixtures=Fixtures(("cabinet", "table"), rng.normal(size=(2, 3)), rng.normal(size=(2, 4))),
        info=EpisodeInfo(seed, 7, 2, "left", "dlr", "ab12", success=bool(seed % 2)),
    )


def assert_equal(left: Episode, right: Episode) -> None:
    """Assert that two episodes have the same content, bit for bit."""
    assert left.info == right.info
    assert left.fixtures.names == right.fixtures.names
    np.testing.assert_array_equal(left.fixtures.positions, right.fixtures.positions)
    np.testing.assert_array_equal(left.fixtures.quaternions, right.fixtures.quaternions)
    for field in fields(Episode):
        if field.type == "np.ndarray":
            np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))


def writer(path: Path, config: dict[str, object] = CONFIG) -> TrajectoryWriter:
    return TrajectoryWriter(path, TASK, PACK, config)


def write(path: Path, count: int = 3, steps: int = 4) -> None:
    """Write a whole file."""
    target = writer(path)
    for index in reversed(range(count)):
        target.add(index, episode(index, steps))
    target.finish().close()


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "x.hdf5")
    with TrajectoryFile(tmp_path / "deep" / "x.hdf5") as file:
        assert len(file) == 3
        for index, found in enumerate(file):
            assert_equal(found, episode(index))
        assert_equal(file[-1], episode(2))
        assert (file.task, file.asset_pack, file.asset_digest) == (TASK, PACK.name, PACK.digest)
        assert file.config == {"episodes": 3, "folder": "x"}
        assert {"mujoco", "robosuite", "hf-libero", "dlr-vla"} == set(file.versions)
        with pytest.raises(IndexError, match="has 3 episodes"):
            file[3]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.hdf5"]


def test_liberos_layout(tmp_path: Path) -> None:
    write(tmp_path / "x.hdf5")
    with h5py.File(tmp_path / "x.hdf5") as file:
        data = file["data"]
        assert set(data) == {"demo_0", "demo_1", "demo_2"}
        assert (data.attrs["num_demos"], data.attrs["total"]) == (3, 12)
        demo = data["demo_1"]
        assert {"states", "actions", "rewards", "dones", "robot_states", "obs"} <= set(demo)
        assert demo["rewards"][()].tolist() == [0, 0, 0, 1] == demo["dones"][()].tolist()
        assert data["demo_0/rewards"][()].sum() == 0
        np.testing.assert_array_equal(demo.attrs["init_state"], demo["states"][0])


def test_resumes_with_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    writer(path).add(5, episode(5))
    again = writer(path)
    assert again.done == {5} and not again.finished
    again.add(1, episode(1))
    with again.finish() as file:
        assert [found.info.seed for found in file] == [1, 5]


def test_a_finished_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    write(path)
    assert writer(path).finished
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.hdf5"]
    assert not writer(path, {"episodes": 4}).finished


def test_what_other_settings_made_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.hdf5"
    write(path)
    before = path.read_bytes()
    writer(path).add(0, episode(0))
    with writer(path, {"episodes": 4}) as other:
        assert other.done == set()
        other.add(1, episode(1))
        other.finish().close()
    assert (tmp_path / "x.hdf5.set_aside_1").read_bytes() == before
    assert [part.name for part in (tmp_path / "x.hdf5.parts.set_aside_1").glob("*.part")]
    assert list(tmp_path.rglob("*.hdf5")) == [path]
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in told] == [
        "x.hdf5.parts.set_aside_1", "x.hdf5.set_aside_1",
    ]  # fmt: skip
    write(path)
    assert (tmp_path / "x.hdf5.set_aside_2").exists()


def test_unfinished_parts_are_not_trajectory_files(tmp_path: Path) -> None:
    writer(tmp_path / "x.hdf5").add(0, episode(0))
    assert list(tmp_path.rglob("*.hdf5")) == []


def test_sigkill_while_adding_loses_only_the_episode_in_work(tmp_path: Path) -> None:
    """The process dies where the next episode is written but not yet in its place."""
    path = tmp_path / "x.hdf5"
    code = (
        "import os, signal, sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; import test_trajectories as t\n"
        "w = t.writer(Path(sys.argv[1])); w.add(0, t.episode(0)); w.add(1, t.episode(1))\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "w.add(2, t.episode(2))\n"
    )
    here = Path(__file__).resolve().parent
    result = subprocess.run([sys.executable, "-c", code, path, here, here.parents[1]])
    assert result.returncode == -signal.SIGKILL
    survivor = writer(path)
    assert survivor.done == {0, 1}
    survivor.add(2, episode(2))
    with survivor.finish() as file:
        for index, found in enumerate(file):
            assert_equal(found, episode(index))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.hdf5"]


def test_a_killed_merge_keeps_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.hdf5"
    target = writer(path)
    target.add(0, episode(0))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            target.finish()
    target.close()
    assert not path.exists()
    writer(path).finish().close()
    assert path.exists()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.99])
def test_a_truncated_file_is_one_clear_error(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.hdf5"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TrajectoryError, match=r"x\.hdf5 is truncated .* make it again"):
        TrajectoryFile(path)


def test_a_damaged_episode_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    write(path)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/states"]
    with TrajectoryFile(path) as file, pytest.raises(TrajectoryError, match="episode 1 of"):
        file[1]


def test_other_mistakes_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="does not exist"):
        TrajectoryFile(tmp_path / "x.hdf5")
    with pytest.raises(TrajectoryError, match="no episode was collected"):
        writer(tmp_path / "x.hdf5").finish()
    with h5py.File(tmp_path / "official.hdf5", "w") as file:
        file.create_group("data/demo_0")
    with pytest.raises(TrajectoryError, match="--human-demos"):
        TrajectoryFile(tmp_path / "official.hdf5")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        writer(tmp_path / "file" / "x.hdf5")


def test_with_info_replaces_provenance() -> None:
    changed = episode(1).with_info(way="right")
    assert changed.info == replace(episode(1).info, way="right")
    np.testing.assert_array_equal(changed.path[-1], episode(1).final_proprio)


def test_a_short_file_is_neither_made_nor_taken_for_finished(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    write(path, 2)
    with TrajectoryWriter(path, TASK, PACK, CONFIG, expected=2) as enough:
        assert enough.finished
    with TrajectoryWriter(path, TASK, PACK, CONFIG, expected=3) as more:
        assert not more.finished and more.done == set()
        more.add(0, episode(0))
        with pytest.raises(TrajectoryError, match=r"1 of 3 episodes are there .* run the same"):
            more.finish()
    with TrajectoryFile(path) as file:
        assert len(file) == 2


def test_a_second_writer_is_refused_and_disturbs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with writer(path) as first:
        first.add(0, episode(0))
        with pytest.raises(BusyError, match=r"x\.hdf5 is being written by process \d+ on"):
            writer(path)
        first.add(1, episode(1))
        with first.finish() as file:
            assert len(file) == 2
    with writer(path) as second:
        assert second.finished


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with writer(path) as target:
        target.add(0, episode(0))
        target.add(1, episode(1))
    part = tmp_path / "x.hdf5.parts" / "episode_00000001.part"
    change_a_number(part)
    with writer(path) as target:
        assert target.done == {0} and not part.exists()
        target.add(1, episode(1))
        change_a_number(part)
        with pytest.raises(TrajectoryError, match=r"episode_00000001\.part is missing or damaged"):
            target.finish()


@pytest.mark.parametrize("content", [b"\xff", b"{", b""])
def test_parts_whose_list_is_damaged_are_made_again(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    writer(path).add(0, episode(0))
    (tmp_path / "x.hdf5.parts" / "manifest.json").write_bytes(content)
    with writer(path) as target:
        assert target.done == set()
        target.add(1, episode(1))
        with target.finish() as file:
            assert len(file) == 1


def change_a_number(part: Path) -> None:
    with h5py.File(part, "r+") as file:
        file["episode/final/state"][3] += 1e-9


def damage(path: Path, byte: int, bit: int) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("field", ["states", "actions", "proprio", "joints", "final_state"])
def test_numbers_that_are_not_finite_and_other_shapes_are_refused(
    tmp_path: Path, field: str
) -> None:
    array = getattr(episode(0), field).copy()
    array[..., 0] = np.nan
    with writer(tmp_path / "x.hdf5") as target:
        with pytest.raises(TrajectoryError, match=f"{field} contain NaN"):
            target.add(0, replace(episode(0), **{field: array}))
        with pytest.raises(TrajectoryError, match=r"have shape|no step"):
            target.add(0, replace(episode(0), **{field: array[:-1]}))
        assert target.done == set()


Change = Callable[[h5py.File], object]


def attribute(group: str, name: str, value: object) -> Change:
    return lambda file: file[group].attrs.__setitem__(name, value)


def shorter_actions(file: h5py.File) -> None:
    demo = file["data/demo_1"]
    actions = demo["actions"][:-1]
    del demo["actions"]
    demo["actions"] = actions


def many_rows(file: h5py.File) -> None:
    demo = file["data/demo_1"]
    del demo["states"]
    demo.create_dataset("states", (300_000_000, 11), chunks=(1000, 11), compression="gzip")


def wide_rows(file: h5py.File) -> None:
    demo = file["data/demo_1"]
    del demo["states"]
    demo.create_dataset("states", (4, 75_000_000), chunks=(1, 1000), compression="gzip")


def not_a_number(file: h5py.File) -> None:
    file["data/demo_1/actions"][1, 2] = np.nan


def another_number(file: h5py.File) -> None:
    file["data/demo_1/obs/ee_pos"][1, 2] += 1e-9


def elsewhere(file: h5py.File) -> None:
    del file["data/demo_1/states"]
    file["data/demo_1/states"] = h5py.ExternalLink("other.hdf5", "/data/demo_1/states")


def sealed_again(change: Change) -> Change:
    """Make a change and have the digest of index and attributes say so: whoever writes can."""

    def changed(file: h5py.File) -> None:
        change(file)
        attributes = {name: v for name, v in file["data"].attrs.items() if name != "sha256"}
        index = {name: item[()] for name, item in file["index"].items()}
        file["data"].attrs["sha256"] = digest(index, attributes)

    return changed


def unknown_field(file: h5py.File) -> None:
    infos = json.loads(file["index/info"][()].tobytes())
    infos[0]["unknown"] = 1
    del file["index/info"]
    file["index/info"] = np.frombuffer(json.dumps(infos).encode(), np.uint8)


CHANGES: dict[str, Change] = {
    "no_task": sealed_again(lambda file: file["data"].attrs.__delitem__("task")),
    "no_config": sealed_again(attribute("data", "config", "{")),
    "unknown_field": sealed_again(unknown_field),
    "num_demos": attribute("data", "num_demos", 2),
    "total": attribute("data", "total", 13),
    "asset_digest": attribute("data", "asset_digest", "1" * 64),
    "success": attribute("data/demo_1", "success", False),
    "lost": lambda file: file["data"].__delitem__("demo_2"),
    "swapped": lambda file: (
        file.move("data/demo_0", "data/x"),
        file.move("data/demo_1", "data/demo_0"),
        file.move("data/x", "data/demo_1"),
    ),
    "shorter_actions": shorter_actions,
    "many_rows": many_rows,
    "wide_rows": wide_rows,
    "not_a_number": not_a_number,
    "another_number": another_number,
    "elsewhere": elsewhere,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.hdf5"
    write(path)
    (tmp_path / "other.hdf5").write_bytes(path.read_bytes())
    with h5py.File(path, "r+") as file:
        CHANGES[name](file)
    tracemalloc.start()
    with pytest.raises(TrajectoryError, match=r"is truncated or not|is damaged"):
        list(TrajectoryFile(path))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_file_of_the_first_format_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    write(path)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["format_version"] = 1
        del file["index"]
    with pytest.raises(TrajectoryError, match=r"of trajectory format 1, but 3 .* made again"):
        TrajectoryFile(path)
    with writer(path) as target:
        assert not target.finished
    write(path)
    assert len(TrajectoryFile(path)) == 3


def outcome(path: Path) -> str:
    """Return what reading a damaged copy of `write`'s file gives, all of it."""
    try:
        with TrajectoryFile(path) as file:
            infos, episodes = file.infos, list(file)
            same = file.attributes.keys() == WHOLE.keys() and all(
                np.array_equal(value, WHOLE[name]) for name, value in file.attributes.items()
            )
    except TrajectoryError:
        return "refused"
    if not same or list(infos) != [episode(i, LONG).info for i in range(3)] or len(episodes) != 3:
        return "other"
    for index, found in enumerate(episodes):
        assert_equal(found, episode(index, LONG))
    return "harmless"


WHOLE: dict[str, Any] = {}
LONG = 150
"""Steps of an episode as tasks have them, of which the file mostly consists."""


def test_flipped_bits_and_truncations_are_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    write(path, steps=LONG)
    with TrajectoryFile(path) as file:
        WHOLE.update(file.attributes)
    content, rng = path.read_bytes(), np.random.default_rng(12)
    flips: Counter[str] = Counter()
    for bit in rng.choice(8 * len(content), 100, replace=False):
        path.write_bytes(content)
        damage(path, *divmod(int(bit), 8))
        flips[outcome(path)] += 1
    cuts: Counter[str] = Counter()
    for size in rng.choice(len(content), 20, replace=False):
        path.write_bytes(content[:size])
        cuts[outcome(path)] += 1
    print(f"flips {dict(flips)}, truncations {dict(cuts)}, of {len(content)} bytes")
    assert flips.keys() <= {"refused", "harmless"} and flips["refused"] > 50
    assert cuts == {"refused": 20}
