"""Stage 2, learn: clone labelled demonstrations into pi(a|s,z) by maximum likelihood (Eq. 11).

What is kept is what trajectories that were never trained on find likeliest: training ends when
their likelihood falls, and the standard deviation is that of their errors. One that is trained
along shrinks with the errors on demonstrations that the network knows by heart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.early_stopping import EarlyStopping
from common.errors import DemonstrationError, SettingError
from common.reproducible import reproducible
from common.tensors import fitting
from common.workers.progress import Bar
from demonstrations.demonstration import Demonstration
from generator.checkpoints import TRAINING, add_cost, save_policy
from generator.config import LearnConfig
from generator.policies.chunk import ChunkPolicy, chunks
from generator.policies.gaussian import GaussianPolicy

Maker = Callable[[int, int], GaussianPolicy]
"""Makes a policy from the size of its observations and the number of patterns."""
_KIND = "learn_training"
_FINGERS = 2
"""Last numbers of proprioception: the fingers' positions."""
_SAME = 1e-6
"""Difference up to which two columns hold the same numbers."""


def learn(
    demonstrations: Sequence[Demonstration],
    labels: Sequence[np.ndarray] | None,
    config: LearnConfig,
    patterns: int,
    seed: int,
    out_dir: Path,
    make: Maker | None = None,
) -> tuple[GaussianPolicy, dict[str, Any]]:
    """Train a policy by behaviour cloning; continue from `out_dir`'s checkpoint if there is one.

    Batches and noise of a step derive from the seed and the step's number alone, so that a
    killed run ends with the same weights as an undisturbed one. The checkpoint of a finished
    training stays, so that what comes after it may be killed, too; the caller deletes it.

    Args:
        demonstrations: what to imitate.
        labels: the pattern of each state, an array (T_i,) per demonstration; None without.
        config: settings.
        patterns: K; 0 without labels.
        seed: of initialisation, split, minibatches and noise.
        out_dir: receives `policy.safetensors` at the end.
        make: maker of another policy than the settings', from its observations' size and K.

    Returns:
        the policy and a report with losses on training and validation trajectories; where too
        few are given to hold any out (`held_out` is 0), both are those of all. `steps` were taken
        until nothing became better, `best_step` is the one whose weights are kept. What it took is
        in `out_dir`'s `cost.json`, for it differs from run to run.

    Raises:
        DemonstrationError: there is nothing to learn from.
        SettingError: a chunk without an action, or a share that is none.
    """
    _check(demonstrations, config)
    with reproducible():
        training, validation = _split(demonstrations, labels, config, seed)
        torch.manual_seed(seed)
        policy = (make or _maker(config))(training.observations.shape[1], patterns)
        fingers = _fingers(demonstrations) if config.other_fingers else []
        trainer = _Trainer(policy, training, validation, config, seed, fingers)
        state = out_dir / TRAINING
        if state.exists():
            trainer.load(state)
        with Bar("learn", config.steps, trainer.state.step) as bar:
            while not trainer.finished:
                trainer.train_step()
                bar.update()
                if trainer.state.step % config.checkpoint_every == 0 or trainer.finished:
                    trainer.save(state)
        policy = trainer.result()
        report = {
            "trajectories": len(demonstrations),
            "held_out": _held_out(len(demonstrations), config),
            "states": sum(len(d.actions) for d in demonstrations),
            "steps": trainer.state.step,
            "best_step": trainer.state.best_step,
            "training": policy.losses(*_seen(policy, training)),
            "validation": policy.losses(*_seen(policy, validation)),
            "std": policy.std.tolist(),
        }
    save_policy(
        out_dir / "policy.safetensors", policy, {"config": asdict(config), "seed": seed, **report}
    )
    add_cost(out_dir, {"cpu_seconds": trainer.cpu_seconds})
    return policy, report


def _check(demonstrations: Sequence[Demonstration], config: LearnConfig) -> None:
    if not 0 <= config.other_fingers < 1:
        raise SettingError(f"a share lies in [0, 1), not {config.other_fingers}")
    if config.chunk < 1:
        raise SettingError(f"a chunk has at least one action, not {config.chunk}")
    if not demonstrations:
        raise DemonstrationError("there are no demonstrations to learn from")
    for i, d in enumerate(demonstrations):
        if not len(d.observations) == len(d.proprio) == len(d.actions) > 0:
            raise DemonstrationError(f"demonstration {i}: lengths differ or are zero")
        if not (np.isfinite(d.observations).all() and np.isfinite(d.actions).all()):
            raise DemonstrationError(f"demonstration {i} contains NaN or infinity")


@dataclass(frozen=True)
class _Data:
    observations: Tensor
    patterns: Tensor
    trace: Mapping[str, Tensor]
    """What a policy that acts as the demonstrator meant to would note of its decisions."""

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self, index: Tensor) -> _Data:
        trace = {name: part[index] for name, part in self.trace.items()}
        return _Data(self.observations[index], self.patterns[index], trace)


def _held_out(trajectories: int, config: LearnConfig) -> int:
    """Return how many trajectories are kept from training."""
    return int(trajectories * config.validation_share)


