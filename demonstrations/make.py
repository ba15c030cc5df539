"""Demonstrations of a task: scripted, people's JSON files, or LIBERO's official HDF5 files."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from common.errors import DemonstrationError, TrajectoryError
from demonstrations.config import DemonstrationConfig
from demonstrations.demonstration import Demonstration
from demonstrations.skills import Demonstrator, demonstrate, find_demonstrator
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.physics.control import ACTION_DIM
from simulation.recordings.recorder import Recorder
from simulation.recordings.recordings import fixtures_from_mjcf
from simulation.recordings.trajectories import Episode, TrajectoryFile, TrajectoryWriter
from simulation.scene import Fixtures
from simulation.starts import FIRST_HELD_OUT_INIT
from simulation.tasks import Task

_EXTRA_STEPS = 15
"""Control steps for which a replayed demonstration's last action is held, if need be."""
_FIRST_HUMAN_INDEX = 1_000_000
"""Human demonstrations follow the scripted ones in a file."""


def make_demonstrations(
    task: Task, path: Path, config: DemonstrationConfig, assets: AssetPack
) -> TrajectoryFile:
    """Write the demonstrations that `config` asks for to one trajectory file and open it.

    Only successes are kept. A file with this very configuration is opened as it is; a killed
    run goes on where it stopped.

    Raises:
        DemonstrationError: a source is missing or unreadable, or has no success.
        OutputError: the folder cannot be written.
    """
    writer = TrajectoryWriter(path, task, assets, asdict(config))
    if writer.finished:
        return TrajectoryFile(path)
    if config.human_demos:
        for index, episode in enumerate(replay_human(task, Path(config.human_demos), assets)):
            writer.add(_FIRST_HUMAN_INDEX + index, episode)
    if config.episodes_per_way:
        _demonstrate_all(task, writer, config, assets)
    return writer.finish()


def _demonstrate_all(
    task: Task, writer: TrajectoryWriter, config: DemonstrationConfig, assets: AssetPack
) -> None:
    """Fill in the scripted demonstrations that are missing, on one thread per core."""
    demonstrator = find_demonstrator(task)
    wanted = range(config.episodes_per_way * len(demonstrator.ways))
    missing = [index for index in wanted if index not in writer.done]
    local = threading.local()

    def work(index: int) -> None:
        if not hasattr(local, "env"):
            local.env = Environment(task, assets)
        writer.add(index, _demonstrate_until_success(local.env, demonstrator, index, config))

    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        tqdm(total=len(wanted), initial=len(wanted) - len(missing), desc="demonstrate") as bar,
    ):
        for _ in pool.map(work, missing):
            bar.update()


def _demonstrate_until_success(
    env: Environment, demonstrator: Demonstrator, index: int, config: DemonstrationConfig
) -> Episode:
    """Return the first success of demonstration `index`, a function of index and config alone."""
    way = demonstrator.ways[index % len(demonstrator.ways)]
    for attempt in range(config.maximum_attempts):
        rng = np.random.default_rng([config.seed, index, attempt])
        init_index = int(rng.integers(FIRST_HELD_OUT_INIT))
        fresh = rng.random() < config.fresh_share
        env.reset(int(rng.integers(1_000_000)), None if fresh else init_index)
        env.settle()
        episode = demonstrate(env, demonstrator, way, rng, config)
        if episode.info.success:
            return episode
    raise DemonstrationError(
        f"the scripted demonstrator failed {config.maximum_attempts} times at {env.task.name} "
        f"by way {way!r}: check the asset pack ({env.scene.assets.name})"
    )


