"""Demonstrations: scripted ways succeed, people's recordings replay, bad files are one error."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from common.errors import (
    DemonstrationError,
    InvalidStateError,
    SettingError,
    TrajectoryError,
    UnknownTaskError,
)
from dataset_builders.sources import list_episodes, split_episodes
from demonstrations.amplify import list_recordings
from demonstrations.config import DemonstrationConfig, Style
from demonstrations.make import (
    count_attempts,
    make_demonstrations,
    observe,
    possible,
    replay_human,
)
from demonstrations.scripted import Scripted
from demonstrations.skills.table import SKILLS, find_skills
from simulation.assets.resolve import AssetPack, embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.recordings.trajectories import Episode
from simulation.starts import FIRST_HELD_OUT_INIT
from simulation.tasks import Task, get_task
from tests.demonstrations.half_lame import HalfLame

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
BOWL = get_task("libero_90/KITCHEN_SCENE5_put_the_black_bowl_on_the_plate")
WAYS = [(task, way) for task in (DRAWER, BOWL) for way in find_skills(task).ways]


@pytest.fixture(scope="module")
def pack() -> AssetPack:
    return embedded_pack()


@pytest.fixture(scope="module")
def environments(pack: AssetPack) -> dict[Task, Environment]:
    return {task: Environment(task, pack) for task in (DRAWER, BOWL)}


@pytest.fixture(scope="module")
def scripted(environments: dict[Task, Environment]) -> Episode:
    """A success at the drawer, the recording of the tests that read files."""
    return once(environments[DRAWER], "left", 11, seed=0)


def once(
    env: Environment, way: str, init_index: int | None, seed: int, style: Style = Style()
) -> Episode:
    """Demonstrate once from an official or a fresh initial state."""
    env.reset(seed, init_index)
    env.settle()
    return Scripted(env.task).demonstrate(env, way, np.random.default_rng(seed), style)


@pytest.mark.parametrize("init_index", [11, None], ids=["official", "fresh"])
@pytest.mark.parametrize(("task", "way"), WAYS, ids=[way for _, way in WAYS])
def test_each_way_succeeds(
    environments: dict[Task, Environment], task: Task, way: str, init_index: int | None
) -> None:
    attempts = (once(environments[task], way, init_index, seed) for seed in range(4))
    episode = next(episode for episode in attempts if episode.info.success)
    assert (episode.info.way, episode.info.method) == (way, "scripted")
    assert episode.info.init_index == (-1 if init_index is None else init_index)
    assert np.abs(episode.actions).max() <= 1 and episode.rewards[-1] == 1


def test_an_attempt_depends_on_its_seed_alone(environments: dict[Task, Environment]) -> None:
    env = environments[DRAWER]
    first = once(env, "low", 3, seed=1)
    other = once(env, "low", 3, seed=2)
    again = once(env, "low", 3, seed=1)
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert len(first) != len(other) or not np.array_equal(first.states, other.states)


def test_a_pushed_hand_means_to_come_back(environments: dict[Task, Environment]) -> None:
    env, most = environments[BOWL], 6 * Style().tremor
    episode = once(env, "low", 0, 0, Style(pushes=0.05, push_steps=4))
    steps = np.flatnonzero(_apart(episode) > most)
    assert episode.info.success and list(np.diff(steps)).count(1) == len(steps) * 3 // 4
    assert np.abs(np.linalg.norm(episode.actions[steps, :3], axis=1) - Style().push).max() < most
    assert (episode.actions[steps, :3] * episode.labels[steps + 1, :3]).sum(axis=1).min() < 0
    assert _apart(once(env, "low", 0, 0)).max() < most


def test_a_hand_at_work_is_not_pushed(environments: dict[Task, Environment]) -> None:
    episode = once(environments[BOWL], "low", 0, 0, Style(pushes=1.0))
    grasp = int(np.flatnonzero(np.diff(episode.actions[:, 6]) > 0)[0]) + 1
    assert _apart(episode)[grasp : grasp + 10].max() < 6 * Style().tremor
    assert np.mean(_apart(episode) > 6 * Style().tremor) > 0.5


def _apart(episode: Episode) -> np.ndarray:
    """Return how far each motion was from what was meant."""
    return np.asarray(np.linalg.norm((episode.actions - episode.labels)[:, :3], axis=1))


def test_the_file_is_the_same_each_time_and_holds_every_way(
    tmp_path: Path, pack: AssetPack, environments: dict[Task, Environment]
) -> None:
    config = DemonstrationConfig(episodes_per_way=1)
    with (
        make_demonstrations(DRAWER, tmp_path / "a.hdf5", config, pack) as a,
        make_demonstrations(DRAWER, tmp_path / "b.hdf5", config, pack) as b,
    ):
        assert [episode.info.way for episode in a] == ["left", "right", "low"]
        for one, two in zip(a, b, strict=True):
            assert one.info == two.info and one.info.success and one.info.seed < 1_000_000
            assert one.info.init_index < FIRST_HELD_OUT_INIT
            np.testing.assert_array_equal(one.states, two.states)
        seen = observe(a, environments[DRAWER])
        for demonstration, episode in zip(seen, a, strict=True):
            assert demonstration.way == episode.info.way
            env = environments[DRAWER]
            env.reset(0, init_state=episode.states[-1], fixtures=episode.fixtures)
            np.testing.assert_array_equal(demonstration.observations[-1], env.policy_state())
            assert len(demonstration.observations) == len(demonstration.actions) == len(episode)
        with pytest.raises(TrajectoryError, match="demonstrate again"):
            observe(a, environments[BOWL])


def test_a_demonstration_replays_from_its_file_to_the_bit(
    tmp_path: Path, pack: AssetPack, environments: dict[Task, Environment]
) -> None:
    config = DemonstrationConfig(episodes_per_way=1, fresh_share=0.5)
    with make_demonstrations(BOWL, tmp_path / "a.hdf5", config, pack) as file:
        env = environments[BOWL]
        for episode in file:
            fixtures = episode.fixtures
            env.reset(episode.info.seed, init_state=episode.states[0], fixtures=fixtures)
            for state, action in zip(episode.states, episode.actions, strict=True):
                np.testing.assert_array_equal(env.state(), state)
                success = env.step(action)
            np.testing.assert_array_equal(env.state(), episode.final_state)
            assert success
            assert not np.array_equal(episode.labels, episode.actions)
            opened = episode.actions[:, 6] < 0
            assert opened[-8:].all() and not opened.all()


def test_no_demonstrator_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SKILLS, "close", ())
    with pytest.raises(UnknownTaskError, match="--human-demos FOLDER --episodes-per-way 0"):
        find_skills(DRAWER)


def test_a_way_that_never_succeeds_is_left_out(
    tmp_path: Path, pack: AssetPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SKILLS, "close", (HalfLame(),))
    config = DemonstrationConfig(episodes_per_way=2, maximum_attempts=2)
    with make_demonstrations(DRAWER, tmp_path / "a.hdf5", config, pack) as file:
        assert [info.way for info in file.infos] == ["left", "left"]
        ((_, (tried, succeeded)),) = count_attempts(file).items()
        assert tried >= succeeded == 2
    monkeypatch.setattr(HalfLame, "ways", ("lame",))
    with pytest.raises(DemonstrationError, match=r"failed 2 times at .* in each of its ways"):
        make_demonstrations(DRAWER, tmp_path / "b.hdf5", config, pack)


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_human_demonstrations_replay(every: int, human_demos: Path, real_assets: Path) -> None:
    files = sorted(human_demos.glob("*.json"))
    assert len(files) == 25
    for file in files[::every]:
        assert_replays(get_task(file.stem), human_demos, resolve_assets(real_assets))


def assert_replays(task: Task, folder: Path, assets: AssetPack) -> None:
    """Assert that a task's one demonstration succeeds near its recorded step."""
    (episode,) = replay_human(task, folder, assets)
    recorded = json.loads((folder / f"{task.name}.json").read_text())
    assert episode.info.method == "human"
    assert abs(len(episode) - recorded["steps_to_success"]) <= 15
    kept = np.array(recorded["actions"])[: len(episode)]
    np.testing.assert_array_equal(episode.actions[: len(kept)], kept)


