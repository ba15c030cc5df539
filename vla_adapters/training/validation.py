"""Validation in the simulator: success after epochs, the best of them, and when to stop."""

from __future__ import annotations

import collections
import functools
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import AssetError, SettingError, one_line
from common.intervals import wilson_interval
from common.json_files import build, read_sealed, write_sealed
from eval_harness.protocols import Protocol, get_protocol
from simulation.assets.resolve import (
    AssetPack,
    embedded_pack,
    find_embedded_pack,
    resolve_assets,
)
from vla_adapters.records import Numbers, Records
from vla_adapters.training.checkpoints import TrainingError
from vla_adapters.training.config import ModelName, TrainConfig, ValidationConfig

RESULTS = "validation.json"
"""File of a training's folder with all evaluations, and the best epoch."""
PROTOCOLS: dict[ModelName, str] = {"pi0": "openpi", "openvla": "openvla"}
"""The protocol that each model is trained for and evaluated under by default."""
_KINDS = {"pi0": "lerobot", "openvla": "openvla"}
_READ_STATE = ("pi0",)
"""Models that look at the robot's state beside pictures and words."""


@dataclass(frozen=True)
class Evaluation:
    """Success of one epoch's policy."""

    epoch: int
    """Epochs trained."""
    successes: int
    """Episodes that succeeded."""
    episodes: int
    """Episodes that ended without an error."""
    low: float
    """Lower bound of Wilson's 95% interval."""
    high: float
    """Upper bound."""

    @property
    def rate(self) -> float:
        """Share of the episodes that succeeded."""
        return self.successes / max(1, self.episodes)


def protocol_of(config: TrainConfig) -> Protocol:
    """Return the protocol that a training follows.

    Raises:
        SettingError: there is none of this name, or its state is not the datasets', which a model
            that reads the state would be trained on.
    """
    usual = get_protocol(PROTOCOLS[config.model])
    chosen = get_protocol(config.protocol) if config.protocol else usual
    if config.model in _READ_STATE and chosen.state_layout != usual.state_layout:
        raise SettingError(
            f"{config.model} reads the robot's state, which the protocol {chosen.name} gives as "
            f"{', '.join(chosen.state_layout)} and the data as {', '.join(usual.state_layout)}: "
            "choose another protocol"
        )
    return chosen


def choose_assets(
    config: ValidationConfig, records: Records, episodes: Iterable[int] | Numbers
) -> AssetPack:
    """Return the asset pack to validate on: the one asked for, else the data's own.

    Args:
        config: may name a folder.
        records: the training's data.
        episodes: numbers of those that are used; the pack is that of most of them.

    Raises:
        AssetError: the pack is not on this machine, or not complete.
    """
    if config.validation_assets is not None:
        return resolve_assets(config.validation_assets)
    digests = records.metadata.get("asset_digest", ("",) * len(records))
    ((digest, _),) = collections.Counter(str(digests[e]) for e in episodes).most_common(1)
    if not digest:
        pack = resolve_assets()
        warnings.warn(
            f"{records.name} does not say which asset pack it was made with: validation uses "
            f"{pack.name} in {pack.path}; --validation-assets chooses another",
            stacklevel=2,
        )
        return pack
    found = _first_with(digest)
    if found is None:
        raise AssetError(
            f"{records.name} was made with the asset pack {digest[:12]}, which is not on this "
            "machine: give its folder, or that of another pack to validate on, as "
            "--validation-assets"
        )
    return found


def _first_with(digest: str) -> AssetPack | None:
    """Return the first pack on this machine with a digest."""
    finders = (resolve_assets, embedded_pack, functools.partial(find_embedded_pack, digest))
    packs: Iterable[AssetPack | None] = (find() for find in finders)
    return next((pack for pack in packs if pack is not None and pack.digest == digest), None)


def evaluate_policy(
    folder: Path, config: TrainConfig, epoch: int, assets: AssetPack, out: Path
) -> Evaluation:
    """Run an epoch's policy under the training's protocol, in this process.

    Args:
        folder: the policy's checkpoint.
        config: the training's model and protocol, the validation's tasks and episodes.
        epoch: epochs trained.
        assets: asset pack of the simulator.
        out: folder of the results, new or begun by this very evaluation.

    Raises:
        SettingError: no task is named, or there is no such protocol.
        PolicyError: the checkpoint cannot be run.
        TrainingError: episodes ended with errors; those alone are run again.
    """
    from eval_harness.evaluation import evaluate, is_complete
    from eval_harness.plan import choose_tasks
    from eval_harness.policies import load_policy
    from eval_harness.results import summarise

    protocol, wanted = protocol_of(config), config.validation
    tasks = choose_tasks(wanted.validation_tasks, wanted.validation_suites)
    episodes, seed = wanted.validation_episodes, wanted.validation_seed
    policy = load_policy(f"{_KINDS[config.model]}:{folder}", protocol, seed, assets=assets)
    try:
        results = evaluate(policy, protocol, tasks, out, episodes, seed=seed, assets=assets)
    finally:
        policy.close()
    if not is_complete(results):
        errors = [episode.error for episode in results.episodes if episode.error is not None]
        raise TrainingError(
            f"{len(errors)} episodes of the validation in {out} ended with errors, such as "
            f"{(errors or ['none was told'])[-1]!r}: once that is mended, the same command goes on"
        )
    found = summarise(results)["all"]
    successes, ended = found["successes"], found["done"]
    return Evaluation(epoch, successes, ended, *wilson_interval(successes, ended))


def read_evaluations(out: Path) -> list[Evaluation]:
    """Return the evaluations that a training's folder knows of, by epoch.

    Raises:
        TrainingError: the file that holds them is damaged.
    """
    path = out / RESULTS
    if not path.exists():
        return []
    remedy = "delete it, and the epochs are evaluated again"
    content = read_sealed(path, "a list of evaluations", TrainingError, remedy)
    try:
        return [build(Evaluation, entry) for entry in content["evaluations"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged ({one_line(error)}): {remedy}") from error


def write_evaluations(out: Path, evaluations: list[Evaluation]) -> None:
    """Keep all evaluations and mark the best."""
    best = find_best(evaluations)
    content: dict[str, Any] = {
        "best": None if best is None else f"epoch_{best.epoch:03d}",
        "evaluations": [vars(evaluation) for evaluation in evaluations],
    }
    write_sealed(out / RESULTS, content)


def find_best(evaluations: list[Evaluation]) -> Evaluation | None:
    """Return the evaluation with the greatest success, of equals the first."""
    return max(evaluations, key=lambda e: (e.rate, -e.epoch), default=None)


def should_stop(evaluations: list[Evaluation], patience: int) -> bool:
    """Return whether the last `patience` evaluations brought nothing better."""
    best = find_best(evaluations)
    return best is not None and len(evaluations) - evaluations.index(best) > patience
