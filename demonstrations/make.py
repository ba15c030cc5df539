"""Demonstrations of a task: scripted, people's JSON files, or LIBERO's official HDF5 files."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DemonstrationError, SettingError, TrajectoryError, UnknownTaskError
from common.files import output_errors
from common.machine import cores
from common.manifest import file_sha256
from common.workers.progress import Bar
from demonstrations.amplify import find_amplifier, list_recordings
from demonstrations.audit import SUFFIX, audit_path
from demonstrations.config import AMPLIFIED, DemonstrationConfig
from demonstrations.demonstration import Demonstration, Moments
from demonstrations.demonstrator import Demonstrator
from demonstrations.people import OFFICIAL, find_people, has_people, replay_people
from demonstrations.ranges import check_demonstrations
from demonstrations.replays import Replays
from demonstrations.scripted import Scripted
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.recordings.earlier import Relation
from simulation.recordings.trajectories import Episode, TrajectoryFile, TrajectoryWriter
from simulation.starts import FIRST_HELD_OUT_INIT
from simulation.tasks import Task, get_task

RECORDINGS = "recordings"
"""Entry of a file's configuration with the digests of the recordings that it was made from."""


@dataclass(frozen=True)
class DemonstrationItem:
    """A task's demonstrations, as one work item among many."""

    task: str
    """The task's key."""
    path: Path
    """The trajectory file."""
    config: DemonstrationConfig
    """Which demonstrations, and how many."""
    assets: AssetPack
    """Asset pack to make them with."""


def demonstrate_item(item: DemonstrationItem) -> list[str]:
    """Make a task's demonstrations, see `make_demonstrations`; return what came of each way.

    A way that was given up is not among them.
    """
    task = get_task(item.task)
    with make_demonstrations(task, item.path, item.config, item.assets) as file:
        counts = count_attempts(file)
    return [
        " ".join(filter(None, (source, way, f"{succeeded}/{tried}")))
        for (source, way), (tried, succeeded) in counts.items()
    ]


def make_demonstrations(
    task: Task, path: Path, config: DemonstrationConfig, assets: AssetPack
) -> TrajectoryFile:
    """Write the demonstrations that `config` asks for to one trajectory file and open it.

    Only successes are kept. A file with this very configuration and of these very recordings is
    opened as it is, also where the recordings are no longer there; a killed run goes on where it
    stopped.

    Raises:
        SettingError: a number of `config` is out of its range, or it asks for none at all.
        DemonstrationError: a source is missing or unreadable, or has no success.
        UnknownTaskError: the task has no source of new demonstrations.
        BusyError: another process is writing the file.
        OutputError: the folder cannot be written.
    """
    check_demonstrations(config)
    if not config.episodes_per_way and not config.human_demos:
        raise SettingError(
            "no new demonstrations and no recordings are asked for: give --human-demos as well, "
            "or --episodes-per-way of 1 or more"
        )
    content = asdict(config) | _recordings(task, path, config)
    with TrajectoryWriter(path, task, assets, content) as writer:
        if writer.finished:
            return TrajectoryFile(path)
        demonstrator = find_demonstrator(task, config, assets) if config.episodes_per_way else None
        replays = config.human_demos and not (demonstrator and demonstrator.source == AMPLIFIED)
        if replays:
            _replay_all(writer, config, assets)
        if demonstrator:
            _demonstrate_all(demonstrator, writer, config, assets)
        _put_audit(writer, _audit_so_far(writer) if replays else None)
        return writer.finish()


def _replay_all(writer: TrajectoryWriter, config: DemonstrationConfig, assets: AssetPack) -> None:
    """Replay people's demonstrations that no run has replayed for the file, and audit all."""
    files, replays = find_people(writer.task, config.human_demos), Replays(writer)
    audit = _audit_so_far(writer)
    for replay in replay_people(writer.task, files, assets, config.drop_noops, audit, replays.find):
        replays.keep(replay.file, replay.row, replay.episode)