def write_official(path: Path, episode: Episode, env: Environment, model_file: str = "") -> None:
    """Write an episode twice in the layout of LIBERO's published files."""
    with h5py.File(path, "w") as file:
        for name in ("demo_0", "demo_1"):
            demo = file.create_group(f"data/{name}")
            demo["states"], demo["actions"] = episode.states, episode.actions
            demo.attrs["model_file"] = model_file or mjcf(episode, env)


def mjcf(episode: Episode, env: Environment) -> str:
    """Return upstream's MJCF with the fixtures where the episode has them."""
    root = ElementTree.fromstring(env.scene._upstream.model.get_xml())
    bodies = {body.get("name"): body for body in root.iter("body")}
    for i, index in enumerate(env.scene.fixture_bodies):
        body = bodies[env.model.body(int(index)).name]
        body.set("pos", " ".join(map(repr, episode.fixtures.positions[i].tolist())))
        body.set("quat", " ".join(map(repr, episode.fixtures.quaternions[i].tolist())))
    return ElementTree.tostring(root, encoding="unicode")


def test_official_files_replay_with_their_own_fixtures(
    tmp_path: Path, pack: AssetPack, environments: dict[Task, Environment], scripted: Episode
) -> None:
    write_official(tmp_path / f"{DRAWER.name}_demo.hdf5", scripted, environments[DRAWER])
    config = DemonstrationConfig(episodes_per_way=0, human_demos=str(tmp_path))
    with make_demonstrations(DRAWER, tmp_path / "out.hdf5", config, pack) as file:
        assert len(file) == 2
        for episode in file:
            assert episode.info.success and episode.info.method == "human"
            np.testing.assert_array_equal(episode.states[0], scripted.states[0])
            np.testing.assert_array_equal(episode.fixtures.positions, scripted.fixtures.positions)
            np.testing.assert_array_equal(
                episode.fixtures.quaternions, scripted.fixtures.quaternions
            )


