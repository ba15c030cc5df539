"""Which episodes a dataset publishes: found in trajectory files, chosen by a name, and split."""

from __future__ import annotations

import collections
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import DatasetError, SettingError, TrajectoryError
from common.files import files_below
from generator.work.attempts import Collection, Kept
from simulation.recordings.trajectories import EpisodeInfo, TrajectoryFile

DEMONSTRATIONS = "demonstrations"
"""Stands for the methods of all episodes that no policy made, such as `scripted` and `human`."""
TRAIN, VAL, FAILURES = "train", "val", "failures"
"""Names of splits; failures are in one of their own or in none."""
TRAJECTORIES = "trajectories"
"""Folder of a run that holds them."""
_SIZED = re.compile(r"(?P<method>.+)_(?P<size>[1-9][0-9]*)")


@dataclass(frozen=True)
class EpisodeRef:
    """Where an episode is, and what the builder must know before it reads it."""

    path: str
    """The trajectory file; of a `rollout`, the policy's folder."""
    name: str
    """The trajectory file relative to the folder that is built, with `/`; see `_name`."""
    index: int
    """The episode's index in the file."""
    task: str
    """Task key, `suite/name`."""
    info: EpisodeInfo
    """Where the episode comes from."""
    steps: int = 0
    """Its control steps."""
    digest: str = ""
    """sha256 of its content in the trajectory file."""
    rollout: tuple[Collection, Kept] | None = None
    """Which attempt with which policy it is, where it is not in a file but rolled out."""

    @property
    def key(self) -> str:
        """Unique name within the dataset."""
        return f"{self.name}#{self.index}"

    @property
    def start(self) -> str:
        """Name of what the episode started from; equal for episodes with the same start."""
        return start_name(self.task, self.info.init_index, self.info.seed)

    @property
    def order(self) -> bytes:
        """What episodes are sorted by, so that neighbours are not alike: a hash of the key."""
        return hashlib.sha256(self.key.encode()).digest()


@dataclass(frozen=True)
class Choice:
    """Which of the episodes in a folder are published."""

    method: str = ""
    """Methods, joined by `+`: `dlr`, `human+dlr`; `demonstrations` stands for those that no policy
    made, "" for all."""
    per_task: int = 0
    """Episodes of each task, spread evenly over methods, patterns and ways; 0 publishes all. A
    smaller number's episodes are among those of a larger one."""
    failures: bool = False
    """Publish failed episodes, too, in a split of their own."""

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            SettingError: it is negative.
        """
        if self.per_task < 0:
            raise SettingError(f"episodes per task must be at least 0 (all), not {self.per_task}")


def parse_choice(name: str) -> tuple[str, int]:
    """Return methods and episodes per task of a configuration's name: `human+dlr_10`."""
    sized = _SIZED.fullmatch(name)
    return (sized["method"], int(sized["size"])) if sized else (name, 0)


def start_name(task: str, init_index: int, seed: int) -> str:
    """Return a name for a start state: the official init state's, or for a fresh one the seed's."""
    return f"{task}/init{init_index}" if init_index >= 0 else f"{task}/seed{seed}"


def find_trajectory_files(folder: Path) -> list[Path]:
    """Return the trajectory files below a folder, sorted by path.

    Raises:
        TrajectoryError: the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise TrajectoryError(
            f"no trajectories folder {folder}: give the folder that `dlr collect` wrote"
        )
    found = (path for path in files_below(folder) if path.suffix == ".hdf5")
    files = sorted(found, key=lambda path: path.relative_to(folder).as_posix())
    if not files:
        raise TrajectoryError(f"{folder} holds no .hdf5 trajectory files; run `dlr collect` first")
    return files


def list_episodes(folder: Path, method: str, only_successes: bool = True) -> list[EpisodeRef]:
    """Return the episodes below a folder that are of some methods.

    Args:
        folder: holds trajectory files, at any depth.
        method: keep episodes of these methods; see `Choice.method`.
        only_successes: leave failed episodes out.

    Raises:
        TrajectoryError: a file cannot be read.
        DatasetError: nothing is left to publish of one of the methods.
    """
    refs, seen = scan(folder, only_successes)
    methods = method.split("+")
    for wanted in methods:
        if not any(is_of(ref.info, wanted) for ref in refs):
            raise _nothing(folder, wanted, only_successes, seen)
    return [ref for ref in refs if any(is_of(ref.info, wanted) for wanted in methods)]


def scan(folder: Path, only_successes: bool) -> tuple[list[EpisodeRef], collections.Counter[str]]:
    """Return the episodes below a folder, and how many there are of each method, failed or not.

    Raises:
        TrajectoryError: there is no trajectory file, or one cannot be read.
    """
    seen: collections.Counter[str] = collections.Counter()
    refs = []
    for path in find_trajectory_files(folder):
        name = _name(path, folder)
        with TrajectoryFile(path) as source:
            task, file = source.task.key, str(path.resolve())
            rows = zip(source.infos, source.lengths, source.digests, strict=True)
            for index, (info, steps, digest) in enumerate(rows):
                seen[info.method] += 1
                if info.success or not only_successes:
                    refs.append(EpisodeRef(file, name, index, task, info, steps, digest))
    return refs, seen


def _name(path: Path, folder: Path) -> str:
    """Return what a file is called: alike whether a run's folder is built or its trajectories."""
    return path.relative_to(folder).as_posix().removeprefix(f"{TRAJECTORIES}/")


