"""Which episodes a configuration publishes: methods, mixtures, sizes, splits, failures."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from common.errors import DatasetError, SettingError
from dataset_builders.certificate import chosen_for_replay
from dataset_builders.rollouts.find import find
from dataset_builders.sources import (
    Choice,
    EpisodeRef,
    choose_episodes,
    find_trajectory_files,
    parse_choice,
    split_episodes,
)
from generator.config import CollectConfig
from simulation.assets.resolve import AssetPack
from simulation.recordings.trajectories import (
    Episode,
    EpisodeInfo,
    TrajectoryFile,
    TrajectoryWriter,
)

INFOS = [
    *(EpisodeInfo(100 + n, pattern=n % 3, method="dlr", policy_hash="ab") for n in range(12)),
    *(EpisodeInfo(200 + n, method="human") for n in range(4)),
    *(EpisodeInfo(300 + n, method="dlr", policy_hash="ab", success=False) for n in range(2)),
]


@pytest.fixture(scope="module")
def folder(trajectories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose only file holds INFOS, all with the steps of one episode."""
    with TrajectoryFile(trajectories / "libero_90.hdf5") as source:
        task, episode = source.task, source[0]
        pack = AssetPack(source.asset_pack, Path(), source.asset_digest)
    path = tmp_path_factory.mktemp("chosen") / "x.hdf5"
    writer = TrajectoryWriter(path, task, pack, {}, len(INFOS))
    for index, info in enumerate(INFOS):
        writer.add(index, _with(episode, info))
    writer.finish().close()
    return path.parent


def _with(episode: Episode, info: EpisodeInfo) -> Episode:
    return episode.with_info(**vars(info))


def keys(refs: list[EpisodeRef]) -> set[str]:
    return {ref.key for ref in refs}


def test_names_say_methods_and_size() -> None:
    assert parse_choice("dlr") == ("dlr", 0)
    assert parse_choice("human+dlr_10") == ("human+dlr", 10)
    assert parse_choice("o2o_rl") == ("o2o_rl", 0)
    assert parse_choice("o2o_rl_50") == ("o2o_rl", 50)


def test_sizes_are_spread_over_patterns_and_lie_within_each_other(folder: Path) -> None:
    sizes = [keys(choose_episodes(folder, Choice("dlr", size))) for size in (3, 6, 10)]
    assert [len(size) for size in sizes] == [3, 6, 10]
    assert sizes[0] < sizes[1] < sizes[2]
    chosen = choose_episodes(folder, Choice("dlr", 6))
    assert collections.Counter(ref.info.pattern for ref in chosen) == {0: 2, 1: 2, 2: 2}
    with pytest.raises(DatasetError, match="has 12 episodes, not the 13"):
        choose_episodes(folder, Choice("dlr", 13))
    with pytest.raises(SettingError, match=r"at least 0 \(all\), not -1"):
        Choice("dlr", -1)


def test_mixtures_hold_each_method_and_name_the_one_that_is_missing(folder: Path) -> None:
    mixed = choose_episodes(folder, Choice("human+dlr", 8))
    counts = collections.Counter(ref.info.method for ref in mixed)
    assert counts == {"human": 2, "dlr": 6}
    with pytest.raises(DatasetError, match="no successful episodes of method 'o2o_rl'"):
        choose_episodes(folder, Choice("dlr+o2o_rl"))


def test_failures_are_in_a_split_of_their_own_when_asked(folder: Path) -> None:
    without = split_episodes(choose_episodes(folder, Choice("dlr")), 0.25)
    assert without.keys() == {"train", "val"}
    splits = split_episodes(choose_episodes(folder, Choice("dlr", failures=True)), 0.25)
    assert {name: len(refs) for name, refs in splits.items()} == {
        "train": 9,
        "val": 3,
        "failures": 2,
    }
    assert all(ref.info.success for ref in (*splits["train"], *splits["val"]))
    assert not any(ref.info.success for ref in splits["failures"])
    assert keys(splits["train"]) == keys(without["train"])


def test_replays_are_of_every_kind_and_depend_on_keys_alone(folder: Path) -> None:
    refs = choose_episodes(folder, Choice("human+dlr"))
    some = chosen_for_replay(refs, 0.01)
    kinds = {(r.info.method, r.info.pattern) for r in refs if r.key in some}
    assert kinds == {("dlr", 0), ("dlr", 1), ("dlr", 2), ("human", -1)}
    assert chosen_for_replay(reversed(refs), 0.01) == some
    assert not chosen_for_replay(refs, 0)
    assert chosen_for_replay(refs, 1) == keys(refs) >= some


def test_a_file_says_its_episodes_lengths_and_digests(folder: Path) -> None:
    refs = choose_episodes(folder, Choice())
    assert {ref.steps for ref in refs} == {4}
    assert len({ref.digest for ref in refs}) == len(refs)


def test_trajectories_that_are_linked_to_are_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "trajectories").symlink_to(folder, target_is_directory=True)
    assert find_trajectory_files(tmp_path) == [tmp_path / "trajectories" / "x.hdf5"]
    found = find(tmp_path, Choice("dlr"), CollectConfig(), None)
    assert found.refs and not found.policies
