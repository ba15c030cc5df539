"""Demonstrations of a task: scripted, people's JSON files, or LIBERO's official HDF5 files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.errors import DemonstrationError, TrajectoryError
from demonstrations.config import DemonstrationConfig
from demonstrations.demonstration import Demonstration
from demonstrations.skills import Skill, demonstrate, find_skill
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.recordings import HUMAN, Recording, open_recordings
from simulation.recordings.trajectories import Episode, TrajectoryFile, TrajectoryWriter
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
        BusyError: another process is writing the file.
        OutputError: the folder cannot be written.
    """
    skill = find_skill(task) if config.episodes_per_way else None
    scripted = config.episodes_per_way * len(skill.ways) if skill else 0
    expected = scripted + bool(config.human_demos)
    with TrajectoryWriter(path, task, assets, asdict(config), expected) as writer:
        if writer.finished:
            return TrajectoryFile(path)
        if config.human_demos:
            for index, episode in enumerate(replay_human(task, Path(config.human_demos), assets)):
                writer.add(_FIRST_HUMAN_INDEX + index, episode)
        if skill:
            _demonstrate_all(skill, scripted, writer, config, assets)
        return writer.finish()


def _demonstrate_all(
    skill: Skill,
    count: int,
    writer: TrajectoryWriter,
    config: DemonstrationConfig,
    assets: AssetPack,
) -> None:
    """Fill in those of the `count` demonstrations that are missing, on one thread per core."""
    task, wanted = writer.task, range(count)
    missing = [index for index in wanted if index not in writer.done]
    local = threading.local()

    def work(index: int) -> None:
        if not hasattr(local, "env"):
            local.env = Environment(task, assets)
        writer.add(index, _demonstrate_until_success(local.env, skill, index, config))

    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        tqdm(total=len(wanted), initial=len(wanted) - len(missing), desc="demonstrate") as bar,
    ):
        for _ in pool.map(work, missing):
            bar.update()


def _demonstrate_until_success(
    env: Environment, skill: Skill, index: int, config: DemonstrationConfig
) -> Episode:
    """Return the first success of demonstration `index`, a function of index and config alone."""
    way = skill.ways[index % len(skill.ways)]
    for attempt in range(config.maximum_attempts):
        rng = np.random.default_rng([config.seed, index, attempt])
        init_index = int(rng.integers(FIRST_HELD_OUT_INIT))
        fresh = rng.random() < config.fresh_share
        env.reset(int(rng.integers(1_000_000)), None if fresh else init_index)
        env.settle()
        episode = demonstrate(env, skill, way, rng, config.style)
        if episode.info.success:
            return episode
    raise DemonstrationError(
        f"the scripted skill failed {config.maximum_attempts} times at {env.task.name} "
        f"by way {way!r}: check the asset pack ({env.scene.assets.name})"
    )


def replay_human(task: Task, folder: Path, assets: AssetPack) -> Iterator[Episode]:
    """Replay a task's human demonstrations and yield those that succeed.

    `<task>.json` holds one demonstration (`init_state`, `actions`), `<task>_demo.hdf5` is
    LIBERO's own file. Actions are replayed open loop from the first state; an episode ends at
    success, at the latest 15 steps after the recorded end with the last action held.

    Raises:
        DemonstrationError: the folder has no file of the task, or no demonstration succeeds.
        TrajectoryError: a file is damaged, or holds no demonstration.
    """
    candidates = [folder / f"{task.name}.json", folder / f"{task.name}_demo.hdf5"]
    sources = [path for path in candidates if path.exists()]
    if not sources:
        names = " or ".join(path.name for path in candidates)
        raise DemonstrationError(f"{folder} has no demonstrations of {task.name}: expected {names}")
    env = Environment(task, assets)
    succeeded = 0
    for source in sources:
        with open_recordings(source, task, assets) as recordings:
            for recording in recordings:
                episode = _replay(env, recording)
                if episode.info.success:
                    succeeded += 1
                    yield episode
    if not succeeded:
        raise DemonstrationError(
            f"no human demonstration of {task.name} in {folder} succeeds with the asset pack "
            f"{assets.name}; people's demonstrations want LIBERO's own (`dlr assets install`)"
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
            Demonstration(np.stack(observations), episode.proprio, episode.labels, episode.info.way)
        )
    return demonstrations


def _replay(env: Environment, recording: Recording) -> Episode:
    """Replay a person's actions; the episode's seed is the name of its start, and draws nothing."""
    env.reset(0, init_state=recording.init_state, fixtures=recording.fixtures)
    recorder, success, actions = Recorder(env), False, recording.actions
    for action in np.concatenate((actions, np.repeat(actions[-1:], _EXTRA_STEPS, axis=0))):
        recorder.before(action)
        success = env.step(action)
        if success:
            break
    return recorder.finish(success, method=HUMAN).with_info(seed=recording.info.seed)
