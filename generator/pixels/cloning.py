"""Training an encoder end to end: cloning from pictures, with a head that is thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.early_stopping import EarlyStopping
from common.workers.progress import Bar
from generator.config import ObserveConfig
from generator.pixels.encoder import Encoder
from generator.pixels.rows import PROPRIO
from generator.policies.gaussian import GaussianPolicy

_STD = 0.1
"""Standard deviation that motion is scored with, in units of the action."""
_HIDDEN = (256, 256)
_DECAY = 0.98
"""Of the moving average of the weights, which is what is kept."""
_LOOK_EVERY, _PATIENCE = 50, 5
"""Steps between looks at validation, and looks without a better one after which training ends."""
_MOST_VALIDATED = 512
"""Moments that a look takes."""
_KIND = "encoder_training"


@dataclass(frozen=True)
class Moments:
    """What is cloned: n moments of demonstrations."""

    pictures: np.ndarray
    """(n, cameras, H, W, 3), uint8."""
    proprio: np.ndarray
    """(n, 8)."""
    patterns: np.ndarray
    """(n,), integers."""
    actions: np.ndarray
    """(n, 7)."""
    held_out: np.ndarray
    """Which are kept from training, (n,) bool; where none is, all validate."""


def train_encoder(
    encoder: Encoder, moments: Moments, patterns: int, observe: ObserveConfig, seed: int, path: Path
) -> dict[str, Any]:
    """Train an encoder; go on from `path` if it is there.

    Batches and shifts of a step derive from the seed and the step's number alone. The weights
    that are kept are those that held-out moments find likeliest.

    Args:
        encoder: is trained in place.
        moments: of demonstrations.
        patterns: K; 0 without.
        observe: settings.
        seed: of the head, the batches and the shifts.
        path: where it can be resumed from; the caller deletes it.

    Returns:
        a report: `steps`, `best_step` and the `validation_loss` there, nats a moment.
    """
    trainer = _Trainer(encoder, moments, patterns, observe, seed)
    state = trainer.state
    if path.exists():
        state.load(path, _KIND)
    with Bar("train the encoder", observe.steps, state.step) as bar:
        while not trainer.finished:
            trainer.train_step()
            bar.update()
            if state.step % _LOOK_EVERY == 0 or trainer.finished:
                trainer.look()
                state.save(path, _KIND)
    encoder.load_state_dict(state.best.encoder.state_dict())
    encoder.requires_grad_(False).eval()
    return {
        "steps": state.step,
        "best_step": state.best_step,
        "validation_loss": state.best_loss,
    }


class _Both(nn.Module):
    """An encoder with a head."""

    def __init__(self, encoder: Encoder, head: GaussianPolicy) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def loss(self, pictures: Tensor, rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the mean negative log-likelihood of rows: proprioception, patterns, actions."""
        proprio, patterns, actions = rows
        numbers = torch.cat([self.encoder(pictures), proprio], dim=1)
        return -self.head(numbers, patterns).log_prob({"chosen": actions}).mean()


class _Trainer:
    """A training of an encoder and a head, with what it is trained and validated on."""

    def __init__(
        self, encoder: Encoder, moments: Moments, patterns: int, observe: ObserveConfig, seed: int
    ) -> None:
        self.observe, self.seed = observe, seed
        self.pictures = torch.from_numpy(moments.pictures)
        self.rows = (
            torch.from_numpy(moments.proprio.astype(np.float32)),
            torch.from_numpy(moments.patterns.astype(np.int64)),
            torch.from_numpy(moments.actions.astype(np.float32)),
        )
        rng = np.random.default_rng([seed, 2])
        held_out = np.flatnonzero(moments.held_out)
        every = np.arange(len(moments.held_out))
        self.training = torch.from_numpy(np.setdiff1d(every, held_out))
        seen = held_out if len(held_out) else every
        few = rng.permutation(seen)[:_MOST_VALIDATED]
        self.validation = torch.from_numpy(np.sort(few))
        head = GaussianPolicy(encoder.output_dim + PROPRIO, patterns, _HIDDEN)
        head.normalizer.mean[-PROPRIO:] = self.rows[0].mean(0)
        head.normalizer.scale[-PROPRIO:] = 1 / self.rows[0].std(0).clamp_min(1e-3)
        head.explore(_STD)
        encoder.requires_grad_(True)
        self.both = _Both(encoder, head).train()
        optimizer = torch.optim.AdamW(
            [p for p in self.both.parameters() if p.requires_grad], observe.learning_rate
        )
        self.state = EarlyStopping(self.both, optimizer, observe.steps, _DECAY)
        self.state.average.eval()

    @property
    def finished(self) -> bool:
        """Whether all steps were taken, or the last looks saw nothing better."""
        state = self.state
        looked = state.step % _LOOK_EVERY == 0 and state.best_loss < float("inf")
        return state.step >= state.steps or (looked and state.stale(_PATIENCE * _LOOK_EVERY))

    def train_step(self) -> None:
        """Take the next gradient step."""
        observe, rng = self.observe, self.state.generator(self.seed)
        chosen = torch.randint(len(self.training), (observe.batch_size,), generator=rng)
        index = self.training[chosen]
        pictures = shift(self.pictures[index], observe.shift, rng)
        self.state.descend(self.both.loss(pictures, self._rows(index)))

    def _rows(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        proprio, patterns, actions = self.rows
        return proprio[index], patterns[index], actions[index]

    @torch.no_grad()
    def look(self) -> None:
        """Look at validation, and keep what is better."""
        index = self.validation
        self.state.compare(float(self.state.average.loss(self.pictures[index], self._rows(index))))


def shift(pictures: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Shift each moment's pictures by up to `most` pixels each way; borders are repeated.

    Args:
        pictures: (n, cameras, H, W, 3); all cameras of a moment are shifted alike.
        most: pixels.
        rng: decides.
    """
    n, height, width = len(pictures), pictures.shape[2], pictures.shape[3]
    by = torch.randint(-most, most + 1, (2, n, 1), generator=rng)
    y = (torch.arange(height) + by[0]).clamp(0, height - 1)
    x = (torch.arange(width) + by[1]).clamp(0, width - 1)
    moment = torch.arange(n)[:, None, None]
    return pictures.movedim(1, 3)[moment, y[:, :, None], x[:, None, :]].movedim(3, 1)