def test_other_recordings_are_other_demonstrations(
    tmp_path: Path, pack: AssetPack, environments: dict[Task, Environment], scripted: Episode
) -> None:
    env, people = environments[DRAWER], tmp_path / "people"
    people.mkdir()
    recording = people / f"{DRAWER.name}_demo.hdf5"
    config = DemonstrationConfig(episodes_per_way=0, human_demos=str(people))

    def made() -> tuple[int, int]:
        with make_demonstrations(DRAWER, tmp_path / "a.hdf5", config, pack) as file:
            return len(file), (tmp_path / "a.hdf5").stat().st_mtime_ns

    write_official(recording, scripted, env)
    first = made()
    assert made() == first and first[0] == 2
    more = {"init_state": scripted.states[0].tolist(), "actions": scripted.actions.tolist()}
    (people / f"{DRAWER.name}.json").write_text(json.dumps(more))
    second = made()
    assert second[0] == 3 and made() == second
    shutil.rmtree(people)
    assert made() == second
    (tmp_path / "a.hdf5").unlink()
    with pytest.raises(DemonstrationError, match="has no demonstrations"):
        made()


def test_the_official_recordings_of_a_task_can_be_amplified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DemonstrationError, match="dlr demos download"):
        list_recordings(DRAWER, "official")
    file = tmp_path / "dlr-vla/demonstrations" / f"{DRAWER.key}_demo.hdf5"
    file.parent.mkdir(parents=True)
    file.touch()
    assert list_recordings(DRAWER, "official") == [file]


def test_each_start_of_people_has_a_name_so_that_val_fraction_splits_them(
    tmp_path: Path, pack: AssetPack, environments: dict[Task, Environment], scripted: Episode
) -> None:
    env = environments[DRAWER]
    attempts = (once(env, "left", index, seed=0) for index in range(12, 20))
    other = next(episode for episode in attempts if episode.info.success)
    people = tmp_path / "people"
    people.mkdir()
    write_official(people / f"{DRAWER.name}_demo.hdf5", scripted, env)
    recording = {"init_state": other.states[0].tolist(), "actions": other.actions.tolist()}
    (people / f"{DRAWER.name}.json").write_text(json.dumps(recording))
    config = DemonstrationConfig(episodes_per_way=0, human_demos=str(people))
    make_demonstrations(DRAWER, tmp_path / "made" / "a.hdf5", config, pack).close()
    refs = list_episodes(tmp_path / "made", method="human")
    assert len(refs) == 3 and len({ref.start for ref in refs}) == 2
    splits = split_episodes(refs, val_fraction=0.5)
    starts = [{ref.start for ref in members} for members in splits.values()]
    assert all(starts) and not set.intersection(*starts)
    again = [ref.info.seed for ref in list_episodes(tmp_path / "made", method="human")]
    assert again == [ref.info.seed for ref in refs] and min(again) >= 2**31


