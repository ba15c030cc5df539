"""Reads one episode of any file of recordings as simulator states that can be drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from common.errors import TrajectoryError
from simulation.assets.resolve import AssetPack, find_embedded_pack, resolve_assets
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.trajectories import Episode, TrajectoryFile
from simulation.scene import Fixtures, Scene, load_scene
from simulation.tasks import Task, get_task


@dataclass(frozen=True)
class Recording:
    """What an episode went through."""

    task: Task
    """The episode's task."""
    assets: AssetPack
    """The pack to draw it with."""
    states: np.ndarray
    """Simulator state before each action, and where it is known after the last, (T, N)."""
    fixtures: Fixtures
    """Poses of the fixtures."""
    title: str
    """What it is, in a line."""


def episode_recording(episode: Episode, task: Task, assets: AssetPack, title: str) -> Recording:
    """Return an episode as a recording, its final state included."""
    states = np.concatenate((episode.states, episode.final_state[None]))
    outcome = "success" if episode.info.success else "failure"
    line = f"{task.language}: {outcome} ({title})"
    return Recording(task, assets, states, episode.fixtures, line)


def read_recording(
    path: Path, index: int = 0, task: Task | None = None, assets: str | Path | None = None
) -> Recording:
    """Read one episode of a file.

    A trajectory file of this project and LIBERO's own HDF5 file hold states; the actions of a
    JSON demonstration (`init_state`, `actions`) are simulated, up to success.

    Args:
        path: the file.
        index: which episode, from 0.
        task: the file's task; by default what the file or its name says.
        assets: folder of assets; by default those that the file was made with, where they are
            known and at hand, else the pack that every command finds.

    Raises:
        TrajectoryError: the file is missing, of another kind or task, or has no such episode.
        UnknownTaskError: neither the file nor its name says which task it is of.
        AssetError: the folder of assets is incomplete.
    """
    if not path.is_file():
        raise TrajectoryError(f"{path} is not there: give a file of recordings")
    if path.suffix == ".json":
        return _read_json(path, index, task, assets)
    try:
        with h5py.File(path) as file:
            ours = "format_version" in file["data"].attrs
    except (OSError, KeyError) as error:
        raise TrajectoryError(
            f"{path} is truncated, or neither HDF5 in LIBERO's layout nor JSON ({error})"
        ) from error
    read = _read_ours if ours else _read_libero
    return read(path, index, task, assets)


def fixtures_from_mjcf(xml: str, scene: Scene) -> Fixtures:
    """Return the fixtures' poses that a demonstration's `model_file` holds.

    Raises:
        ValueError, KeyError: it is not MJCF, or lacks a fixture.
    """
    try:
        bodies = {body.get("name"): body for body in ElementTree.fromstring(xml).iter("body")}
    except ElementTree.ParseError as error:
        raise ValueError(f"model_file is not MJCF: {error}") from error
    names = [scene.model.body(int(body)).name for body in scene.fixture_bodies]

    def numbers(attribute: str, default: str) -> list[list[float]]:
        texts = (bodies[name].get(attribute) or default for name in names)
        return [[float(number) for number in text.split()] for text in texts]

    return Fixtures(
        scene.fixture_names,
        np.array(numbers("pos", "0 0 0")).reshape(-1, 3),
        np.array(numbers("quat", "1 0 0 0")).reshape(-1, 4),
    )


def _read_ours(path: Path, index: int, task: Task | None, assets: str | Path | None) -> Recording:
    with TrajectoryFile(path) as file:
        _check(path, index, len(file), file.task, task)
        pack = None if assets else find_embedded_pack(file.asset_digest)
        return episode_recording(
            file[index],
            file.task,
            pack or resolve_assets(assets),
            f"{path.name}, episode {index} of {len(file)}",
        )


def _read_libero(path: Path, index: int, task: Task | None, assets: str | Path | None) -> Recording:
    found = task or get_task(path.stem.removesuffix("_demo"))
    pack = resolve_assets(assets)
    scene = load_scene(found, pack)
    try:
        with h5py.File(path) as file:
            names = sorted(file["data"], key=lambda name: int(name.split("_")[1]))
            _check(path, index, len(names), found, task)
            group = file["data"][names[index]]
            states = np.asarray(group["states"][()], dtype=np.float64)
            if states.ndim != 2 or states.shape[1] != scene.state_size:
                raise TrajectoryError(
                    f"{path} has states of shape {states.shape}, but those of {found.name} have "
                    f"{scene.state_size} numbers: name the task that it is of"
                )
            fixtures = fixtures_from_mjcf(str(group.attrs["model_file"]), scene)
    except TrajectoryError:
        raise
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise TrajectoryError(f"{path} is truncated or not LIBERO's ({error})") from error
    title = f"{found.language} ({path.name}, demonstration {index} of {len(names)})"
    return Recording(found, pack, states, fixtures, title)


def _read_json(path: Path, index: int, task: Task | None, assets: str | Path | None) -> Recording:
    try:
        content = json.loads(path.read_text())
        state = np.array(content["init_state"], dtype=np.float64)
        actions = np.array(content["actions"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrajectoryError(
            f"{path} is not a demonstration with `init_state` and `actions` ({error!r})"
        ) from error
    named = content.get("task", path.stem)
    found = get_task(f"{content['suite']}/{named}" if "suite" in content else named)
    _check(path, index, 1, found, task)
    if not len(actions):
        raise TrajectoryError(f"{path} has no actions")
    pack = resolve_assets(assets)
    env = Environment(found, pack)
    env.reset(0, init_state=state)
    recorder, success = Recorder(env), False
    for action in actions:
        recorder.before(action)
        success = env.step(action)
        if success:
            break
    return episode_recording(recorder.finish(success), found, pack, f"{path.name}, simulated")


def _check(path: Path, index: int, count: int, found: Task, wanted: Task | None) -> None:
    """Raise TrajectoryError unless the file has the episode and is of the task asked for."""
    if not 0 <= index < count:
        raise TrajectoryError(f"{path} has episodes 0 to {count - 1}, but {index} is asked for")
    if wanted is not None and wanted != found:
        raise TrajectoryError(f"{path} is of {found.key}, not of {wanted.key}")