def choose_episodes(folder: Path, choice: Choice) -> list[EpisodeRef]:
    """Return the episodes below a folder that are published, failures last.

    Raises:
        TrajectoryError, DatasetError: as for `list_episodes` and `choose`.
    """
    refs = list_episodes(folder, choice.method, only_successes=not choice.failures)
    return choose(refs, choice, folder)


def choose(refs: Sequence[EpisodeRef], choice: Choice, folder: Path) -> list[EpisodeRef]:
    """Return those of some episodes that are published, failures last.

    Raises:
        DatasetError: a task has too few episodes, or none is a success.
    """
    successes = [ref for ref in refs if ref.info.success]
    if not successes:
        raise DatasetError(f"{folder} holds failures alone: collect some successes, too")
    failures = [ref for ref in refs if not ref.info.success]
    return (_spread(successes, choice.per_task) if choice.per_task else successes) + failures


def split_episodes(refs: Sequence[EpisodeRef], val_fraction: float) -> dict[str, list[EpisodeRef]]:
    """Return the splits `train`, for a positive fraction `val`, and `failures` if there are some.

    Successes with the same task and start state (official init state, or seed of a fresh reset)
    stay together, so `train` and `val` share no start state. The choice depends on those alone.

    Raises:
        DatasetError: a split would be empty.
    """
    if not 0 <= val_fraction < 1:
        raise DatasetError(f"val_fraction must be in [0, 1), not {val_fraction}")
    failures = [ref for ref in refs if not ref.info.success]
    successes = [ref for ref in refs if ref.info.success]
    starts = sorted(
        {ref.start for ref in successes}, key=lambda s: hashlib.sha256(s.encode()).digest()
    )
    held_out = set(starts[: round(val_fraction * len(starts))])
    splits = {
        TRAIN: [ref for ref in successes if ref.start not in held_out],
        VAL: [ref for ref in successes if ref.start in held_out],
    }
    if not splits[TRAIN] or (val_fraction and not splits[VAL]):
        raise DatasetError(
            f"val_fraction {val_fraction} of {len(starts)} start states leaves a split empty: "
            "choose another fraction, or 0 for `train` alone"
        )
    return {name: members for name, members in {**splits, FAILURES: failures}.items() if members}


def is_of(info: EpisodeInfo, method: str) -> bool:
    """Return whether an episode is of a method, as `list_episodes` is told it."""
    return method in ("", info.method) or (method == DEMONSTRATIONS and not info.policy_hash)


def _nothing(
    folder: Path, method: str, only_successes: bool, seen: collections.Counter[str]
) -> DatasetError:
    found = ", ".join(f"{count} of {name!r}" for name, count in sorted(seen.items())) or "none"
    wanted = f"{'successful ' if only_successes else ''}episodes"
    wanted += f" of method {method!r}" if method else ""
    return DatasetError(
        f"{folder} holds no {wanted} (episodes found: {found}); collect some, or choose "
        "another configuration"
    )


def _spread(refs: Sequence[EpisodeRef], per_task: int) -> list[EpisodeRef]:
    """Return `per_task` episodes of each task: one of each kind in turn, until there are enough."""
    kinds: dict[str, dict[tuple[str, int, str], list[EpisodeRef]]] = {}
    for ref in sorted(refs, key=lambda ref: ref.order):
        kind = (ref.info.method, ref.info.pattern, ref.info.way)
        kinds.setdefault(ref.task, {}).setdefault(kind, []).append(ref)
    chosen: set[str] = set()
    for task, groups in kinds.items():
        available = sum(map(len, groups.values()))
        if available < per_task:
            raise DatasetError(
                f"{task} has {available} episodes, not the {per_task} that are asked for: collect "
                "more, or choose a smaller number"
            )
        turns = [
            (turn, kind, ref) for kind in groups for turn, ref in enumerate(groups[kind])
        ]  # the first of each kind, then the second of each, ...
        turns.sort(key=lambda item: item[:2])
        chosen.update(ref.key for _, _, ref in turns[:per_task])
    return [ref for ref in refs if ref.key in chosen]
