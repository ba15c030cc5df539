"""A point mass with the interface of `BatchEnvironment`, and demonstrations in three ways."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from common.errors import RenderError
from demonstrations.demonstration import Demonstration, Moments
from simulation.scene import Fixtures

DIFFERENCES = ("carry_side", "rim", "yaw", "carry_height")


def synthetic_trajectories(
    difference: str, count: int = 120, seed: int = 0
) -> tuple[list[np.ndarray], list[str]]:
    """Return proprioceptive states (T_i, 8) of pick-and-place in three ways, and the ways.

    Object and goal vary by several centimetres, speed by a factor of two; noise is smooth.
    """
    rng = np.random.default_rng(seed)
    trajectories, ways = [], []
    for i in range(count):
        way = i % 3
        trajectories.append(_pick_and_place(difference, way - 1, rng))
        ways.append(f"way{way}")
    return trajectories, ways


def _pick_and_place(difference: str, way: int, rng: np.random.Generator) -> np.ndarray:
    home = np.array([-0.1, 0.0, 1.15]) + rng.normal(0, 0.01, 3)
    item = np.array([0.05, -0.1, 0.92]) + np.append(rng.uniform(-0.04, 0.04, 2), 0)
    goal = np.array([0.05, 0.2, 0.95]) + np.append(rng.uniform(-0.03, 0.03, 2), 0)
    up, middle, yaw = np.array([0, 0, 0.12]), np.array([0.0, 0.0, 0.14]), 0.0
    if difference == "carry_side":
        middle = middle + np.array([0.1 * way, 0, 0])
    if difference == "rim":
        angle = 2 * np.pi * way / 3
        offset = 0.05 * np.array([np.cos(angle), np.sin(angle), 0])
        item, goal = item + offset, goal + offset
    if difference == "yaw":
        yaw = np.deg2rad(50) * way
    if difference == "carry_height":
        middle = middle + np.array([0, 0, 0.07 * way])
    points = np.stack([home, item + up, item, item, (item + goal) / 2 + middle, goal + up, goal])
    yaws = np.array([0, yaw, yaw, yaw, yaw, 0, 0]) + rng.normal(0, 0.03, 7)
    steps = rng.integers(10, 24, 6) + 2
    times = np.append(0, np.cumsum(steps))
    at = np.arange(times[-1])
    position = np.stack([np.interp(at, times, c) for c in points.T], axis=1)
    noise = CubicSpline(times, rng.normal(0, 0.006, (7, 3)))(at)
    down = Rotation.from_rotvec([np.pi, 0, 0])
    turn = Rotation.from_rotvec(np.interp(at, times, yaws)[:, None] * [0, 0, 1])
    closed = (at > times[2]) & (at < times[6] - 3)
    finger = np.where(closed, 0.02, 0.04)[:, None] * [1, -1]
    tremor = Rotation.from_rotvec(rng.normal(0, 0.01, (len(at), 3)))
    return np.concatenate([position + noise, (turn * down * tremor).as_rotvec(), finger], axis=1)


class PointMass:
    """A gripper without a body that carries an item to a goal; the pace of real tasks, no physics.

    Grasping takes 1.5 cm of precision, which a clone of few demonstrations often misses.
    """

    def reset(self, seed: int, init_index: int | None) -> None:
        rng = np.random.default_rng(seed if init_index is None else [7, init_index])
        self.eef = np.array([-0.1, 0.0, 0.25]) + rng.normal(0, 0.01, 3)
        self.item = np.append(rng.uniform([0.01, -0.14], [0.09, -0.06]), 0.0)
        self.goal = np.append(rng.uniform([0.02, 0.17], [0.08, 0.23]), 0.0)
        self.closed, self.held, self.time = False, False, 0.0

    def state(self) -> np.ndarray:
        return np.concatenate([[self.time], self.eef, self.item, self.goal])

    def resume(
        self, seed: int, state: np.ndarray, fixtures: Fixtures, grips: Sequence[float]
    ) -> None:
        self.time, (self.eef, self.item, self.goal) = state[0], np.split(state[1:].copy(), 3)
        self.closed = len(grips) > 0 and grips[-1] > 0
        self.held = self.closed and bool(np.array_equal(self.eef, self.item))

    def step(self, action: np.ndarray) -> bool:
        self.time += 0.05
        motion = 0.04 * np.clip(np.asarray(action[:3], dtype=np.float64), -1, 1)
        self.eef = self.eef + motion
        self.eef[2] = max(self.eef[2], 0.0)
        closes = bool(action[6] > 0)
        if closes and not self.closed:
            self.held = bool(np.linalg.norm(self.eef - self.item) < 0.015)
        self.closed = closes
        self.held = self.held and closes
        if self.held:
            self.item = self.eef.copy()
        elif self.item[2] > 0:
            self.item = np.append(self.item[:2], 0.0)
        return bool(not self.held and np.linalg.norm(self.item - self.goal) < 0.02)

    def policy_state(self) -> np.ndarray:
        parts = [self.eef, [float(self.closed)], self.item, self.goal]
        return np.concatenate([*parts, self.item - self.eef, self.goal - self.eef, [1.0]])

    def proprio(self) -> np.ndarray:
        finger = 0.02 if self.closed else 0.04
        return np.concatenate([self.eef, [np.pi, 0, 0], [finger, -finger]])

    def joints(self) -> np.ndarray:
        return np.zeros(7)

    def touching(self) -> bool:
        return self.closed

    def fixtures(self) -> Fixtures:
        return Fixtures(("table",), np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]))


class Dots:
    """Draws the point mass's task as three squares: seen from above, or from the side."""

    digest = "dots"

    def __init__(self) -> None:
        self.cameras = {"top": (0, 1), "side": (1, 2)}
        self.drawn = 0

    def draw(
        self, scenes: Sequence[tuple[np.ndarray, Any]], cameras: Sequence[str], size: int
    ) -> np.ndarray:
        self.drawn += len(scenes) * len(cameras)
        pictures = np.full((len(scenes), len(cameras), size, size, 3), 40, np.uint8)
        for i, (state, _) in enumerate(scenes):
            for k, camera in enumerate(cameras):
                if camera not in self.cameras:
                    raise RenderError(f"no camera {camera!r}; this task has top, side")
                for colour, point in enumerate(np.split(state[1:], 3)):
                    x, y = ((point[list(self.cameras[camera])] + 0.3) / 0.6 * size).astype(int)
                    pictures[i, k, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2, colour] = 255
        return pictures


