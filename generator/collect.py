"""Collect: roll the final policy out from held-out initial states and keep its successes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.errors import DlrError
from common.intervals import wilson_interval
from common.json_files import read_sealed, write_sealed
from common.reproducible import reproducible
from generator.checkpoints import policy_hash
from generator.config import CollectConfig, NoiseConfig
from generator.policies.policy import Exploration, Policy
from generator.rollout import Environments, held_out_specs, rollouts, to_episode
from simulation.assets.resolve import AssetPack
from simulation.recordings.trajectories import TrajectoryWriter
from simulation.starts import COLLECTION_SEED
from simulation.tasks import Task

_REMEDY = "delete it, and the attempts are made again"


class CollectionError(DlrError, RuntimeError):
    """The settings do not fit the policy, or it succeeds too seldom for the wanted episodes."""


@dataclass(frozen=True)
class CollectReport:
    """What a collection attempted and kept."""

    path: Path
    """The trajectory file."""
    attempts: list[int]
    """Episodes attempted, per group; none if the list of them, beside the file, is gone."""
    successes: list[int]
    """Those that succeeded, per group, all of which are kept."""

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
            or a group reached `maximum_attempts` per wanted episode.
        BusyError: another process is writing the file.
        OutputError: the file cannot be written.
    """
    if policy.patterns not in (0, config.groups) or config.episodes % config.groups:
        groups = policy.patterns or config.groups
        raise CollectionError(
            f"{config.episodes} episodes in {config.groups} groups do not fit a policy with "
            f"{policy.patterns} patterns: ask for {groups} groups and a multiple of {groups} "
            "episodes"
        )
    settings = {
        "collect": asdict(config),
        "noise": asdict(noise),
        "policy_hash": policy_hash(policy),
        "method": method,
        "provenance": dict(provenance or {}),
    }
    with TrajectoryWriter(path, task, assets, settings, config.episodes) as writer:
        ledger = _Ledger(path.with_name(path.name + ".attempts.json"), settings, config)
        if not writer.finished:
            ledger.forget_lost(writer.done)
            exploration = Exploration(noise.std, noise.memory)
            _collect_missing(
                policy, environments, task.horizon, method, config, exploration, writer, ledger
            )
            writer.finish().close()
    return CollectReport(path, ledger.attempts(), ledger.successes())


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
    with reproducible(), tqdm(total=config.episodes, desc="collect", disable=None) as bar:
        bar.update(sum(ledger.successes()))
        while wave := ledger.next_wave():
            specs = [_spec(attempt, policy, config) for attempt in wave]
            stream = rollouts(
                policy, environments, specs, horizon, exploration=exploration, capture=True
            )
            outcome = {}
            for position, done in stream:
                outcome[wave[position]] = done.success
                if done.success:
                    writer.add(wave[position], to_episode(done, method, digest))
                    bar.update()
            ledger.record(outcome)


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


class _Ledger:
    """Which attempts were made and which succeeded, on disk; attempt j * groups + g is g's j-th."""

    def __init__(self, path: Path, settings: Mapping[str, Any], config: CollectConfig) -> None:
        self.path, self.config = path, config
        self.settings = json.loads(json.dumps(settings, default=str))
        self.outcomes: dict[int, bool] = {}
        if path.exists():
            content = read_sealed(path, "a list of attempts", CollectionError, _REMEDY)
            if content["settings"] == self.settings:
                self.outcomes = {int(k): v for k, v in content["outcomes"].items()}

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

    def next_wave(self) -> list[int]:
        """Return the next attempts, none when every group is complete.

        Raises:
            CollectionError: a group is hopeless.
        """
        groups, wanted = self.config.groups, self.config.episodes // self.config.groups
        wave: list[int] = []
        for group in range(groups):
            made, succeeded = len(self._of(group)), sum(self._of(group))
            missing = min(wanted - succeeded, max(1, self.config.wave // groups))
            if missing > 0 and made + missing > wanted * self.config.maximum_attempts:
                raise CollectionError(
                    f"pattern {group} succeeded in {succeeded} of {made} attempts, and {wanted} "
                    "successes are wanted: train it longer, or ask for fewer episodes"
                )
            unused = (n for n in range(made + missing) if n * groups + group not in self.outcomes)
            wave += [n * groups + group for n, _ in zip(unused, range(missing), strict=False)]
        return sorted(wave)

    def record(self, outcome: Mapping[int, bool]) -> None:
        """Add a wave's outcomes and write the ledger."""
        self.outcomes |= outcome
        ordered = {str(k): self.outcomes[k] for k in sorted(self.outcomes)}
        write_sealed(self.path, {"settings": self.settings, "outcomes": ordered})
