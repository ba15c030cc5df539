"""Collect: roll the final policy out from held-out initial states and keep its successes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.intervals import rate_until
from common.json_files import read_sealed, write_sealed
from common.reproducible import reproducible
from common.workers.progress import Bar
from generator.checkpoints import policy_hash
from generator.config import CollectConfig, NoiseConfig
from generator.policies.policy import Exploration, Policy
from generator.rollout import Environments, EpisodeSpec, Rollout, held_out_specs, rollouts
from generator.work.outcomes import (
    Attempts,
    CollectionError,
    compare_collections,
    describe_collection,
    grouped,
    same_attempts,
)
from simulation.assets.resolve import AssetPack
from simulation.recordings.earlier import Relation
from simulation.recordings.trajectories import (
    Episode,
    EpisodeInfo,
    TrajectoryFile,
    TrajectoryWriter,
    simulator_versions,
)
from simulation.starts import COLLECTION_SEED, stored_index
from simulation.tasks import Task

__all__ = ["CollectReport", "CollectionError", "collect", "read_report", "to_episode"]

_ATTEMPTS = ".attempts.json"
"""Ends the name of the list of attempts beside a trajectory file."""
_LIST = "a list of attempts"
_REMEDY = "delete it, and the attempts are made again"


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
    wanted: int = 0
    """Successes of a group after which it was not attempted again."""

    def rates(self) -> list[dict[str, float]]:
        """Return success and its exact 95% interval per group, for attempts that end with success.

        Success is NaN where no attempt is known, or one episode of the group was wanted and made.
        """
        rows = []
        for n, k in zip(self.attempts, self.successes, strict=True):
            success, low, high = rate_until(k, n, self.wanted)
            rows.append({"success": success, "low": low, "high": high, "attempts": n})
        return rows

    def describe(self) -> list[str]:
        """Return a line per group: how many attempts its successes took, and the rate."""
        lines = []
        for group, (kept, row) in enumerate(zip(self.successes, self.rates(), strict=True)):
            interval = f"{row['low']:.0%} to {row['high']:.0%}"
            known = not math.isnan(row["success"])
            rate = f"{row['success']:.0%} ({interval})" if known else interval
            took = f"{kept} successes took {row['attempts']} attempts, a rate of {rate}"
            lines.append(f"group {group}: {took if row['attempts'] else 'attempts are not known'}")
        return lines


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
    ends with is the same. A file of the same settings but fewer episodes is gone on from, to what
    asking for all at once gives; one of other settings is set aside.

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
    config = grouped(config, policy.patterns)
    settings = describe_collection(policy_hash(policy), method, config, noise, provenance or {})
    expected = config.episodes if config.require_all else 1
    with TrajectoryWriter(path, task, assets, settings, expected, compare_collections) as writer:
        simulated = {"assets": assets.digest, "versions": simulator_versions()}
        finished = writer.finished
        if not finished:
            _go_on_or_make_way(writer, policy.patterns, simulated)
        ledger = _Ledger(_attempts(path), settings, config, simulated)
        if not finished:
            ledger.forget_lost(writer.done)
            exploration = Exploration(noise.std, noise.memory)
            _collect_missing(
                policy, environments, task.horizon, method, config, exploration, writer, ledger
            )
            if writer.done or config.require_all:
                writer.finish().close()
    return ledger.report(path)


def _go_on_or_make_way(
    writer: TrajectoryWriter, patterns: int, simulated: Mapping[str, Any]
) -> None:
    """Take the episodes of an earlier file, if they are among those wanted; else set it aside."""
    earlier = writer.earlier
    if earlier is Relation.SOME:
        with TrajectoryFile(writer.path) as file:
            kept = _kept(file, patterns, simulated)
            for place, attempt in enumerate(kept):
                if attempt not in writer.done:
                    writer.add(attempt, file[place])
            if kept:
                return
    if earlier is not None:
        writer.make_way((_ATTEMPTS,))


def _kept(file: TrajectoryFile, patterns: int, simulated: Mapping[str, Any]) -> list[int]:
    """Return which attempts a file's episodes are; none where the list of attempts is not its."""
    config = CollectConfig(**file.config["collect"])
    ledger = _Ledger(_attempts(file.path), file.config, config, simulated)
    kept = sorted(attempt for attempt, ok in ledger.outcomes.items() if ok)
    specs = [attempt_spec(attempt, patterns, config) for attempt in kept]
    places = [(spec.seed, stored_index(spec.init_index), spec.pattern) for spec in specs]
    found = [(info.seed, info.init_index, info.pattern) for info in file.infos]
    return kept if places == found else []


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
        while wave := ledger.next_wave(config.wave):
            began = time.process_time()
            specs = [attempt_spec(attempt, policy.patterns, config) for attempt in wave]
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