def _audit_so_far(writer: TrajectoryWriter) -> Path:
    """Return where the audit is until its file is; what it says of is lost with it."""
    return writer.parts / f"people{SUFFIX}"


def _put_audit(writer: TrajectoryWriter, audit: Path | None) -> None:
    """Put an audit beside its file, if it has one; that of a file that makes way goes with it."""
    path = audit_path(writer.path)
    if writer.earlier is Relation.OTHER:
        writer.make_way(others=(path,))
    with output_errors(path):
        if audit is None:
            path.unlink(missing_ok=True)
        else:
            audit.replace(path)


def _amplifies(task: Task, config: DemonstrationConfig) -> bool:
    """Return whether new demonstrations of a task are amplified, for want of a skill or by wish."""
    if config.source != "auto" or not config.human_demos:
        return config.source == AMPLIFIED
    try:
        Scripted(task)
    except UnknownTaskError:
        return True
    return False


def _recordings(task: Task, path: Path, config: DemonstrationConfig) -> dict[str, Any]:
    """Return the digests of the recordings that a file is made from, as its configuration has them.

    Of a finished file whose recordings have gone, those that it names.
    """
    if not config.human_demos:
        return {}
    amplified = config.episodes_per_way and _amplifies(task, config)
    find = list_recordings if amplified else find_people
    try:
        files = find(task, config.human_demos)
    except DemonstrationError:
        if not path.exists():
            raise
        files = []
    if not files and path.exists():
        with TrajectoryFile(path) as file:
            return {name: v for name, v in file.config.items() if name == RECORDINGS}
    return {RECORDINGS: digests(files)}


