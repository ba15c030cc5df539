"""A diffusion policy over chunks of actions: cloned by denoising, fine-tuned step by step by PPO.

The chain from noise to actions is a sequence of decisions, each Gaussian (DPPO; Eq. 4 and 5 of
"Beyond Human Demonstrations"). The noise of the motion that is carried out is the project's own,
of every policy: the last step adds `Exploration.std` and an episode's process carries it on. What
the steps before it add comes on top, so no chain acts more quietly than another policy. The
gripper is what the chain says, with the noise of its steps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from common.errors import SettingError
from generator.arithmetic import log, sqrt
from generator.config import ChainConfig
from generator.policies.chunk import ChunkNoise
from generator.policies.denoisers import Denoiser, Kind, make_denoiser
from generator.policies.gaussian import ACTIONS, MOTION, GaussianPolicy, less_before
from generator.policies.policy import Decision, Distribution, Exploration
from generator.policies.schedule import Step, chain, signal_shares

_LEAST_HALF = 0.1
"""Least half range that an action is divided by."""
_VALIDATION_DRAWS = 4
"""Noise levels at which each validation chunk is denoised."""
_REPORTED = 1024
"""Chunks at most that a report compares with sampled ones."""


@dataclass(frozen=True)
class ChainDistribution(Distribution):
    """m Gaussian steps for each of n rows, of which the rows without a decision have none."""

    mean: Tensor
    """Of the d rows with a decision. Shape: (d, m, C, 7)."""
    std: Tensor
    """That steps are scored with. Shape: (m, 7)."""
    decided: Tensor
    """Shape: (n,), bool."""

    def log_probs(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return each step's log-likelihood. Shape: (n, m)."""
        z = (trace["chain"][self.decided][:, 1:] - self.mean) / self._std
        each = -0.5 * z**2 - log(self._std) - 0.5 * float(np.log(2 * np.pi))
        return self._scatter(each.sum((-1, -2)))

    def log_prob(self, trace: Mapping[str, Tensor]) -> Tensor:
        """Return the chains' log-likelihood. Shape: (n,)."""
        return self.log_probs(trace).sum(-1)

    def kl(self, other: ChainDistribution) -> Tensor:
        """Return the KL of whole chains, no less than that of the actions at their ends; (n,)."""
        ratio = self._std / other._std
        distance = (self.mean - other.mean) / other._std
        each = 0.5 * (ratio**2 + distance**2 - 1) - log(ratio)
        return self._scatter(each.sum((-1, -2))).sum(-1)

    def given_past(self, begins: Tensor, memory: float) -> Self:
        """Return the chains with the last step's motion less `memory` times the one before it."""
        means, decided = self.mean.clone(), self.decided
        motion = means[:, -1, :, :MOTION].clone()
        means[:, -1, :, :MOTION] = less_before(motion, begins[decided], memory)
        return replace(self, mean=means)

    def entropy(self) -> Tensor:
        """Return the chains' entropy in nats. Shape: (n,)."""
        each = (log(self._std) + 0.5 * float(np.log(2 * np.pi * np.e))).expand_as(self.mean)
        return self._scatter(each.sum((-1, -2))).sum(-1)

    def __getitem__(self, index: Tensor) -> ChainDistribution:
        """Return the distributions of some rows."""
        decided = self.decided[index]
        place = self.decided.long().cumsum(0) - 1
        return ChainDistribution(self.mean[place[index][decided]], self.std, decided)

    @property
    def _std(self) -> Tensor:
        return self.std[:, None]

    def _scatter(self, each: Tensor) -> Tensor:
        """Return values of decisions (d, m) at their rows, zeros elsewhere. Shape: (n, m)."""
        rows = torch.zeros(len(self.decided), each.shape[1], dtype=each.dtype)
        return rows.index_put((self.decided,), each)


class ChainNoise(ChunkNoise):
    """One episode's noise; the chain's is a stream of its own, and motion's is as elsewhere."""

    def __init__(self, rng: np.random.Generator, exploration: Exploration) -> None:
        self._chain = rng.spawn(1)[0]
        super().__init__(rng, exploration)

    def draw_chain(self, steps: int, chunk: int) -> np.ndarray:
        """Return normals for the chain's start and each of its steps (steps + 1, C, 7)."""
        return self._chain.standard_normal((steps + 1, chunk, ACTIONS)).astype(np.float32)


