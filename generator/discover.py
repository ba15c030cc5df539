"""Stage 1, discover: cluster demonstrations into K patterns and freeze q(z|s).

A VAE with a mixture prior (VaDE) over proprioceptive states. A pattern is to be a way of doing the
whole task, not a phase of it, so the category z is tied along each trajectory while training:

    z ~ Cat(1/K) per trajectory,   u_t | z ~ N(mu_z, sigma_z),   s_t | u_t ~ N(decoder(u_t), 1)

with q(u|s) an encoder and q(z|s) the mixture's posterior at its mean. The loss is the negative
ELBO under responsibilities r(z|trajectory), plus the variational bound on I(Z;S) of Eq. 5. So
q(z|s) is flat where ways share states and sharp where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import normalized_mutual_info_score, silhouette_score
from torch import Tensor, nn
from torch.nn.functional import softplus

from common.tensors import build_module, fitting, load_tensors, save_tensors
from generator.arithmetic import exp, log, logaddexp, logsumexp
from generator.checkpoints import versions
from generator.config import DiscoverConfig
from generator.networks import Linear, Normalizer
from generator.paths import (
    FEATURES,
    FLOORS,
    PATH_POINTS,
    DiscoveryError,
    count_ways,
    features,
    path_mixture,
)

_PATH_FLOOR = 0.01
"""Least responsibility that the path's mixture leaves to the encoder's evidence."""
_TEMPERATURE = 10.0
"""By which evidence is divided, since neighbouring states are no independent witnesses."""
_WARM_UP = 0.6
"""Share of the steps before responsibilities follow the encoder."""
_EVIDENCE_FLOOR = 0.02
"""Probability mass that q(z|s) spreads evenly, so that no single state decides a trajectory."""


class MixtureVae(nn.Module):
    """Encoder q(u|s), mixture prior p(u|z) and decoder p(s|u)."""

    def __init__(self, patterns: int, latent_dim: int, hidden: int) -> None:
        super().__init__()
        self.normalizer = Normalizer(FEATURES)
        self.encoder = _two_layers(FEATURES, hidden, 2 * latent_dim)
        self.decoder = _two_layers(latent_dim, hidden, FEATURES)
        self.prior_mean = nn.Parameter(torch.randn(patterns, latent_dim))
        self.prior_raw_std = nn.Parameter(torch.full((patterns, latent_dim), 0.5))

    def encode(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of q(u|s). Shapes: (n, D)."""
        mean, log_std = self.encoder(normal).chunk(2, dim=-1)
        return mean, log_std.clamp(-5, 2)

    def prior_std(self) -> Tensor:
        """Standard deviations of p(u|z). Shape: (K, D)."""
        return softplus(self.prior_raw_std) + 0.05

    def log_posterior(self, mean: Tensor) -> Tensor:
        """Return log q(z|s) by Bayes' rule at the latent mean. Shapes: (n, D) -> (n, K)."""
        std = self.prior_std()
        distance = ((mean[:, None] - self.prior_mean) / std) ** 2
        log_q = torch.log_softmax((-0.5 * distance - log(std)).sum(-1), dim=-1)
        mass = log(torch.full_like(log_q, _EVIDENCE_FLOOR / log_q.shape[-1]))
        return logaddexp(log_q + float(np.log1p(-_EVIDENCE_FLOOR)), mass)

    def kl(self, mean: Tensor, log_std: Tensor) -> Tensor:
        """Return KL(q(u|s) || p(u|z)) for every z. Shape: (n, K)."""
        std = self.prior_std()
        variance = (exp(log_std[:, None]) / std) ** 2
        distance = ((mean[:, None] - self.prior_mean) / std) ** 2
        return (0.5 * (variance + distance - 1) + log(std) - log_std[:, None]).sum(-1)


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        Linear(inputs, hidden), nn.Tanh(),
        Linear(hidden, hidden), nn.Tanh(),
        Linear(hidden, outputs),
    )  # fmt: skip


