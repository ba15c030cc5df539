"""Collect: roll the final policy out from held-out initial states and keep its successes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DlrError
from common.intervals import wilson_interval
from common.json_files import read_sealed, write_sealed
from common.reproducible import reproducible
from common.workers.progress import Bar
from generator.checkpoints import policy_hash
from generator.config import CollectConfig, NoiseConfig
from generator.policies.policy import Exploration, Policy
from generator.rollout import Environments, Rollout, held_out_specs, rollouts
from simulation.assets.resolve import AssetPack
from simulation.recordings.trajectories import (
    Episode,
    EpisodeInfo,
    TrajectoryFile,
    TrajectoryWriter,
)
from simulation.starts import COLLECTION_SEED, stored_index
from simulation.tasks import Task

REPETITIONS = 3
"""Episodes from one start of a policy without patterns, unless another number is asked for."""
_LIST = "a list of attempts"
_REMEDY = "delete it, and the attempts are made again"


class CollectionError(DlrError, RuntimeError):
    """The settings do not fit the policy, or it succeeds too seldom for the wanted episodes."""


@dataclass(frozen=True)
class CollectReport:
    """What a collection attempted and kept."""

    path: Path
    """The trajectory file; it is not there if nothing succeeded and that was allowed."""
    attempts: list[int]
    """Episodes attempted, per group; none if the list of them, beside the file, is gone."""
    successes: list[int]
    """Those that succeeded, per group, all of which are kept."""
    unreleased: list[int] = field(default_factory=list)
    """Those, per group, that reached the goal and were not kept, as the fingers did not let go or
    the goal did not outlast it; none where that was not asked for."""
    cpu_seconds: float = 0.0
    """What all attempts took."""

    def rates(self) -> list[dict[str, float]]:
        """Return success and its 95% Wilson interval per group; NaN where no attempt is known."""
        rows = []
        for n, k in zip(self.attempts, self.successes, strict=True):
            low, high = wilson_interval(k, n)
            success = k / n if n else math.nan
            rows.append({"success": success, "low": low, "high": high, "attempts": n})
        return rows


def collect(
    policy: Policy,
    environments: Environments,
    task: Task,
    assets: AssetPack,
    method: str,
    config: CollectConfig,
    noise: NoiseConfig,
    path: Path,
    provenance: Mapping[str, Any] | None = None,
) -> CollectReport:
    """Write `config.episodes` successful episodes, the same number for each group.

    A group is a pattern, or an independent stream of action noise where the policy has none, so
    that each recipe starts from the same initial states. Attempts run in waves that never ask
    for more than is missing; what a killed run had finished is not run again, and the file it
    ends with is the same.

    Args:
        policy: the final policy.
        environments: slots of the task.
        task: the task.
        assets: asset pack of the environments.
        method: the recipe's name.
        config: settings.
        noise: of the motion, as the policy was trained and evaluated with.
        path: the HDF5 file to write.
        provenance: written into the file beside config and policy hash.

    Raises:
        CollectionError: groups differ from the policy's patterns or do not divide the episodes,
            or a group reached `maximum_attempts` per wanted episode and all are required.
        BusyError: another process is writing the file.
        OutputError: the file cannot be written.
    """
    config = _grouped(config, policy.patterns)
    settings = {
        "collect": asdict(config),
        "noise": asdict(noise),
        "policy_hash": policy_hash(policy),
        "method": method,
        "provenance": dict(provenance or {}),
    }
    expected = config.episodes if config.require_all else 1
    with TrajectoryWriter(path, task, assets, settings, expected) as writer:
        ledger = _Ledger(_attempts(path), settings, config)
        if not writer.finished:
            ledger.forget_lost(writer.done)
            exploration = Exploration(noise.std, noise.memory)
            _collect_missing(
                policy, environments, task.horizon, method, config, exploration, writer, ledger
            )
            if writer.done or config.require_all:
                writer.finish().close()
    return ledger.report(path)


def _collect_missing(
    policy: Policy,
    environments: Environments,
    horizon: int,
    method: str,
    config: CollectConfig,
    exploration: Exploration,
    writer: TrajectoryWriter,
    ledger: _Ledger,
) -> None:
    """Run waves of attempts until every group is complete."""
    digest = policy_hash(policy)
    with reproducible(), Bar("collect", config.episodes, sum(ledger.successes())) as bar:
        while wave := ledger.next_wave():
            began = time.process_time()
            specs = [_spec(attempt, policy, config) for attempt in wave]
            stream = rollouts(
                policy, environments, specs, horizon, exploration=exploration, capture=True,
                through_release=config.through_release,
            )  # fmt: skip
            outcome, unreleased = {}, set()
            for position, done in stream:
                outcome[wave[position]] = done.success
                if done.reached and not done.success:
                    unreleased.add(wave[position])
                if done.success:
                    writer.add(wave[position], to_episode(done, method, digest))
                    bar.update()
            ledger.record(outcome, unreleased, time.process_time() - began)


def _spec(attempt: int, policy: Policy, config: CollectConfig) -> Any:
    number, group = divmod(attempt, config.groups)
    specs = held_out_specs(
        range(number, number + 1),
        COLLECTION_SEED,
        policy.patterns,
        config.fresh_share,
        config.groups,
    )
    return specs[group]


def read_report(path: Path) -> CollectReport:
    """Return what was attempted and kept for a trajectory file, or where nothing succeeded.

    Raises:
        TrajectoryError: the list of attempts beside it is gone, and the file is missing or damaged.
        CollectionError: the list is damaged.
    """
    attempts = _attempts(path)
    if attempts.exists():
        settings = read_sealed(attempts, _LIST, CollectionError, _REMEDY)["settings"]
    else:
        with TrajectoryFile(path) as file:
            settings = file.config
    return _Ledger(attempts, settings, CollectConfig(**settings["collect"])).report(path)


def _grouped(config: CollectConfig, patterns: int) -> CollectConfig:
    """Return the settings with a number of groups.

    Raises:
        CollectionError: see `collect`.
    """
    wanted = patterns or config.groups or REPETITIONS
    groups = config.groups or wanted
    if groups != wanted or config.episodes % groups:
        raise CollectionError(
            f"{config.episodes} episodes in {groups} groups do not fit a policy with "
            f"{patterns} patterns: ask for {wanted} groups and a multiple of {wanted} episodes"
        )
    return replace(config, groups=groups)


def _attempts(path: Path) -> Path:
    """Return the file beside a trajectory file that lists its attempts."""
    return path.with_name(path.name + ".attempts.json")


def to_episode(done: Rollout, method: str, policy_hash: str) -> Episode:
    """Return a captured rollout as a trajectory to store, its actions clipped as executed.

    Raises:
        ValueError: the rollout was run without `capture`.
    """
    capture, spec = done.capture, done.spec
    if capture is None:
        raise ValueError("only a rollout with capture=True can be stored")
    return Episode(
        states=capture.states,
        actions=np.clip(done.actions, -1, 1).astype(np.float64),
        proprio=done.proprio,
        joints=capture.joints,
        final_state=capture.final_state,
        final_proprio=capture.final_proprio,
        fixtures=capture.fixtures,
        info=EpisodeInfo(
            seed=spec.seed,
            init_index=stored_index(spec.init_index),
            pattern=spec.pattern,
            method=method,
            policy_hash=policy_hash,
            success=done.success,
        ),
    )


class _Ledger:
    """Which attempts were made and which succeeded, on disk; attempt j * groups + g is g's j-th."""

    def __init__(self, path: Path, settings: Mapping[str, Any], config: CollectConfig) -> None:
        self.path, self.config = path, config
        self.settings = json.loads(json.dumps(settings, default=str))
        self.outcomes: dict[int, bool] = {}
        self.unreleased: set[int] = set()
        self.cpu_seconds = 0.0
        if path.exists():
            content = read_sealed(path, _LIST, CollectionError, _REMEDY)
            if content["settings"] == self.settings:
                self.outcomes = {int(k): v for k, v in content["outcomes"].items()}
                self.unreleased = set(content["unreleased"])
                self.cpu_seconds = content["cpu_seconds"]

    def forget_lost(self, kept: set[int]) -> None:
        """Forget successes whose episode is not on disk, so that they are run again."""
        self.outcomes = {k: ok for k, ok in self.outcomes.items() if not ok or k in kept}

    def _of(self, group: int) -> list[bool]:
        groups = self.config.groups
        return [ok for attempt, ok in self.outcomes.items() if attempt % groups == group]

    def attempts(self) -> list[int]:
        """Return the attempts of each group."""
        return [len(self._of(group)) for group in range(self.config.groups)]

    def successes(self) -> list[int]:
        """Return the successes of each group."""
        return [sum(self._of(group)) for group in range(self.config.groups)]

    def report(self, path: Path) -> CollectReport:
        """Return what was attempted and kept for a trajectory file."""
        groups = self.config.groups
        numbers = [n % groups for n in self.unreleased]
        unreleased = [numbers.count(group) for group in range(groups)]
        kept = self.attempts(), self.successes(), unreleased
        return CollectReport(path, *kept, self.cpu_seconds)

    def next_wave(self) -> list[int]:
        """Return the next attempts, none when every group is complete.

        Raises:
            CollectionError: a group is hopeless.
        """
        groups, wanted = self.config.groups, self.config.episodes // self.config.groups
        most = wanted * self.config.maximum_attempts
        wave: list[int] = []
        for group in range(groups):
            made, succeeded = len(self._of(group)), sum(self._of(group))
            missing = min(wanted - succeeded, max(1, self.config.wave // groups))
            if not self.config.require_all:
                missing = min(missing, most - made)
            if missing > 0 and made + missing > most:
                raise CollectionError(
                    f"pattern {group} succeeded in {succeeded} of {made} attempts, and {wanted} "
                    "successes are wanted: train it longer, or ask for fewer episodes"
                )
            unused = (n for n in range(made + missing) if n * groups + group not in self.outcomes)
            wave += [n * groups + group for n, _ in zip(unused, range(missing), strict=False)]
        return sorted(wave)

    def record(self, outcome: Mapping[int, bool], unreleased: set[int], seconds: float) -> None:
        """Add a wave's outcomes and CPU seconds, and write the ledger."""
        self.cpu_seconds += seconds
        self.outcomes |= outcome
        self.unreleased |= unreleased
        ordered = {str(k): self.outcomes[k] for k in sorted(self.outcomes)}
        content = {
            "settings": self.settings,
            "outcomes": ordered,
            "unreleased": sorted(self.unreleased),
            "cpu_seconds": self.cpu_seconds,
        }
        write_sealed(self.path, content)
