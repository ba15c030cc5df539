"""A results folder: configuration, one append-only line an episode, and a trajectory of each.

config.json            what was run: protocol, policy, seed, assets, versions, plan
episodes.jsonl         one line an episode, safe on disk once written
episodes/<task>/<n>.hdf5  a trajectory file of one episode, as the generator's are
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import DlrError, TrajectoryError
from common.files import append_bytes
from common.json_files import (
    build,
    drop_torn_line,
    parse_sealed,
    read_sealed,
    sealed_line,
    whole_lines,
    write_sealed,
)
from common.locks import lock_folder
from eval_harness.protocols import Protocol
from eval_harness.seeds import count_starts, episodes_a_seed, rate_interval, summarise_seeds
from eval_harness.timing import Timing
from simulation.assets.resolve import AssetPack
from simulation.recordings.trajectories import Episode, TrajectoryFile, TrajectoryWriter
from simulation.tasks import get_task

FORMAT_VERSION = 1
MOST_EPISODES = 1_000_000
"""Episodes of a task that a plan may have."""
CONFIG, EPISODES, TRAJECTORIES = "config.json", "episodes.jsonl", "episodes"
TIMING = "timing.jsonl"
IDENTITY = ("format_version", "protocol_digest", "policy", "seed", "starts", "assets", "simulator")
"""Keys of a configuration that must agree between results that are put together."""
_LATEST = ("rule", "shard")
"""Keys that are those of the latest run into a folder."""


class ResultsError(DlrError, ValueError):
    """A results folder is missing, damaged, or of another evaluation."""


@dataclass(frozen=True)
class EpisodeResult:
    """Outcome of one episode."""

    task: str
    """Key of the task."""
    episode: int
    """Number of the rollout of that task, from 0."""
    init_index: int
    """Official init state that it started from, or -1 for another start."""
    seed: int
    """Seed of the policy's randomness."""
    success: bool
    """Whether the goal held within the horizon; False for an error, which is no failure."""
    steps: int
    """Control steps taken after settling."""
    seconds: float
    """Wall time from the reset to the end."""
    error: str | None = None
    """What kept the episode from being run, or None."""
    attempts: int = 1
    """How often it was begun."""
    start: str = ""
    """Digest of a start that is no official init state, by `plan.Start.digest`."""

    @property
    def key(self) -> tuple[str, int]:
        """Task and episode."""
        return self.task, self.episode

    @property
    def outcome(self) -> tuple[Any, ...]:
        """All that follows from checkpoint, protocol and seed: without time and attempts."""
        return (self.task, self.episode, self.init_index, self.seed, self.success, self.steps)


@dataclass(frozen=True)
class Results:
    """What a results folder holds."""

    config: dict[str, Any]
    """See `make_config`."""
    episodes: list[EpisodeResult]
    """The last line of each episode, in the order of the plan."""
    folder: Path
    """The folder."""

    @property
    def missing(self) -> list[tuple[str, int]]:
        """(task, episode) of the plan that have no line yet."""
        found = {result.key for result in self.episodes}
        return [key for key in planned(self.config["plan"]) if key not in found]

    def is_stored(self, result: EpisodeResult) -> bool:
        """Return whether what an episode went through was stored."""
        return trajectory_path(self.folder, result.task, result.episode).exists()

    def trajectory(self, result: EpisodeResult) -> Episode:
        """Return what an episode went through after settling.

        Raises:
            ResultsError: it was not stored, is damaged, or of an earlier format.
        """
        return load_trajectory(trajectory_path(self.folder, result.task, result.episode))


def make_config(
    protocol: Protocol,
    policy: Mapping[str, Any],
    seed: int,
    assets: Mapping[str, Any],
    versions: Mapping[str, str],
    tasks: Sequence[str],
    episodes: int,
    **details: Any,
) -> dict[str, Any]:
    """Return the content of `config.json`.

    Args:
        protocol: the protocol.
        policy: the policy's identity.
        seed: the evaluation's seed.
        assets: name and digest of the asset pack, and the definitions of published tasks.
        versions: versions of the packages in use; MuJoCo's, robosuite's and hf-libero's must
            agree between results that are put together.
        tasks: keys of the tasks.
        episodes: episodes of each task.
        details: anything else worth keeping, such as the preflight's report.
    """
    config = {
        "format_version": FORMAT_VERSION,
        "protocol": protocol.as_dict(),
        "protocol_digest": protocol.digest(),
        "policy": dict(policy),
        "seed": seed,
        "assets": dict(assets),
        "simulator": {name: versions.get(name) for name in ("mujoco", "robosuite", "hf-libero")},
        "versions": dict(versions),
        "plan": {"tasks": list(tasks), "episodes": episodes},
        **details,
    }
    return json.loads(json.dumps(config))