@dataclass(frozen=True)
class PatternEncoder:
    """The frozen q(z|s)."""

    model: MixtureVae
    config: DiscoverConfig
    report: dict[str, Any]
    """How discovery went: sizes, silhouette, ELBO, sharpness."""

    @property
    def patterns(self) -> int:
        """Number K of patterns."""
        return self.config.patterns

    @torch.no_grad()
    def log_posterior(self, proprio: np.ndarray) -> np.ndarray:
        """Return log q(z|s). Shapes: (T, 8) -> (T, K)."""
        return self.model.log_posterior(self._latent(proprio)).numpy()

    @torch.no_grad()
    def embed(self, proprio: np.ndarray) -> np.ndarray:
        """Return the latent means of states. Shapes: (T, 8) -> (T, D)."""
        return self._latent(proprio).numpy()

    def classify_trajectory(self, proprio: np.ndarray) -> int:
        """Return the pattern with the largest summed log-posterior over states (T, 8).

        States count by the sharpness of their posterior: the many states that ways share say
        little each, but together they would outvote the few where the ways differ.
        """
        log_q = torch.from_numpy(self.log_posterior(proprio))
        return int((log_q * _sharpness(log_q)).sum(dim=0).argmax())

    def label(self, proprio: np.ndarray) -> np.ndarray:
        """Return the pattern of each state, as `config.labels` says. Shapes: (T, 8) -> (T,)."""
        if self.config.labels == "state":
            return self.log_posterior(proprio).argmax(axis=1)
        return np.full(len(proprio), self.classify_trajectory(proprio))

    def _latent(self, proprio: np.ndarray) -> Tensor:
        states = torch.from_numpy(features(proprio).astype(np.float32))
        mean, _ = self.model.encode(self.model.normalizer(states))
        return mean

    def save(self, path: Path) -> None:
        """Write the encoder into one safetensors file."""
        content = {"config": asdict(self.config), "report": self.report, "versions": versions()}
        save_tensors(path, "pattern_encoder", self.model.state_dict(), content)

    @classmethod
    def load(cls, path: Path) -> PatternEncoder:
        """Read an encoder.

        Raises:
            CheckpointError: the file is missing, damaged or something else.
        """
        tensors, content = load_tensors(path, "pattern_encoder")
        with fitting(path):
            config = DiscoverConfig(**content["config"])
            sizes = config.patterns, config.latent_dim, config.hidden
            model = build_module(lambda: MixtureVae(*sizes), tensors, path)
            return cls(model.eval().requires_grad_(False), config, content["report"])


def discover(
    trajectories: Sequence[np.ndarray],
    config: DiscoverConfig,
    seed: int,
    ways: Sequence[str] | None = None,
) -> PatternEncoder:
    """Fit the mixture VAE to demonstrations and freeze it.

    Args:
        trajectories: proprioceptive states (T_i, 8) of successful demonstrations.
        config: settings; those of the encoder have the number of patterns that was chosen.
        seed: of initialisation and minibatches.
        ways: known way of each, empty where unknown; only the report's `agreement` looks at it,
            which compares the plain mixture of paths (`path_mixture`) with the encoder.

    Raises:
        DiscoveryError: fewer trajectories than twice the patterns, or values not finite.
    """
    least = 2 if config.choose_patterns else 2 * config.patterns
    if len(trajectories) < least:
        raise DiscoveryError(
            f"{len(trajectories)} demonstrations are too few for {least // 2} patterns: "
            f"give at least {least}"
        )
    if not all(np.isfinite(t).all() and len(t) > 1 for t in trajectories):
        raise DiscoveryError("a demonstration has fewer than two states, or NaN or infinity")
    paths = [features(t) for t in trajectories]
    distinct, evidence = count_ways(paths, config.most_patterns, seed)
    if config.choose_patterns:
        config = replace(config, patterns=distinct)
    responsibilities, score = path_mixture(paths, config, seed)
    responsibilities = _in_order(paths, responsibilities)
    torch.manual_seed(seed)
    model = MixtureVae(config.patterns, config.latent_dim, config.hidden)
    model.normalizer.fit(np.concatenate(paths), floor=FLOORS, constant=0.0)
    losses = _train(model, paths, responsibilities, config, seed)
    encoder = PatternEncoder(model.eval().requires_grad_(False), config, {})
    encoder.report.update(
        _report(encoder, trajectories, responsibilities, score),
        distinct_ways=distinct,
        evidence_of_ways=evidence,
        **losses,
    )
    known = [i for i, way in enumerate(ways or []) if way]
    if ways is not None and known:
        names = [ways[i] for i in known]
        plain = mutual_information(responsibilities[known].argmax(axis=1), names)
        measures = agreement(encoder, [trajectories[i] for i in known], names)
        encoder.report["agreement"] = {**measures, "path_mixture": plain}
    return encoder


def _train(
    model: MixtureVae,
    paths: list[np.ndarray],
    responsibilities: np.ndarray,
    config: DiscoverConfig,
    seed: int,
) -> dict[str, float]:
    """Train by generalised EM; return the last losses."""
    states = torch.from_numpy(np.concatenate(paths).astype(np.float32))
    trajectory = np.repeat(np.arange(len(paths)), [len(p) for p in paths])
    weights = torch.from_numpy(1 / np.array([len(p) for p in paths]))[trajectory]
    r = initial = torch.from_numpy(responsibilities.astype(np.float32))
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=1e-2, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    index = torch.from_numpy(trajectory)
    for step in range(config.steps):
        if step >= _WARM_UP * config.steps and step % 50 == 0:
            r = _expectation(model, states, index, initial)
        batch = torch.multinomial(weights, config.batch_size, replacement=True, generator=rng)
        reconstruction, kl, information = _loss_terms(
            model, states[batch], r[index[batch]], config, rng
        )
        loss = reconstruction + config.kl_coefficient * kl
        loss = loss - config.information_coefficient * information
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    elbo = -(reconstruction + config.kl_coefficient * kl)
    return {"elbo": elbo.item(), "information": information.item()}


