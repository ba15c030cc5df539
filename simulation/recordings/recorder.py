"""Records what an environment goes through in one episode."""

from __future__ import annotations

import numpy as np

from simulation.environment import Environment
from simulation.recordings.episode import Episode, EpisodeInfo
from simulation.starts import stored_index


class Recorder:
    """Records one episode of an environment.

    Call `before(action)` just before each step, and `finish` after the last one.
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._states: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._intended: list[np.ndarray] = []
        self._proprio: list[np.ndarray] = []
        self._joints: list[np.ndarray] = []

    def __len__(self) -> int:
        """Return the number of steps recorded so far."""
        return len(self._actions)

    def before(self, action: np.ndarray, intended: np.ndarray | None = None) -> None:
        """Record the environment's state and the action (7,) that will be applied to it.

        The pose in `proprio` is up to a simulator step older: see `Environment.proprio`.
        `intended` is the action as it was meant, if a disturbance was added to it.
        """
        self._states.append(self._env.state())
        self._proprio.append(self._env.proprio())
        self._joints.append(self._env.joints())
        self._actions.append(np.array(action, dtype=np.float64))
        meant = action if intended is None else intended
        self._intended.append(np.array(meant, dtype=np.float64))

    def finish(self, success: bool, **info: object) -> Episode:
        """Return the episode; `info` are fields of `EpisodeInfo` other than seed and index."""
        env = self._env
        return Episode(
            states=np.stack(self._states),
            actions=np.stack(self._actions),
            intended=np.stack(self._intended),
            proprio=np.stack(self._proprio),
            joints=np.stack(self._joints),
            final_state=env.state(),
            final_proprio=env.proprio(),
            fixtures=env.fixtures(),
            info=EpisodeInfo(
                seed=env.seed,
                init_index=stored_index(env.init_index),
                success=success,
                **info,  # type: ignore[arg-type]
            ),
        )