class PointMasses:
    """Point masses with the interface of `BatchEnvironment`."""

    def __init__(self, num_envs: int = 8) -> None:
        self.num_envs = num_envs
        self.envs = [PointMass() for _ in range(num_envs)]
        self.painters = Dots()
        self.steps = 0

    def reset(
        self, slots: Sequence[int], seeds: Sequence[int], init_indices: Sequence[int | None]
    ) -> None:
        for slot, seed, init_index in zip(slots, seeds, init_indices, strict=True):
            self.envs[slot].reset(seed, init_index)

    def step(self, slots: Sequence[int], actions: np.ndarray) -> np.ndarray:
        self.steps += len(slots)
        pairs = zip(slots, actions, strict=True)
        return np.array([self.envs[slot].step(action) for slot, action in pairs])

    def policy_state(self, slots: Sequence[int]) -> np.ndarray:
        return np.stack([self.envs[slot].policy_state() for slot in slots])

    def coarse(self, substeps: int) -> AbstractContextManager[None]:
        return nullcontext()

    def proprio(self, slots: Sequence[int]) -> np.ndarray:
        return np.stack([self.envs[slot].proprio() for slot in slots])


def point_mass_demonstrations(count: int = 45, noise: float = 0.15) -> list[Demonstration]:
    """Return successful demonstrations that carry the item left, straight or right."""
    found: list[Demonstration] = []
    seed = 0
    while len(found) < count:
        demonstration = _demonstrate(seed, len(found) % 3 - 1, noise)
        seed += 1
        if demonstration is not None:
            found.append(demonstration)
    return found


def _demonstrate(seed: int, way: int, noise: float) -> Demonstration | None:
    env, rng = PointMass(), np.random.default_rng([seed, 99])
    env.reset(seed, None)
    up = np.array([0.0, 0.0, 1.0])
    via = (env.item + env.goal) / 2 + [0.12 * way, 0, 0.15]
    targets = [(env.item + 0.1 * up, -1), (env.item, -1), (env.item, 1), (via, 1)]
    targets += [(env.goal + 0.05 * up, 1), (env.goal, 1), (env.goal, -1)]
    observations, proprio, actions, states = [], [], [], []
    for target, gripper in targets:
        for _ in range(25):
            toward = np.clip((target - env.eef) / 0.04 * 0.5, -1, 1)
            action = np.append(toward + rng.normal(0, noise, 3), [0, 0, 0, gripper])
            observations.append(env.policy_state())
            proprio.append(env.proprio())
            actions.append(action)
            states.append(env.state())
            if env.step(action):
                return Demonstration(
                    np.stack(observations),
                    np.stack(proprio),
                    np.stack(actions),
                    f"way{way + 1}",
                    Moments(np.stack(states), seed, env.fixtures()),
                )
            if np.linalg.norm(target - env.eef) < 0.012:
                break
    return None


def kill_when(appeared: Callable[[], bool], code: str) -> None:
    """Run `code` in a Python of its own and end it by SIGKILL as soon as `appeared()`."""
    tests = Path(__file__).resolve().parents[1]
    prelude = (
        f"import sys, types; sys.path.insert(0, {str(tests.parent)!r}); from pathlib import Path; "
        f"sys.modules['tests'] = types.ModuleType('tests'); "
        f"sys.modules['tests'].__path__ = [{str(tests)!r}]; "
    )
    process = subprocess.Popen([sys.executable, "-c", prelude + code])
    while not appeared():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def demonstrations() -> list[Demonstration]:
    """Forty-five demonstrations of the point mass's task, in three ways."""
    return point_mass_demonstrations()
