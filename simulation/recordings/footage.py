"""One recording of any file as simulator states that can be drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.errors import AssetError
from simulation.assets.resolve import AssetPack, find_recorded_pack, resolve_assets
from simulation.environment import Environment
from simulation.pictures.look import Look
from simulation.recordings.recorder import Recorder
from simulation.recordings.recordings import Recording, open_recordings
from simulation.recordings.trajectories import Episode
from simulation.scene import Fixtures, Scene
from simulation.tasks import Task


@dataclass(frozen=True)
class Footage:
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
    scene: Scene | None = None
    """The compiled scene, where it is not the task's own."""
    look: Look = field(default_factory=Look)
    """What pictures show otherwise."""


def episode_footage(episode: Episode, task: Task, assets: AssetPack, title: str) -> Footage:
    """Return an episode's states, its final one included."""
    states = np.concatenate((episode.states, episode.final_state[None]))
    return Footage(task, assets, states, episode.fixtures, _line(task, episode.info.success, title))


def read_footage(
    path: Path, index: int = 0, task: Task | None = None, assets: str | Path | None = None
) -> Footage:
    """Read the states of one recording of a file.

    A trajectory file of this project and LIBERO's own HDF5 file hold states; the actions of a
    JSON demonstration (`init_state`, `actions`) are simulated, up to success.

    Args:
        path: the file.
        index: which recording, from 0.
        task: the file's task; by default what the file or its name says.
        assets: folder of assets; by default those that the file was made with, where they are
            known and at hand, else the pack that every command finds.

    Raises:
        TrajectoryError: the file is missing, of another kind or task, or has no such episode.
        UnknownTaskError: neither the file nor its name says which task it is of.
        AssetError: the folder of assets is incomplete, or the assets that the file was made with
            are not at hand and no others are named.
    """
    with open_recordings(path, task, resolve_assets(assets) if assets else None) as file:
        recording, made_with = file[index], file.asset_digest
        title = f"{path.name}, episode {index} of {len(file)}"
    pack = find_recorded_pack(made_with, assets) if made_with else resolve_assets(assets)
    if made_with and not assets and pack.digest != made_with:
        raise AssetError(
            f"{path} was made with other assets ({made_with[:12]}) than those found here, "
            f"{pack.name} ({pack.digest[:12]}): name their folder with --assets, or other assets "
            "to draw it with nonetheless"
        )
    if recording.states is None or recording.fixtures is None:
        episode = _simulate(recording, pack)
        return episode_footage(episode, recording.task, pack, f"{path.name}, simulated")
    line = f"{recording.task.language} ({title})"
    if made_with:
        line = _line(recording.task, recording.info.success, title)
    return Footage(recording.task, pack, recording.states, recording.fixtures, line)


def _simulate(recording: Recording, assets: AssetPack) -> Episode:
    env = Environment(recording.task, assets)
    env.reset(0, init_state=recording.init_state, fixtures=recording.fixtures)
    recorder, success = Recorder(env), False
    for action in recording.actions:
        recorder.before(action)
        success = env.step(action)
        if success:
            break
    return recorder.finish(success)


def _line(task: Task, success: bool, title: str) -> str:
    return f"{task.language}: {'success' if success else 'failure'} ({title})"