def _loss_terms(
    model: MixtureVae, states: Tensor, r: Tensor, config: DiscoverConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return reconstruction error, KL and E[log q(z|s)], each a mean over states."""
    normal = model.normalizer(states)
    noisy = normal + config.input_noise * torch.randn(normal.shape, generator=rng)
    mean, log_std = model.encode(noisy)
    u = mean + exp(log_std) * torch.randn(mean.shape, generator=rng)
    reconstruction = 0.5 * ((model.decoder(u) - normal) ** 2).sum(-1).mean()
    kl = (r * model.kl(mean, log_std)).sum(-1).mean()
    information = (r * model.log_posterior(mean)).sum(-1).mean()
    return reconstruction, kl, information


@torch.no_grad()
def _expectation(model: MixtureVae, states: Tensor, trajectory: Tensor, initial: Tensor) -> Tensor:
    """Return r(z|trajectory) from its path's mixture and its states' evidence. Shape: (N, K).

    A bias per pattern keeps the patterns' shares (Sinkhorn's iteration); without it the
    information term would be free to put every trajectory into one pattern.
    """
    mean, _ = model.encode(model.normalizer(states))
    log_q = model.log_posterior(mean)
    evidence = torch.zeros_like(initial).index_add_(0, trajectory, log_q * _sharpness(log_q))
    log_r = log(initial.clamp_min(_PATH_FLOOR)) + evidence / _TEMPERATURE
    log_shares = log(initial.mean(dim=0))
    for _ in range(50):
        log_r = log_r + log_shares - logsumexp(log_r, 0) + np.log(len(log_r))
        log_r = torch.log_softmax(log_r, dim=-1)
    return exp(log_r)


def _sharpness(log_q: Tensor) -> Tensor:
    """Return 1 - entropy / log K, how much each state says of the pattern. (n, K) -> (n, 1)."""
    entropy = -(exp(log_q) * log_q).sum(-1, keepdim=True)
    return 1 - entropy / max(float(np.log(log_q.shape[1])), 1e-9)


def _in_order(paths: Sequence[np.ndarray], responsibilities: np.ndarray) -> np.ndarray:
    """Return responsibilities with patterns ordered by their mean lateral position, then height."""
    means = np.stack([p.mean(axis=0) for p in paths])
    centres = (responsibilities.T @ means) / responsibilities.sum(axis=0)[:, None]
    order = np.lexsort(np.round(centres[:, [0, 2, 1]], 4).T)
    return responsibilities[:, order]


def _report(
    encoder: PatternEncoder,
    trajectories: Sequence[np.ndarray],
    initial: np.ndarray,
    score: float,
) -> dict[str, Any]:
    labels = np.array([encoder.classify_trajectory(t) for t in trajectories])
    posteriors = np.concatenate([np.exp(encoder.log_posterior(t)) for t in trajectories])
    embedded = np.stack([_mean_path(encoder.embed(t)) for t in trajectories])
    several = 1 < len(set(labels)) < len(labels)
    return {
        "trajectories": len(trajectories),
        "sizes": np.bincount(labels, minlength=encoder.patterns).tolist(),
        "silhouette": float(silhouette_score(embedded, labels)) if several else 0.0,
        "path_mixture_score": score,
        "agreement_with_path_mixture": float((labels == initial.argmax(axis=1)).mean()),
        "mean_confidence": float(posteriors.max(axis=1).mean()),
    }


def agreement(
    encoder: PatternEncoder, trajectories: Sequence[np.ndarray], ways: Sequence[str]
) -> dict[str, float]:
    """Return the mutual information of known ways and of what an encoder says of them, each 0..1.

    `trajectory`: labels by `classify_trajectory`; `state`: argmax of q(z|s) (section D.3), every
    state by itself; `state_majority`: what most states of a trajectory say.

    Args:
        encoder: the encoder.
        trajectories: proprioceptive states (T_i, 8).
        ways: the known way of each.
    """
    states = [encoder.log_posterior(t).argmax(axis=1) for t in trajectories]
    majority = [int(np.bincount(labels).argmax()) for labels in states]
    by_state = [way for way, labels in zip(ways, states, strict=True) for _ in labels]
    found = [encoder.classify_trajectory(t) for t in trajectories]
    return {
        "trajectory": mutual_information(found, ways),
        "state": mutual_information(np.concatenate(states), by_state),
        "state_majority": mutual_information(majority, ways),
    }


def _mean_path(latent: np.ndarray) -> np.ndarray:
    at = np.linspace(0, len(latent) - 1, PATH_POINTS)
    columns = [np.interp(at, np.arange(len(latent)), column) for column in latent.T]
    return np.concatenate(columns)


def mutual_information(labels: Sequence[int] | np.ndarray, ways: Sequence[str]) -> float:
    """Return the normalised mutual information, 0..1, of trajectory labels and known ways."""
    return float(normalized_mutual_info_score(list(ways), list(labels)))