def planned(plan: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return (task, episode) of all episodes of a plan, in order."""
    return [(task, episode) for task in plan["tasks"] for episode in range(plan["episodes"])]


def check_same(config: Mapping[str, Any], other: Mapping[str, Any], where: object) -> None:
    """Raise ResultsError unless two configurations are of one evaluation."""
    for name in (*IDENTITY, "plan"):
        if config.get(name) != other.get(name):
            raise ResultsError(
                f"{where} holds results of another {name.replace('_', ' ')}: "
                f"{_short(other.get(name))} there, {_short(config.get(name))} here. "
                "Give another folder, or what that one was made with."
            )


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 120 else f"{text[:117]}..."


class ResultsWriter:
    """Adds episodes to a results folder, new or begun; safe to call from several threads.

    Args:
        folder: the results folder.
        config: of `make_config`; one that is there must be of the same evaluation.

    Raises:
        ResultsError: the folder holds results of another evaluation, or is damaged.
        BusyError: another process is writing the folder.
        OutputError: it cannot be written.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._config = config
        self._writer = lock_folder(self.folder)
        try:
            self.results = self._begin(config)
        except BaseException:
            self._writer.release()
            raise
        self._lock = threading.Lock()

    def _begin(self, config: Mapping[str, Any]) -> Results:
        """Return what the folder holds, after making it, or mending its last line."""
        path = self.folder / CONFIG
        if path.exists():
            known = _read_config(self.folder)
            check_same(config, known, self.folder)
            latest = {name: config.get(name) for name in _LATEST}
            if latest != {name: known.get(name) for name in _LATEST}:
                rest = {name: v for name, v in known.items() if name not in _LATEST}
                write_sealed(path, rest | {n: v for n, v in latest.items() if v is not None})
        elif (self.folder / EPISODES).exists():
            raise ResultsError(f"{self.folder} has episodes but no {CONFIG}: give another folder")
        else:
            write_sealed(path, config)
        for name in (EPISODES, TIMING):
            drop_torn_line(self.folder / name)
        return load_results(self.folder)

    @property
    def done(self) -> set[tuple[str, int]]:
        """(task, episode) of those that ended without an error."""
        return {result.key for result in self.results.episodes if result.error is None}

    def add(self, result: EpisodeResult, trajectory: Episode | None = None) -> None:
        """Write an episode; once this returns, neither SIGKILL nor a power cut loses it.

        Raises:
            OutputError: the disk is full or gone.
        """
        if trajectory is not None:
            self._store(result, trajectory)
        with self._lock:
            append_bytes(self.folder / EPISODES, sealed_line(asdict(result)))

    def _store(self, result: EpisodeResult, trajectory: Episode) -> None:
        """Write a trajectory, whole or not at all."""
        path, config = trajectory_path(self.folder, result.task, result.episode), self._config
        assets = AssetPack(config["assets"]["name"], Path(), config["assets"]["digest"])
        source = {name: config[name] for name in ("policy", "protocol_digest", "seed")}
        with TrajectoryWriter(path, get_task(result.task), assets, source, 1) as writer:
            writer.add(0, trajectory)
            writer.finish().close()

    def add_timing(self, timing: Timing) -> None:
        """Note where the time of a run into this folder went."""
        append_bytes(self.folder / TIMING, sealed_line(timing.as_dict()))

    def close(self) -> None:
        """Let others write the folder."""
        self._writer.release()


def load_results(folder: Path) -> Results:
    """Read a results folder; a torn last line is left out.

    Raises:
        ResultsError: the folder is missing or damaged, or two lines contradict each other.
    """
    folder = Path(folder)
    config = _read_config(folder)
    latest: dict[tuple[str, int], EpisodeResult] = {}
    path = folder / EPISODES
    for where, line in whole_lines(path):
        result = _parse(line, where)
        latest[result.key] = _later(latest.get(result.key), result, where)
    order = {key: i for i, key in enumerate(planned(config["plan"]))}
    if strangers := latest.keys() - order.keys():
        raise ResultsError(f"{path} has episodes that are not of its plan: {min(strangers)}")
    return Results(config, sorted(latest.values(), key=lambda r: order[r.key]), folder)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.exists():
        raise ResultsError(f"{folder} is no results folder: it has no {CONFIG}")
    what = f"of this project's results format {FORMAT_VERSION}"
    config = read_sealed(path, what, ResultsError, "copy it again, or run into another folder")
    plan = config.get("plan")
    whole = _is_plan(plan) and isinstance(config.get("policy"), dict)
    if config.get("format_version") != FORMAT_VERSION or not whole:
        raise ResultsError(f"{path} is not {what}: run into another folder")
    return config


def _is_plan(plan: Any) -> bool:
    if not isinstance(plan, dict):
        return False
    tasks, episodes = plan.get("tasks"), plan.get("episodes")
    named = isinstance(tasks, list) and all(isinstance(task, str) for task in tasks)
    return named and type(episodes) is int and 0 <= episodes <= MOST_EPISODES


def _parse(line: bytes, where: str) -> EpisodeResult:
    remedy = "delete that line, and the episode is run again"
    content = parse_sealed(line, where, "an episode", ResultsError, remedy)
    try:
        return build(EpisodeResult, {"start": "", **content})  # older lines have none
    except ValueError as error:
        raise ResultsError(f"{where} is no episode ({error}): {remedy}") from error


def _later(known: EpisodeResult | None, result: EpisodeResult, where: str) -> EpisodeResult:
    """Return which of two lines of one episode counts: an outcome before an error.

    Raises:
        ResultsError: both are outcomes, and not the same.
    """
    if known is None or known.error is not None:
        return result
    if result.error is None and result.outcome != known.outcome:
        raise ResultsError(
            f"{where} contradicts an earlier line of episode {result.episode} of {result.task}: "
            "two runs wrote here; delete both lines, and the episode is run again"
        )
    return known


def trajectory_path(folder: Path, task: str, episode: int) -> Path:
    """Return where an episode's trajectory is."""
    return folder / TRAJECTORIES / task.replace("/", "--") / f"{episode}.hdf5"


def load_trajectory(path: Path) -> Episode:
    """Read a trajectory.

    Raises:
        ResultsError: it is missing, damaged, or of this project's first format.
    """
    if not path.exists() and path.with_suffix(".npz").exists():
        raise ResultsError(
            f"{path.with_suffix('.npz')} is a trajectory of an earlier format, which is no longer "
            "read: run the evaluation again, in a new folder"
        )
    try:
        with TrajectoryFile(path) as file:
            return file[0]
    except (TrajectoryError, IndexError) as error:
        raise ResultsError(f"{path} is missing or no trajectory ({error})") from error


def summarise(results: Results) -> dict[str, Any]:
    """Return success per task, per suite and in all, as JSON can hold it.

    Each entry has `planned`, `done`, `successes`, `errors`, `missing`, and `rate`, `low`, `high`
    (Wilson's 95% interval), which are None unless every planned episode ended without an error.
    Where starts come again, they are `statistics.clustered_interval`; `starts` is then how many
    there are of one seed, and `seeds` tells of each of several.
    """
    each = episodes_a_seed(results.config)
    plan: list[tuple[str, int]] = planned(results.config["plan"])
    found = {result.key: result for result in results.episodes}

    def entry(keys: Sequence[tuple[str, int]]) -> dict[str, Any]:
        there = [found[key] for key in keys if key in found]
        ended = [result for result in there if result.error is None]
        successes = sum(result.success for result in ended)
        complete = len(ended) == len(keys)
        low, high = rate_interval(ended, each) if complete else (None, None)
        return {
            "planned": len(keys),
            "done": len(ended),
            "successes": successes,
            "errors": len(there) - len(ended),
            "missing": len(keys) - len(there),
            "rate": successes / len(ended) if complete else None,
            "low": low,
            "high": high,
            "mean_steps": sum(r.steps for r in ended) / len(ended) if ended else None,
        }

    tasks = list(results.config["plan"]["tasks"])
    suites = dict.fromkeys(task.split("/")[0] for task in tasks)
    errors = Counter(result.error for result in results.episodes if result.error is not None)
    return {
        "protocol": results.config["protocol"]["name"],
        "protocol_digest": results.config["protocol_digest"],
        "policy": results.config["policy"],
        "assets": results.config["assets"],
        "complete": all(key in found and found[key].error is None for key in plan),
        "all": entry(plan),
        "suites": {s: entry([k for k in plan if k[0].startswith(f"{s}/")]) for s in suites},
        "tasks": {task: entry([k for k in plan if k[0] == task]) for task in tasks},
        "errors": dict(errors),
        "starts": count_starts(results.config, results.episodes),
        "seeds": summarise_seeds(results.config, results.episodes),
    }