def digests(files: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of files, by their names; several of one name in the files' order."""
    found: dict[str, str] = {}
    for file in files:
        found[file.name] = found.get(file.name, "") + file_sha256(file)
    return found


def count_attempts(file: TrajectoryFile) -> dict[tuple[str, str], tuple[int, int]]:
    """Return attempts and successes of each source (method) and way of a file."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for info in file.infos:
        tried, succeeded = counts.get((info.method, info.way), (0, 0))
        counts[info.method, info.way] = (tried + info.attempts, succeeded + 1)
    return counts


def possible(task: Task, config: DemonstrationConfig) -> DemonstrationConfig:
    """Return `config` with the best source of a task that is here, where it leaves the choice.

    LIBERO's own demonstrations where they have been fetched; amplified ones where there is a
    folder with a recording of the task; else by skills, or from recordings of other tasks.
    """
    if config.source != "auto" or config.human_demos == OFFICIAL:
        return config
    if not config.human_demos:
        here = has_people(task, OFFICIAL)
        return replace(config, human_demos=OFFICIAL, episodes_per_way=0) if here else config
    return replace(config, source="amplified") if has_people(task, config.human_demos) else config


def find_demonstrator(task: Task, config: DemonstrationConfig, assets: AssetPack) -> Demonstrator:
    """Return what makes new demonstrations of a task, as `config.source` asks.

    Raises:
        UnknownTaskError: the task has no skill and there is nothing to amplify.
        DemonstrationError: there are recordings, but none serves the task.
    """
    if _amplifies(task, config):
        return find_amplifier(task, config.human_demos, assets)
    return Scripted(task)


def _demonstrate_all(
    demonstrator: Demonstrator,
    writer: TrajectoryWriter,
    config: DemonstrationConfig,
    assets: AssetPack,
) -> None:
    """Fill in the demonstrations that are missing, on one thread per core.

    A way whose first one is given up is left out.

    Raises:
        DemonstrationError: all are.
    """
    task, ways, local, done = writer.task, demonstrator.ways, threading.local(), set(writer.done)

    def work(index: int) -> bool:
        if index in done:
            return True
        if not hasattr(local, "env"):
            local.env = Environment(task, assets)
        episode = _demonstrate_until_success(local.env, demonstrator, index, config)
        if episode is not None:
            writer.add(index, episode)
        return episode is not None

    total = config.episodes_per_way * len(ways)
    with (
        ThreadPoolExecutor(cores()) as pool,
        Bar("demonstrate", total) as bar,
    ):
        succeeds = list(pool.map(work, range(len(ways))))
        bar.update(len(ways))
        if not any(succeeds):
            raise DemonstrationError(
                f"the {demonstrator.source} demonstrator failed {config.maximum_attempts} times "
                f"at {task.name} in each of its ways ({', '.join(ways)}): check the asset pack "
                f"({assets.name})"
            )
        rest = [index for index in range(len(ways), total) if succeeds[index % len(ways)]]
        bar.total = len(ways) + len(rest)
        for _ in pool.map(work, rest):
            bar.update()


def _demonstrate_until_success(
    env: Environment, demonstrator: Demonstrator, index: int, config: DemonstrationConfig
) -> Episode | None:
    """Return the first success of demonstration `index`, a function of index and config alone.

    None if `config.maximum_attempts` fail.
    """
    way = demonstrator.ways[index % len(demonstrator.ways)]
    for attempt in range(config.maximum_attempts):
        rng = np.random.default_rng([config.seed, index, attempt])
        init_index = int(rng.integers(FIRST_HELD_OUT_INIT))
        fresh = rng.random() < config.fresh_share
        env.reset(int(rng.integers(1_000_000)), None if fresh else init_index)
        env.settle()
        env.restart()
        episode = demonstrator.demonstrate(env, way, rng, config.style)
        if episode.info.success:
            return episode.with_info(attempts=attempt + 1)
    return None


def replay_human(
    task: Task,
    folder: str | Path,
    assets: AssetPack,
    drop_noops: bool = True,
    audit: Path | None = None,
) -> Iterator[Episode]:
    """Replay a task's human demonstrations and yield those that succeed.

    Args:
        task: the task.
        folder: holds `<task>.json` (one demonstration: `init_state`, `actions`) or LIBERO's own
            `<task>_demo.hdf5`; `official` for what `dlr demos download` fetched.
        assets: asset pack to replay with.
        drop_noops: whether steps in which nothing was done are dropped, where that succeeds.
        audit: file that will say what became of each, if any.

    Raises:
        DemonstrationError: the folder has no file of the task, or no demonstration succeeds.
        TrajectoryError: no file can be read: each is damaged, of another task, or empty.
    """
    files = find_people(task, folder)
    for replay in replay_people(task, files, assets, drop_noops, audit):
        if replay.episode is not None:
            yield replay.episode


def check_made_with(file: TrajectoryFile, task: Task, assets: AssetPack) -> None:
    """Look at what a file's demonstrations are of.

    Raises:
        TrajectoryError: the file is of another task, or was made with other assets.
    """
    if (file.task, file.asset_digest) != (task, assets.digest):
        raise TrajectoryError(
            f"{file.path} holds {file.task.key} with the asset pack {file.asset_pack} "
            f"({file.asset_digest[:12]}), but {task.key} with {assets.name} "
            f"({assets.digest[:12]}) is wanted: give the same assets, or demonstrate again"
        )


def observe(file: TrajectoryFile, env: Environment) -> list[Demonstration]:
    """Return a file's episodes as the learning core sees them: with the policy's states.

    `env` is an environment of the file's task; its state is overwritten. The states' poses are of
    the very moment of their joints, those that a policy acts on in a rollout a simulator step
    older (docs/simulation.md, "The moment of poses").

    Raises:
        TrajectoryError: the file is of another task, or was made with other assets.
    """
    check_made_with(file, env.task, env.scene.assets)
    demonstrations = []
    for episode in file:
        env.reset(episode.info.seed, init_state=episode.states[0], fixtures=episode.fixtures)
        observations = []
        for state in episode.states:
            env.set_state(state)
            observations.append(env.policy_state())
        moments = Moments(episode.states, episode.info.seed, episode.fixtures)
        demonstrations.append(
            Demonstration(
                np.stack(observations),
                episode.proprio,
                episode.labels,
                episode.info.way,
                moments,
            )
        )
    return demonstrations
