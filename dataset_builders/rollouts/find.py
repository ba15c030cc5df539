"""What a dataset is built from: trajectories, or where there are none, trained policies."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DatasetError, TrajectoryError
from common.files import files_below
from common.workers import Backend
from dataset_builders.provenance import describe_files
from dataset_builders.sources import Choice, EpisodeRef, choose, is_of, scan
from generator.config import CollectConfig
from generator.recipes import RECIPES
from generator.run_folder import RunFolder
from generator.stages import RECORD
from generator.stages.ranges import check_collect
from generator.work.attempts import Collection, Trained, inspect, make_all
from simulation.assets.resolve import resolve_assets
from simulation.recordings.trajectories import simulator_versions

POLICIES = "policies"
"""Folder of a run that holds them, as SUITE/TASK/RECIPE/seed_N/STAGE."""
_SEED = "seed_"


@dataclass(frozen=True)
class Found:
    """What a folder holds of what is asked for."""

    folder: Path
    """The folder."""
    choice: Choice
    """What is asked for."""
    refs: tuple[EpisodeRef, ...]
    """Episodes in trajectory files."""
    policies: tuple[Trained, ...]
    """Policies of the methods of which there are no trajectories."""
    left_out: int = 0
    """Policies beside trajectories of their method, of which there is none of theirs."""

    def __str__(self) -> str:
        """Return in words what is built from."""
        told = [f"{len(self.refs)} episodes in trajectory files"] if self.refs else []
        if self.left_out:
            told.append(f"none of {self.left_out} policies without trajectories (`dlr collect`)")
        told += [
            f"{policy.collection.config.episodes} episodes rolled out with {policy.collection.file}"
            for policy in self.policies[:1]
        ]
        if len(self.policies) > 1:
            told.append(f"and with {len(self.policies) - 1} policies more")
        return f"building from {', '.join(told)}"

    def choose(self) -> list[EpisodeRef]:
        """Return the episodes that are published, where no policy is needed.

        Raises:
            DatasetError: as `sources.choose`.
        """
        return choose(self.refs, self.choice, self.folder)

    def same_sources(self, present: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether a dataset says that it is of these policies and trajectory files."""
        policies = [_describe(policy, self.folder) for policy in self.policies]
        wanted = [dict(source) for source in (*describe_files(self.refs), *policies)]
        there = [dict(source) for source in present]
        for source in (*wanted, *there):
            source.pop("attempts", None)
        return all(source in wanted for source in there) and (
            bool(self.choice.per_task) or len(there) == len(wanted)
        )

    def roll_out(
        self, work: Path, backend: Backend
    ) -> tuple[list[EpisodeRef], list[dict[str, Any]]]:
        """Return the episodes that are published, and what the dataset says of the policies.

        Args:
            work: folder in which outcomes are kept, and found again.
            backend: where attempts are rolled out.

        Raises:
            CollectionError: a policy succeeds too seldom.
            WorkerError: a process died; the same call goes on.
            DatasetError: as `sources.choose`.
        """
        refs, sources = list(self.refs), []
        for policy, kept, made in make_all(self.policies, work, backend):
            collection = policy.collection
            sources.append(_describe(policy, self.folder) | {"attempts": made})
            for index, one in enumerate(kept):
                place, info = str(collection.stage.resolve()), one.info(policy)
                refs.append(
                    EpisodeRef(
                        place, collection.name, index, collection.task, info, one.steps,
                        one.digest, (collection, one),
                    )
                )  # fmt: skip
        return choose(refs, self.choice, self.folder), sources


def find(folder: Path, choice: Choice, config: CollectConfig, assets: str | None) -> Found:
    """Return the episodes below a folder, and the policies of the methods that have none.

    Args:
        folder: holds trajectory files at any depth, or is a run's folder or its `policies`.
        choice: which episodes are wanted.
        config: how many are collected with each policy.
        assets: asset pack to roll out with.

    Raises:
        TrajectoryError: the folder is not there, or a file of it is damaged.
        DatasetError: it has neither.
        CollectionError: the settings do not fit a policy.
        SettingError: a setting of the collection is out of its range.
    """
    check_collect(config, "collect")
    if not folder.is_dir():
        raise TrajectoryError(
            f"no trajectories folder {folder}: give the folder that `dlr collect` wrote, or a run's"
        )
    refs: list[EpisodeRef] = []
    seen: collections.Counter[str] = collections.Counter()
    if any(path.suffix == ".hdf5" for path in files_below(folder)):
        refs, seen = scan(folder, not choice.failures)
    wanted, policies, left_out = list(dict.fromkeys(choice.method.split("+"))), [], 0
    for method in wanted:
        trained = _find_policies(folder, method, config, assets)
        if names := {ref.name for ref in refs if is_of(ref.info, method)}:
            left_out += sum(collection.name not in names for collection in trained)
            continue
        if not trained:
            raise _neither(folder, method, choice.failures, seen)
        policies += trained
    kept = tuple(ref for ref in refs if any(is_of(ref.info, method) for method in wanted))
    return Found(folder, choice, kept, tuple(inspect(policies)) if policies else (), left_out)


def _find_policies(
    folder: Path, method: str, config: CollectConfig, assets: str | None
) -> list[Collection]:
    """Return the finished policies of a recipe, sorted by task and seed."""
    root = folder if folder.name == POLICIES else folder / POLICIES
    if method not in RECIPES or not root.is_dir():
        return []
    run, last = RunFolder(root.parent), RECIPES[method].stages[-1].name
    records = root.glob(f"*/*/{method}/{_SEED}*/{last}/{RECORD}")
    places = sorted(path.relative_to(root).parts for path in records)
    if not places:
        return []
    pack = resolve_assets(assets)
    return [
        Collection(
            run, f"{suite}/{task}", method, int(seed.removeprefix(_SEED)), config, assets,
            pack.name, pack.digest,
        )
        for suite, task, _, seed, *_ in places
        if seed.removeprefix(_SEED).isdecimal()
    ]  # fmt: skip


def _neither(
    folder: Path, method: str, failures: bool, seen: collections.Counter[str]
) -> DatasetError:
    """Return what to do where a method has neither episodes nor policies."""
    found = ", ".join(f"{count} of {name!r}" for name, count in sorted(seen.items())) or "none"
    wanted = f"{'' if failures else 'successful '}episodes"
    wanted += f" of method {method!r}" if method else ""
    words = f"{folder} holds no {wanted} (episodes found: {found})"
    if method not in RECIPES:
        return DatasetError(f"{words}; collect some, or choose another configuration")
    return DatasetError(
        f"{words} and no finished policy of it ({POLICIES}/SUITE/TASK/{method}/{_SEED}N): run "
        "`dlr collect`, or `dlr train` and then build from the run's folder, or choose another "
        "configuration"
    )


def _describe(policy: Trained, folder: Path) -> dict[str, Any]:
    collection = policy.collection
    file = collection.file
    return {
        "file": file.removeprefix(f"{POLICIES}/") if folder.name == POLICIES else file,
        "sha256": policy.file_sha256,
        "task": collection.task,
        "asset_pack": collection.asset_pack,
        "asset_digest": collection.asset_digest,
        "versions": simulator_versions(),
        "config": policy.description,
    }