def replay_human(task: Task, folder: Path, assets: AssetPack) -> Iterator[Episode]:
    """Replay a task's human demonstrations and yield those that succeed.

    `<task>.json` holds one demonstration (`init_state`, `actions`), `<task>_demo.hdf5` is
    LIBERO's own file. Actions are replayed open loop from the first state; an episode ends at
    success, at the latest 15 steps after the recorded end with the last action held.

    Raises:
        DemonstrationError: the folder has no file of the task, it is unreadable, or no
            demonstration succeeds.
    """
    candidates = [folder / f"{task.name}.json", folder / f"{task.name}_demo.hdf5"]
    sources = [path for path in candidates if path.exists()]
    if not sources:
        names = " or ".join(path.name for path in candidates)
        raise DemonstrationError(f"{folder} has no demonstrations of {task.name}: expected {names}")
    env = Environment(task, assets)
    succeeded = 0
    for source in sources:
        recordings = _read_json(source) if source.suffix == ".json" else _read_hdf5(source, env)
        for state, actions, fixtures in recordings:
            if actions.shape != (len(actions), ACTION_DIM) or not len(actions):
                raise DemonstrationError(
                    f"{source} has actions of shape {actions.shape}; (T, {ACTION_DIM}) is needed"
                )
            episode = _replay(env, state, actions, fixtures)
            if episode.info.success:
                succeeded += 1
                yield episode
    if not succeeded:
        raise DemonstrationError(
            f"no human demonstration of {task.name} in {folder} succeeds with the asset pack "
            f"{assets.name}; people's demonstrations want LIBERO's real assets (`dlr assets`)"
        )


def observe(file: TrajectoryFile, env: Environment) -> list[Demonstration]:
    """Return a file's episodes as the learning core sees them: with the policy's states.

    `env` is an environment of the file's task; its state is overwritten.

    Raises:
        TrajectoryError: the file is of another task, or was made with other assets.
    """
    assets = env.scene.assets
    if (file.task, file.asset_digest) != (env.task, assets.digest):
        raise TrajectoryError(
            f"{file.path} holds {file.task.key} with the asset pack {file.asset_pack} "
            f"({file.asset_digest[:12]}), but {env.task.key} with {assets.name} "
            f"({assets.digest[:12]}) is wanted: give the same assets, or demonstrate again"
        )
    demonstrations = []
    for episode in file:
        env.reset(episode.info.seed, init_state=episode.states[0], fixtures=episode.fixtures)
        observations = []
        for state in episode.states:
            env.set_state(state)
            observations.append(env.policy_state())
        demonstrations.append(
            Demonstration(
                np.stack(observations), episode.proprio, episode.actions, episode.info.way
            )
        )
    return demonstrations


_Recording = tuple[np.ndarray, np.ndarray, Fixtures | None]
"""First state (1 + nq + nv,), actions (T, 7), and the fixtures' poses where they are known."""


def _read_json(path: Path) -> Iterator[_Recording]:
    try:
        recording = json.loads(path.read_text())
        state = np.array(recording["init_state"], dtype=np.float64)
        actions = np.array(recording["actions"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DemonstrationError(f"{path} is not a demonstration ({error!r})") from error
    yield state, actions, None


def _read_hdf5(path: Path, env: Environment) -> Iterator[_Recording]:
    try:
        with h5py.File(path) as file:
            for name in sorted(file["data"], key=lambda key: int(key.split("_")[1])):
                group = file["data"][name]
                fixtures = fixtures_from_mjcf(str(group.attrs["model_file"]), env.scene)
                yield group["states"][0], group["actions"][()], fixtures
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise DemonstrationError(
            f"{path} is truncated or not an official LIBERO file ({error}). Download it again."
        ) from error


def _replay(
    env: Environment, state: np.ndarray, actions: np.ndarray, fixtures: Fixtures | None
) -> Episode:
    env.reset(0, init_state=state, fixtures=fixtures)
    recorder, success = Recorder(env), False
    for action in np.concatenate((actions, np.repeat(actions[-1:], _EXTRA_STEPS, axis=0))):
        recorder.before(action)
        success = env.step(action)
        if success:
            break
    return recorder.finish(success, method="human")