def _split(
    demonstrations: Sequence[Demonstration],
    labels: Sequence[np.ndarray] | None,
    config: LearnConfig,
    seed: int,
) -> tuple[_Data, _Data]:
    """Return training and validation data, split by trajectory; both all if none is held out."""
    if labels is None:
        labels = [np.zeros(len(d.actions), dtype=np.int64) for d in demonstrations]
    order = np.random.default_rng([seed, 0]).permutation(len(demonstrations))
    held_out = _held_out(len(order), config)
    parts = []
    for part in (order[held_out:], order[:held_out] if held_out else order):
        parts.append(
            _Data(
                _tensor([demonstrations[i].observations for i in part]),
                torch.from_numpy(np.concatenate([labels[i] for i in part]).astype(np.int64)),
                _trace([demonstrations[i].actions for i in part], config.chunk),
            )
        )
    return parts[0], parts[1]


def _fingers(demonstrations: Sequence[Demonstration]) -> list[int]:
    """Return the columns of the observations that are the fingers' positions; none in pictures."""
    if not np.issubdtype(demonstrations[0].observations.dtype, np.floating):
        return []
    seen = np.concatenate([d.observations for d in demonstrations])
    fingers = np.concatenate([d.proprio[:, -_FINGERS:] for d in demonstrations])
    found = [np.abs(seen - finger[:, None]).max(0) < _SAME for finger in fingers.T]
    return np.flatnonzero(np.any(found, axis=0)).tolist()


def _tensor(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32))


def _trace(actions: list[np.ndarray], chunk: int) -> dict[str, Tensor]:
    """Return what the policy would note, had it decided these actions."""
    if chunk == 1:
        return {"chosen": _tensor(actions)}
    traces = [chunks(a, chunk) for a in actions]
    length = np.concatenate([t["length"] for t in traces])
    return {"chosen": _tensor([t["chosen"] for t in traces]), "length": torch.from_numpy(length)}


def _maker(config: LearnConfig) -> Maker:
    def make(observation_dim: int, patterns: int) -> GaussianPolicy:
        if config.chunk == 1:
            return GaussianPolicy(observation_dim, patterns, config.hidden)
        return ChunkPolicy(observation_dim, patterns, config.hidden, config.chunk)

    return make


class _Trainer:
    """A training of the policy, with what it is trained and validated on."""

    def __init__(
        self,
        policy: GaussianPolicy,
        training: _Data,
        validation: _Data,
        config: LearnConfig,
        seed: int,
        fingers: Sequence[int],
    ) -> None:
        self.training, self.validation, self._fingers = training, validation, list(fingers)
        self.policy, self.config, self.seed, self._spent = policy, config, seed, 0.0
        self._started = time.process_time()
        actions = training.trace["chosen"].flatten(0, -2)
        policy.prepare(training.observations.numpy(), actions.numpy())
        policy.raw_log_std.requires_grad_(False)
        optimizer = torch.optim.AdamW(
            [p for p in policy.parameters() if p.requires_grad],
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.state = EarlyStopping(policy, optimizer, config.steps, config.ema_decay)

    @property
    def finished(self) -> bool:
        """Whether all steps were taken, or the last ones made nothing better."""
        config, step = self.config, self.state.step
        stale = self.state.stale(config.patience * config.validate_every)
        return step >= config.steps or (stale and step % config.validate_every == 0)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of training so far, earlier processes' included, s."""
        return self._spent + time.process_time() - self._started

    def train_step(self) -> None:
        """Take the next gradient step; compare with the best weights when it is time."""
        config, policy, rng = self.config, self.policy, self.state.generator(self.seed)
        rows = torch.randint(len(self.training), (config.batch_size,), generator=rng)
        batch = self.training[rows]
        features = policy.features(batch.observations, batch.patterns)
        noise = torch.randn((config.batch_size, policy.observation_dim), generator=rng)
        if self._fingers:
            self._exchange_fingers(features, rng)
        features[:, : policy.observation_dim] += config.observation_noise * noise
        self.state.descend(policy.cloning_loss(features, batch.trace, rng))
        step = self.state.step
        if step % config.validate_every == 0 or step == config.steps:
            self._validate()

    def _exchange_fingers(self, features: Tensor, rng: torch.Generator) -> None:
        """Give some moments of a minibatch the fingers of others."""
        count = len(features)
        others = features[torch.randperm(count, generator=rng)][:, self._fingers]
        chosen = torch.rand(count, generator=rng) < self.config.other_fingers
        own = features[:, self._fingers]
        features[:, self._fingers] = torch.where(chosen[:, None], others, own)

    def _validate(self) -> None:
        """Fit the standard deviation to the errors on validation; keep what is better."""
        average = self.state.average
        loss = average.settle(*_seen(average, self.validation))
        self.policy.set_std(average.std)
        self.state.compare(loss)

    def result(self) -> GaussianPolicy:
        """Return the best averaged weights as a policy that can be trained further."""
        best = self.state.best
        best.finish()
        return best.requires_grad_(True).eval()

    def save(self, path: Path) -> None:
        """Write all that `load` needs to continue."""
        self.state.save(path, _KIND, {"cpu_seconds": self.cpu_seconds})

    def load(self, path: Path) -> None:
        """Continue from `save`."""
        progress = self.state.load(path, _KIND)
        with fitting(path):
            self._spent = progress["cpu_seconds"]


def _seen(policy: GaussianPolicy, data: _Data) -> tuple[Tensor, Mapping[str, Tensor]]:
    return policy.features(data.observations, data.patterns), data.trace