class DiffusionPolicy(GaussianPolicy):
    """Chunks of C actions, denoised from noise by a network that sees features and level."""

    action_centre: Tensor
    action_half: Tensor
    network: Denoiser

    def __init__(
        self,
        observation_dim: int,
        patterns: int,
        network: Kind,
        widths: Sequence[int],
        chunk: int,
        settings: Mapping[str, Any],
    ) -> None:
        """Build.

        Args:
            observation_dim: P.
            patterns: K; 0 without.
            network: `unet` or `mlp`.
            widths: of the network.
            chunk: actions C that are decided at once.
            settings: fields of `ChainConfig`.

        Raises:
            SettingError: chunk and network, or the chain's settings, do not fit together.
        """
        super().__init__(observation_dim, patterns, ())
        self.kind, self.widths, self.chunk = network, tuple(widths), chunk
        self.chain = ChainConfig(**settings)
        options = self.chain
        self.steps = chain(options.levels, options.sampler, options.acting_steps, options.eta)
        if options.finetuned_steps < 1 or options.minimum_std <= 0:
            raise SettingError(
                f"PPO fine-tunes one step at least, with some noise, not {options.finetuned_steps} "
                f"with {options.minimum_std}"
            )
        self.finetuned = min(options.finetuned_steps, len(self.steps))
        self._shares = torch.from_numpy(signal_shares(options.levels).astype(np.float32))
        self.network = make_denoiser(network, self.feature_dim, chunk, widths, options.levels)
        frozen = self.finetuned < len(self.steps)
        self.early = copy.deepcopy(self.network).requires_grad_(False) if frozen else None
        self.register_buffer("action_centre", torch.zeros(ACTIONS))
        self.register_buffer("action_half", torch.ones(ACTIONS))

    def architecture(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON can hold them."""
        return {
            "observation_dim": self.observation_dim,
            "patterns": self.patterns,
            "network": self.kind,
            "widths": list(self.widths),
            "chunk": self.chunk,
            "settings": asdict(self.chain),
        }

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the network be trained, but not the copy that the first steps keep."""
        super().requires_grad_(requires_grad)
        if self.early is not None:
            self.early.requires_grad_(False)
        return self

    def noise(self, rng: np.random.Generator, exploration: Exploration) -> ChainNoise:
        """Return one episode's noise."""
        return ChainNoise(rng, exploration)

    def prepare(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Take the normalisation of observations (n, P) and actions (n, 7) from training data."""
        super().prepare(observations, actions)
        low, high = actions.min(axis=0), actions.max(axis=0)
        self.action_centre.copy_(torch.from_numpy((high + low) / 2))
        self.action_half.copy_(torch.from_numpy(np.maximum((high - low) / 2, _LEAST_HALF)))

    def finish(self) -> None:
        """Let the chain's first steps keep the network as it is now, if PPO leaves them alone."""
        if self.early is not None:
            self.early.load_state_dict(self.network.state_dict())

    def cloning_loss(
        self, features: Tensor, trace: Mapping[str, Tensor], rng: torch.Generator
    ) -> Tensor:
        """Return the mean squared error of the noise seen in noisy chunks, at any level (Eq. 1)."""
        clean = (trace["chosen"] - self.action_centre) / self.action_half
        level = torch.randint(1, self.chain.levels + 1, (len(clean),), generator=rng)
        eps = torch.randn(clean.shape, generator=rng)
        shares = self._shares[level][:, None, None]
        noisy = sqrt(shares) * clean + sqrt(1 - shares) * eps
        seen = self._noise_in(noisy, level, features, self.network)
        counted = (torch.arange(self.chunk) < trace["length"][:, None])[..., None]
        return ((seen - eps) ** 2 * counted).sum() / (counted.sum() * ACTIONS)

    def settle(self, features: Tensor, trace: Mapping[str, Tensor]) -> float:
        """Return the denoising error on validation data, at levels and noise that stay the same."""
        rng = torch.Generator().manual_seed(0)
        draws = [self.cloning_loss(features, trace, rng) for _ in range(_VALIDATION_DRAWS)]
        return float(torch.stack(draws).mean().detach())

    def losses(self, features: Tensor, trace: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the denoising error, and how far sampled chunks lie from the recorded ones."""
        rows = torch.linspace(0, len(features) - 1, min(len(features), _REPORTED)).long()
        features, trace = features[rows], {name: part[rows] for name, part in trace.items()}
        rng = np.random.default_rng(0)
        drawn = rng.standard_normal((len(features), len(self.steps) + 1, self.chunk, ACTIONS))
        still = torch.zeros(len(features), self.chunk, ACTIONS)
        normals = torch.from_numpy(drawn.astype(np.float32))
        sampled = self._denoise(features, normals, still)[:, -1].detach()
        actions = self.action_centre + self.action_half * sampled
        counted = torch.arange(self.chunk) < trace["length"][:, None]
        found, chosen = actions[counted], trace["chosen"][counted]
        right = (found[:, MOTION] > 0) == (chosen[:, MOTION] > 0)
        return {
            "denoising_error": self.settle(features, trace),
            "motion_error": float((found - chosen)[:, :MOTION].abs().mean()),
            "gripper_accuracy": float(right.float().mean()),
        }

    def distribution(  # type: ignore[override]
        self, features: Tensor, trace: Mapping[str, Tensor] | None = None
    ) -> ChainDistribution:
        """Return the distributions of the steps that the trace says were taken."""
        assert trace is not None, "a chain's steps depend on those before"
        decided = trace["length"] > 0
        before, seen = trace["chain"][decided][:, :-1], features[decided]
        d, last = len(before), self.steps[-self.finetuned :]
        level = torch.tensor([s.level for s in last]).repeat(d)
        repeated = seen.repeat_interleave(self.finetuned, dim=0)
        eps = self._noise_in(before.flatten(0, 1), level, repeated, self.network).view_as(before)
        means = [step.mean(before[:, i], eps[:, i]) for i, step in enumerate(last)]
        return ChainDistribution(torch.stack(means, dim=1), self._scored_std(), decided)

    def _noise_in(
        self, noisy: Tensor, level: Tensor, features: Tensor, network: Denoiser
    ) -> Tensor:
        """Return the noise eps in chunks (n, C, 7) at their levels (n,).

        The network only has to say what the noisy chunk does not: were it noise of unit variance
        and nothing else, its share of noise would be the best guess.
        """
        shares = self._shares[level][:, None, None]
        return sqrt(1 - shares) * noisy + sqrt(shares) * network(noisy, level, features)

    def _scored_std(self) -> Tensor:
        """Return the standard deviation that each fine-tuned step is scored with. Shape: (m, 7)."""
        least = self.chain.minimum_std
        rows = [torch.full((ACTIONS,), max(s.sigma, least)) for s in self.steps[-self.finetuned :]]
        rows[-1] = torch.cat([self.std.detach() / self.action_half[:MOTION], rows[-1][MOTION:]])
        return torch.stack(rows)

    def _denoise(self, features: Tensor, normals: Tensor, last: Tensor) -> Tensor:
        """Return noisy chunks along the part of the chain that PPO fine-tunes, and its end.

        Args:
            features: (n, F).
            normals: of the start and each step (n, steps + 1, C, 7).
            last: what the last step adds to motion, normalised (n, C, 7); its gripper is not read.

        Returns:
            (n, m + 1, C, 7).
        """
        noisy, kept, first = normals[:, 0], [], len(self.steps) - self.finetuned
        for i, step in enumerate(self.steps):
            if i == first:
                kept.append(noisy)
            tuned = i >= first or self.early is None
            level = torch.full((len(noisy),), step.level)
            network = self.network if tuned or self.early is None else self.early
            eps = self._noise_in(noisy, level, features, network)
            added = self._acting_std(step, tuned) * normals[:, i + 1]
            if i == len(self.steps) - 1:
                gripper = self.chain.minimum_std * normals[:, i + 1, :, MOTION:]
                added = torch.cat([last[..., :MOTION], gripper], dim=-1)
            noisy = step.mean(noisy, eps) + added
            if i >= first:
                kept.append(noisy)
        return torch.stack(kept, dim=1)

    def _acting_std(self, step: Step, tuned: bool) -> float:
        """Return a step's noise: the sampler's, and where PPO learns no less than the floor.

        Where the level has less noise than that, its own is enough.
        """
        return max(step.sigma, min(self.chain.minimum_std, step.noise)) if tuned else step.sigma

    @torch.no_grad()
    def act(self, observations: np.ndarray, pattern: np.ndarray, noise: Sequence[Any]) -> Decision:
        """Return each episode's next action (n, 7), of a new chunk where the last one is done.

        The trace has the fine-tuned part of each chain without the noise carried from before
        (n, m + 1, C, 7), normalised, and how many actions were decided (n,): C, or 0.
        """
        shape = (len(noise), self.finetuned + 1, self.chunk, ACTIONS)
        chains, length = np.zeros(shape, np.float32), np.zeros(len(noise), np.int64)
        new = [i for i, episode in enumerate(noise) if not episode.left]
        if new:
            features = self.features(
                torch.from_numpy(np.asarray(observations[new], dtype=np.float32)),
                torch.from_numpy(np.asarray(pattern[new], dtype=np.int64)),
            )
            normals = np.stack([noise[i].draw_chain(len(self.steps), self.chunk) for i in new])
            fresh, carried = zip(*(noise[i].draw_chunk(self.chunk) for i in new), strict=True)
            last = torch.from_numpy(np.stack(fresh)) / self.action_half
            found = self._denoise(features, torch.from_numpy(normals), last)
            chains[new], length[new] = found.numpy(), self.chunk
            actions = (self.action_centre + self.action_half * found[:, -1]).numpy()
            actions[..., MOTION] = np.where(actions[..., MOTION] > 0, 1.0, -1.0)
            actions[..., :MOTION] += np.stack(carried)
            for i, chosen in zip(new, actions, strict=True):
                noise[i].left = list(chosen)
        applied = np.stack([episode.left.pop(0) for episode in noise])
        return Decision(applied, {"chain": chains, "length": length})
