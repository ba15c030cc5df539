"""The reward that the first paper argues against: mutual information beside the task's (Eq. 7).

q(z|s) is trained on the states that the policy visits, in turn with it; every step is then
rewarded by beta (log q(z|s) - log p(z)), a bound on I(Z;S) (Eq. 5 and 6), p(z) uniform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from common.errors import SettingError
from common.tensors import load_optimizer, optimizer_tensors, prefixed, select
from generator.config import InformationConfig
from generator.networks import Normalizer, mlp
from generator.paths import FEATURES, FLOORS, features
from generator.reward import Reward, SparseSuccess
from generator.rollout import Rollout


class StateClassifier(nn.Module):
    """q(z|s) over the features of proprioceptive states that `discover` looks at, too."""

    def __init__(self, patterns: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.normalizer = Normalizer(FEATURES)
        self.network = mlp(FEATURES, hidden, patterns)

    def forward(self, states: Tensor) -> Tensor:
        """Return log q(z|s). Shapes: (n, 10) -> (n, K)."""
        return torch.log_softmax(self.network(self.normalizer(states)), dim=-1)


class InformationReward(Reward):
    """Sparse success and beta (log q(z|s) - log p(z)) at every step.

    Args:
        patterns: K.
        config: settings.
        seed: of q's initialisation.

    Raises:
        SettingError: there are fewer than two patterns, or beta is negative.
    """

    bounds = None
    of_success = False

    def __init__(self, patterns: int, config: InformationConfig, seed: int) -> None:
        if patterns < 2 or config.beta < 0:
            raise SettingError(
                f"mutual information wants two patterns or more and a beta of 0 or more, not "
                f"{patterns} and {config.beta}"
            )
        self._patterns, self._config = patterns, config
        self._task = SparseSuccess()
        torch.manual_seed(seed)
        self._q = StateClassifier(patterns, config.hidden)
        self._optimizer = torch.optim.Adam(self._q.parameters(), config.learning_rate, fused=True)
        self._fitted = False

    def __call__(self, rollout: Rollout) -> np.ndarray:
        """Return the reward of each step. Shape: (T,), float32."""
        return self._task(rollout) + self._config.beta * self.information(rollout)

    def information(self, rollout: Rollout) -> np.ndarray:
        """Return log q(z|s) - log p(z) of each step, in nats. Shape: (T,), float32."""
        log_q = self._q(_states([rollout])).detach()[:, rollout.spec.pattern]
        return np.asarray(log_q.numpy() + np.log(self._patterns), dtype=np.float32)

    def learn(self, episodes: Sequence[Rollout], seed: int) -> dict[str, float]:
        """Train q on the states of an iteration's episodes, each pattern weighing the same.

        Returns:
            how well q knew these states' patterns before, and the mean of the information after.
        """
        states = _states(episodes)
        patterns = torch.from_numpy(np.repeat([e.spec.pattern for e in episodes], _steps(episodes)))
        if not self._fitted:
            self._q.normalizer.fit(states.numpy(), floor=FLOORS, constant=0.0)
            self._fitted = True
        known = self._q(states).detach().argmax(dim=-1) == patterns
        weights = 1 / torch.bincount(patterns, minlength=self._patterns)[patterns]
        rng = torch.Generator().manual_seed(seed)
        for _ in range(self._config.steps):
            rows = torch.multinomial(weights, self._config.batch_size, True, generator=rng)
            loss = cross_entropy(self._q(states[rows]), patterns[rows])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        information = np.concatenate([self.information(e) for e in episodes])
        return {
            "recognised": float((known * weights).sum() / weights.sum()),
            "information": float((torch.from_numpy(information) * weights).sum() / weights.sum()),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return all that `load` needs."""
        return {
            "fitted": torch.tensor(self._fitted),
            **prefixed("q", self._q.state_dict()),
            **optimizer_tensors("optimizer", self._optimizer),
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `tensors` returned."""
        self._fitted = bool(tensors["fitted"])
        self._q.load_state_dict(select("q", tensors))
        load_optimizer("optimizer", self._optimizer, tensors)


def _states(episodes: Sequence[Rollout]) -> Tensor:
    """Return the features of all states. Shape: (n, 10)."""
    seen = [features(e.proprio) for e in episodes]
    return torch.from_numpy(np.concatenate(seen).astype(np.float32))


def _steps(episodes: Sequence[Rollout]) -> list[int]:
    return [len(e) for e in episodes]