def test_each_task_is_made_from_what_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = DemonstrationConfig()
    assert possible(DRAWER, config) == config
    people = replace(config, human_demos=str(tmp_path))
    assert possible(DRAWER, people) == people
    (tmp_path / f"{DRAWER.name}.json").touch()
    assert possible(DRAWER, people).source == "amplified"
    assert possible(BOWL, people) == people
    official = tmp_path / "cache/dlr-vla/demonstrations" / f"{DRAWER.key}_demo.hdf5"
    official.parent.mkdir(parents=True)
    official.touch()
    chosen = possible(DRAWER, config)
    assert (chosen.human_demos, chosen.episodes_per_way) == ("official", 0)
    assert possible(BOWL, config) == config
    scripted = replace(people, source="scripted")
    assert possible(DRAWER, scripted) == scripted


def failure(folder: Path, pack: AssetPack) -> str:
    """Return the message of the one error that a folder of demonstrations gives."""
    with pytest.raises((DemonstrationError, TrajectoryError)) as caught:
        list(replay_human(DRAWER, folder, pack))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_asking_for_none_makes_no_folder(tmp_path: Path, pack: AssetPack) -> None:
    path = tmp_path / "run" / "d.hdf5"
    with pytest.raises(SettingError, match=r"give --human-demos as well, or --episodes-per-way"):
        make_demonstrations(DRAWER, path, DemonstrationConfig(episodes_per_way=0), pack)
    assert not path.parent.exists()


def test_a_folder_without_the_task(tmp_path: Path, pack: AssetPack) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert f"expected {DRAWER.name}.json or {DRAWER.name}_demo.hdf5" in failure(folder, pack)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"init_state": "x", "actions": 1}',
        "\x00\xff",
        '{"a": NaN}',
        "[" * 9999,
        '{"init_state": ["1"], "actions": [[1, 1, 1, 1, 1, 1, 1]]}',
        '{"init_state": [1], "actions": [[1, 1, 1, 1, 1, 1, NaN]]}',
        '{"init_state": [1], "actions": [[1, 1, 1, 1, 1, 1, 1e400]]}',
        '{"init_state": [1], "actions": [[1, 1, 1], [1]]}',
        '{"init_state": [' + "1" * 400 + '], "actions": [[1, 1, 1, 1, 1, 1, 1]]}',
    ],
)
def test_garbage_json(tmp_path: Path, pack: AssetPack, text: str) -> None:
    (tmp_path / f"{DRAWER.name}.json").write_text(text, encoding="latin-1")
    assert f"{DRAWER.name}.json is " in failure(tmp_path, pack)


@pytest.mark.parametrize("actions", [[], [1.0], [[1.0] * 6]])
def test_actions_of_another_shape(
    tmp_path: Path, pack: AssetPack, scripted: Episode, actions: list[object]
) -> None:
    recording = {"init_state": scripted.states[0].tolist(), "actions": actions}
    (tmp_path / f"{DRAWER.name}.json").write_text(json.dumps(recording))
    assert "actions has shape" in failure(tmp_path, pack)


def test_a_state_of_another_task(tmp_path: Path, pack: AssetPack) -> None:
    recording = {"init_state": [0.0] * 5, "actions": [[0.0] * 7]}
    (tmp_path / f"{DRAWER.name}.json").write_text(json.dumps(recording))
    with pytest.raises(InvalidStateError, match="belongs to another task"):
        list(replay_human(DRAWER, tmp_path, pack))


def test_damaged_official_files(
    tmp_path: Path, pack: AssetPack, environments: dict[Task, Environment], scripted: Episode
) -> None:
    path = tmp_path / f"{DRAWER.name}_demo.hdf5"
    for model_file in ("<mujoco", "<mujoco/>"):
        write_official(path, scripted, environments[DRAWER], model_file)
        assert "is damaged or not what it should be" in failure(tmp_path, pack)
    content = path.read_bytes()
    for size in (0, 100, len(content) // 2):
        path.write_bytes(content[:size])
        assert "is truncated, or neither HDF5" in failure(tmp_path, pack)


def test_only_failures(tmp_path: Path, pack: AssetPack, scripted: Episode) -> None:
    recording = {"init_state": scripted.states[0].tolist(), "actions": [[0.0] * 7]}
    (tmp_path / f"{DRAWER.name}.json").write_text(json.dumps(recording))
    assert "no human demonstration" in failure(tmp_path, pack)
