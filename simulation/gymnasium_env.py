"""LIBERO's tasks behind Gymnasium's interfaces: `dlr/Libero-v0`, single and vectorised.

    import simulation.gymnasium_env

    gymnasium.make("dlr/Libero-v0", task="libero_goal/turn_on_the_stove")
    gymnasium.make_vec("dlr/Libero-v0", num_envs=8, task="libero_goal/turn_on_the_stove")

Gymnasium knows the id once this module is imported, which it does itself for
`simulation.gymnasium_env:dlr/Libero-v0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from common.errors import SettingError, one_line
from simulation.arguments import check_actions, check_seed
from simulation.assets.resolve import resolve_assets
from simulation.environment import BatchEnvironment
from simulation.physics.control import ACTION_DIM, CONTROL_FREQUENCY
from simulation.slot import Observation, Pictures, Settings, Slot, observation_space
from simulation.tasks import get_task

ENV_ID = "dlr/Libero-v0"


class LiberoEnv(gymnasium.Env[Observation, np.ndarray]):
    """One LIBERO task.

    An action is (7,) float64 in [-1, 1]; see `Environment.step`. The reward is 1 at the step
    that reaches the goal, which terminates the episode, and 0 before; the horizon truncates it.

    `reset(seed=s)` is upstream's `seed(s)`, `reset()`, and `set_init_state` where an init state
    is asked for; a reset without a seed draws one from the environment's generator. Its options
    are `init_index` (for this episode alone) and `init_state` (1 + nq + nv,).

    Args:
        render_mode: "rgb_array" or None.
        settings: see `Settings`.

    Raises:
        SettingError: an argument has no such value.
        UnknownTaskError: there is no such task.
        AssetError: the asset pack is missing or incomplete.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_FREQUENCY}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        self._settings, self.render_mode = Settings(**settings), render_mode
        self.env = self._settings.make()
        self._pictures = Pictures(self._settings, self.env)
        self._slot = Slot(self.env, self._settings, self._pictures)
        self.observation_space = observation_space(self._settings, self.env)
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float64)

    def reset(
        self, *, seed: SupportsIndex | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode and let it settle; info holds its seed and init index (-1: none).

        Raises:
            InvalidStateError: the init index or state does not belong to this task.
            SettingError: unknown option, an init index that is no number, or a seed that is none
                or outside 0..2^32 - 1.
        """
        number = None if seed is None else check_seed(seed)
        super().reset(seed=number)
        info = self._slot.begin(self.np_random, number, options)
        self.env.settle(self._settings.settle_steps)
        return self._slot.observe(), info

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Apply one action; info holds `success`.

        Raises:
            InvalidActionError: not seven finite real numbers; the episode is unchanged.
        """
        outcome = self._slot.outcome(self.env.step(action))
        return self._slot.observe(), *outcome

    def render(self) -> np.ndarray | None:
        """Return an upright picture of the first camera, uint8 (H, W, 3), in mode rgb_array."""
        return self._slot.picture() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the renderer."""
        self._pictures.close()


class LiberoVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Environments of one task, stepped on threads.

    Slot i gives what a `LiberoEnv` gives that is seeded with the slot's seed: a reset with an
    integer seed s gives slot i the seed s + i. The reset's options are those of `LiberoEnv`,
    for all slots alike, and `reset_mask`, bool (num_envs,): reset these slots alone.

    Args:
        num_envs: number of slots.
        autoreset_mode: what happens to an episode that has ended. "NextStep": the next step
            resets its slot, ignores the action and gives reward 0. "SameStep": the slot is
            reset at once, and info holds `final_obs` and `final_info`. "Disabled": the caller
            resets it, with `reset_mask`.
        num_threads: threads that step; by default one per core that this process may use.
        render_mode: "rgb_array" or None.
        settings: see `Settings`.
    """

    metadata = dict(LiberoEnv.metadata)  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        num_threads: int | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self._settings, self.render_mode = Settings(**settings), render_mode
        self.num_envs = num_envs
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self._mode}
        task, assets = get_task(self._settings.task), resolve_assets(self._settings.assets)
        self._batch = BatchEnvironment(task, num_envs, assets, num_threads)
        self._pictures = Pictures(self._settings, self._batch.envs[0])
        self._slots = [Slot(env, self._settings, self._pictures) for env in self._batch.envs]
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._ended = np.zeros(num_envs, dtype=bool)
        self.single_observation_space = observation_space(self._settings, self._batch.envs[0])
        self.single_action_space = spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float64)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._observations: list[Any] = [None] * num_envs

    def reset(
        self,
        *,
        seed: SupportsIndex | Sequence[SupportsIndex | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes and let them settle.

        Raises:
            InvalidStateError: the init index or state does not belong to this task.
            SettingError: unknown option, an init index that is no number, wrong number of seeds,
                one that is none or outside 0..2^32 - 1, a mask of the wrong shape, or one that
                leaves out a slot that has had no episode yet.
        """
        options = dict(options or {})
        try:
            mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, dtype=bool)))
        except ValueError as error:
            raise SettingError(f"reset_mask is no array: {one_line(error)}") from error
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise SettingError(f"reset_mask must be bool with shape ({self.num_envs},)")
        if new := [i for i, o in enumerate(self._observations) if o is None and not mask[i]]:
            raise SettingError(f"slots {new} have had no episode yet: reset them, too")
        seeds = self._seeds(seed)
        indices = [int(i) for i in np.flatnonzero(mask)]
        for i in indices:
            if seeds[i] is not None:
                self._generators[i] = seeding.np_random(seeds[i])[0]
        infos = self._reset(indices, seeds, options)
        return self._stack(), infos

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Apply actions (num_envs, 7); returns arrays of length num_envs.

        Raises:
            InvalidActionError: not finite real numbers of this shape; all episodes are unchanged.
            SettingError: an episode has ended and autoreset is disabled.
        """
        checked = check_actions(actions, self.num_envs)
        if self._mode is AutoresetMode.DISABLED and self._ended.any():
            raise SettingError(
                f"the episodes of slots {np.flatnonzero(self._ended).tolist()} have ended: reset "
                "them with options={'reset_mask': mask}, or choose another autoreset mode"
            )
        stale = [int(i) for i in np.flatnonzero(self._ended)]
        running = [i for i in range(self.num_envs) if not self._ended[i]]
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=bool)
        successes = self._batch.step(running, checked[running])
        last: dict[int, dict[str, Any]] = {}
        for i, success in zip(running, successes, strict=True):
            rewards[i], terminated[i], truncated[i], last[i] = self._slots[i].outcome(bool(success))
            self._observations[i] = self._slots[i].observe()
        infos = self._reset(stale, [None] * self.num_envs, {})
        self._ended = terminated | truncated
        if self._mode is AutoresetMode.SAME_STEP:
            infos = self._replace_ended(last)
        for i, info in last.items():
            infos = self._add_info(infos, info, i)
        return self._stack(), rewards, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return an upright picture of each slot, uint8 (H, W, 3), in mode rgb_array."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(slot.picture() for slot in self._slots)

    def close_extras(self) -> None:
        """Stop the threads and free the renderer."""
        self._batch.close()
        self._pictures.close()

    def _seeds(
        self, seed: SupportsIndex | Sequence[SupportsIndex | None] | None
    ) -> list[int | None]:
        """Return each slot's seed, or None where its generator draws it.

        Raises:
            SettingError: wrong number of seeds, or one that is none or outside 0..2^32 - 1.
        """
        if seed is None:
            return [None] * self.num_envs
        seeds: Any = seed
        if not isinstance(seeds, Sequence) and np.ndim(seeds) == 0:
            first = check_seed(seeds)
            return [check_seed(first + i) for i in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise SettingError(f"{len(seeds)} seeds for {self.num_envs} environments")
        return [None if one is None else check_seed(one) for one in seeds]

    def _reset(
        self, slots: list[int], seeds: Sequence[int | None], options: dict[str, Any]
    ) -> dict[str, Any]:
        """Start episodes in `slots`, note their observations and return their infos."""
        infos: dict[str, Any] = {}
        for i in slots:
            info = self._slots[i].begin(self._generators[i], seeds[i], options)
            infos = self._add_info(infos, info, i)
        self._batch.settle(slots, self._settings.settle_steps)
        for i in slots:
            self._observations[i] = self._slots[i].observe()
        self._ended[slots] = False
        return infos

    def _replace_ended(self, last: dict[int, dict[str, Any]]) -> dict[str, Any]:
        """Start episodes where one has ended; its `last` info moves to `final_info`."""
        ended = [int(i) for i in np.flatnonzero(self._ended)]
        final = [{"final_obs": self._observations[i], "final_info": last.pop(i)} for i in ended]
        infos = self._reset(ended, [None] * self.num_envs, {})
        for i, info in zip(ended, final, strict=True):
            infos = self._add_info(infos, info, i)
        return infos

    def _stack(self) -> Observation:
        """Return the slots' observations as one new batch."""
        space = self.single_observation_space
        batch: Any = create_empty_array(space, self.num_envs)
        stacked: Any = concatenate(space, self._observations, batch)
        return stacked


def register() -> None:
    """Make `dlr/Libero-v0` known to Gymnasium, once."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(
            id=ENV_ID,
            entry_point=f"{__name__}:LiberoEnv",
            vector_entry_point=f"{__name__}:LiberoVectorEnv",
        )


register()