def attempt_spec(attempt: int, patterns: int, config: CollectConfig) -> EpisodeSpec:
    """Return the episode that is an attempt; attempt j * groups + g is group g's j-th."""
    number, group = divmod(attempt, config.groups)
    specs = held_out_specs(
        range(number, number + 1), COLLECTION_SEED, patterns, config.fresh_share, config.groups
    )
    return specs[group]


def read_report(path: Path) -> CollectReport:
    """Return what was attempted and kept for a trajectory file, or where nothing succeeded.

    Raises:
        TrajectoryError: the file is damaged, or it and the list of attempts beside it are missing.
        CollectionError: the list is damaged.
    """
    attempts = _attempts(path)
    if attempts.exists() and not path.exists():
        settings = read_sealed(attempts, _LIST, CollectionError, _REMEDY)["settings"]
    else:
        with TrajectoryFile(path) as file:
            settings = file.config
    return _Ledger(attempts, settings, CollectConfig(**settings["collect"])).report(path)


def _attempts(path: Path) -> Path:
    """Return the file beside a trajectory file that lists its attempts."""
    return path.with_name(path.name + _ATTEMPTS)


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


class _Ledger(Attempts):
    """Attempts, on disk."""

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        config: CollectConfig,
        simulated: Mapping[str, Any] | None = None,
    ) -> None:
        """Read those that are there and wanted, of the same policy, starts and, if given, world."""
        super().__init__(config)
        self.path, self.simulated = path, simulated
        self.settings = json.loads(json.dumps(settings, default=str))
        self.cpu_seconds = 0.0
        if path.exists():
            content = read_sealed(path, _LIST, CollectionError, _REMEDY)
            others = simulated not in (None, content.get("simulated", simulated))
            if not others and same_attempts(content["settings"], self.settings):
                outcomes = {int(k): v for k, v in content["outcomes"].items()}
                same = content["settings"] == self.settings
                self.outcomes = outcomes if same else self.wanted(outcomes)
                self.unreleased = set(content["unreleased"]) & self.outcomes.keys()
                self.cpu_seconds = content["cpu_seconds"]

    def forget_lost(self, kept: set[int]) -> None:
        """Forget successes whose episode is not on disk, so that they are run again."""
        self.outcomes = {k: ok for k, ok in self.outcomes.items() if not ok or k in kept}

    def report(self, path: Path) -> CollectReport:
        """Return what was attempted and kept for a trajectory file."""
        groups = self.config.groups
        numbers = [n % groups for n in self.unreleased]
        unreleased = [numbers.count(group) for group in range(groups)]
        kept = self.attempts(), self.successes(), unreleased
        wanted = self.config.episodes // groups
        return CollectReport(path, *kept, self.cpu_seconds, wanted)

    def record(self, outcome: Mapping[int, bool], unreleased: set[int], seconds: float) -> None:
        """Add a wave's outcomes and CPU seconds, and write the ledger."""
        self.cpu_seconds += seconds
        self.outcomes |= outcome
        self.unreleased |= unreleased
        ordered = {str(k): self.outcomes[k] for k in sorted(self.outcomes)}
        content = {
            "settings": self.settings,
            "simulated": self.simulated,
            "outcomes": ordered,
            "unreleased": sorted(self.unreleased),
            "cpu_seconds": self.cpu_seconds,
        }
        write_sealed(self.path, content)
