"""Episodes as Gymnasium's interfaces see them: settings, resets, observations and outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from common.errors import SettingError
from simulation.arguments import whole_number
from simulation.assets.resolve import resolve_assets
from simulation.environment import SETTLE_STEPS, Environment
from simulation.observations import (
    JOINT_DIM,
    NUMBER_SETS,
    PICTURE_SETS,
    PROPRIO_DIM,
    SETS,
    Observer,
)
from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer
from simulation.starts import SEEDS, stored_index
from simulation.tasks import get_task

RANDOM = "random"
"""Value of `init_index` that draws one of the official init states at each reset."""
_OPTIONS = {"init_index", "init_state"}

Observation = np.ndarray | dict[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """Settings of an environment, the keyword arguments of `gymnasium.make`."""

    task: str
    """`suite/name` of the task, or its name alone."""
    observation: str | tuple[str, ...] = "proprio"
    """Sets of `simulation.observations`. One of numbers alone is the array itself; otherwise
    observations are dictionaries with the keys listed there."""
    init_index: int | str | None = None
    """Official init state of every episode, 0 to 49; "random" for one drawn at each reset;
    None for objects placed afresh at each reset."""
    horizon: int | None = None
    """Steps after which an episode is truncated; by default the task's own."""
    settle_steps: int = SETTLE_STEPS
    """Steps with the gripper open that a reset adds, during which objects come to rest."""
    assets: str | Path | None = None
    """`libero`, `embedded` or a folder of assets; by default the first that is found."""
    cameras: tuple[str, ...] = DEFAULT_CAMERAS
    """Cameras of the picture sets, of which `render` shows the first; or the name of one."""
    width: int = 256
    """Width of pictures, pixels."""
    height: int = 256
    """Height of pictures, pixels."""

    def __post_init__(self) -> None:
        """Check what no other part will check.

        Raises:
            SettingError: unknown observation set, no camera, or a number that is out of range.
        """
        cameras: Any = self.cameras
        object.__setattr__(self, "cameras", (cameras,) if isinstance(cameras, str) else (*cameras,))
        if not self.cameras:
            raise SettingError("cameras must name at least one, which pictures are of")
        unknown = [name for name in self.sets if name not in SETS]
        if unknown or not self.sets:
            raise SettingError(f"unknown observation {unknown}; the sets are {', '.join(SETS)}")
        _check_index(self.init_index)
        if self.settle_steps < 0 or (self.horizon is not None and self.horizon < 1):
            raise SettingError("settle_steps must be at least 0 and horizon at least 1")

    @property
    def sets(self) -> tuple[str, ...]:
        """The observation sets as a tuple."""
        return (self.observation,) if isinstance(self.observation, str) else (*self.observation,)

    @property
    def is_array(self) -> bool:
        """Whether an observation is one array rather than a dictionary."""
        return isinstance(self.observation, str) and self.observation not in PICTURE_SETS

    def make(self) -> Environment:
        """Make the simulator's environment."""
        return Environment(get_task(self.task), resolve_assets(self.assets))


class Pictures:
    """A renderer that is made when first asked for, and shared by environments of one task."""

    def __init__(self, settings: Settings, env: Environment) -> None:
        self._settings, self._env = settings, env
        self._renderer: Renderer | None = None

    @property
    def renderer(self) -> Renderer:
        """The renderer."""
        if self._renderer is None:
            scene, size = self._env.scene, self._settings
            self._renderer = Renderer(scene.task, scene.assets, size.width, size.height)
        return self._renderer

    def close(self) -> None:
        """Free the renderer, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class Slot:
    """The episode of one environment, under a single or a vectorised interface."""

    def __init__(self, env: Environment, settings: Settings, pictures: Pictures) -> None:
        self.env, self._settings, self._pictures = env, settings, pictures
        self._observer = Observer(env)
        self._horizon = settings.horizon or env.task.horizon
        self.steps = 0

    def begin(
        self, rng: np.random.Generator, seed: int | None, options: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Reset the simulator, without settling, and return the reset's info.

        Raises:
            InvalidStateError: the init index or state does not belong to this task.
            SettingError: unknown option, no such seed, or an init index that is no number.
        """
        options = options or {}
        if unknown := options.keys() - _OPTIONS:
            raise SettingError(
                f"unknown reset options {sorted(unknown)}; there are {sorted(_OPTIONS)}"
            )
        index = _check_index(options.get("init_index", self._settings.init_index))
        if seed is None:
            seed = int(rng.integers(SEEDS))
        if "init_state" in options:
            index = None
        if isinstance(index, str):
            index = int(rng.integers(len(self.env.task.init_states())))
        self.env.reset(seed, index, options.get("init_state"))
        self.steps = 0
        return {"seed": seed, "init_index": stored_index(index)}

    def observe(self) -> Observation:
        """Return the observation that the settings ask for."""
        sets, size = self._settings, (self._settings.height, self._settings.width)
        values = {
            name: getattr(self._observer, name)() for name in sets.sets if name in NUMBER_SETS
        }
        wanted = [name for name in sets.sets if name in PICTURE_SETS]
        if wanted:
            renderer = self._pictures.renderer
            values |= self._observer.pictures(renderer, wanted, sets.cameras, size)
        return next(iter(values.values())) if sets.is_array else values

    def outcome(self, success: bool) -> tuple[float, bool, bool, dict[str, Any]]:
        """Count a step; return reward, terminated, truncated and info."""
        self.steps += 1
        truncated = not success and self.steps >= self._horizon
        return float(success), success, truncated, {"success": success}

    def picture(self) -> np.ndarray:
        """Return an upright picture of the present state, uint8 (height, width, 3)."""
        size, env = self._settings, self.env
        return self._pictures.renderer.render(
            env.state(), env.fixtures(), size.cameras[0], size.width, size.height
        )


def _check_index(index: Any) -> int | str | None:
    """Return an init index as an int, RANDOM or None.

    Raises:
        SettingError: it is something else.
    """
    if index is None or (isinstance(index, str) and index == RANDOM):
        return index
    return whole_number(index, f"an init_index other than None and {RANDOM!r}", SettingError)


def observation_space(settings: Settings, env: Environment) -> spaces.Space[Any]:
    """Return the space of one environment's observations."""
    height, width = settings.height, settings.width
    lengths = {
        "proprio": PROPRIO_DIM,
        "joint": JOINT_DIM,
        "privileged": len(Observer(env).privileged_names),
    }
    boxes: dict[str, spaces.Space[Any]] = {}
    for name in settings.sets:
        if name in lengths:
            boxes[name] = spaces.Box(-np.inf, np.inf, (lengths[name],), np.float64)
            continue
        for camera in settings.cameras:
            key, channels, dtype, low, high = PICTURE_SETS[name]
            shape = (height, width, channels)
            boxes[f"{camera}_{key}"] = spaces.Box(low, high, shape, dtype)
    return next(iter(boxes.values())) if settings.is_array else spaces.Dict(boxes)
