"""One LIBERO task as a seedable environment, and batches of them stepped on threads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import SupportsIndex

import mujoco
import numpy as np

from common.errors import InvalidStateError, SettingError
from common.machine import cores
from simulation.arguments import check_action, check_seed, whole_number
from simulation.assets.resolve import AssetPack
from simulation.physics.control import ControllerState, ControlLoop, SimulatorView, control_step
from simulation.physics.sampling import Sample
from simulation.pictures.pool import PicturePool
from simulation.policy_state import PolicyState
from simulation.scene import Fixtures, Scene, load_scene
from simulation.tasks import Task
from simulation.touch import FingerTouch

SETTLE_STEPS = 10
"""Control steps for which objects fall and come to rest before an episode (OpenVLA's protocol)."""
SETTLE_ACTION = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
"""What is applied meanwhile: stay, with the gripper open."""
FEWEST_SUBSTEPS = 10
"""Of 5 ms each: the fingers' contacts, whose time constant is 10 ms, bear no longer ones."""


class Environment:
    """One LIBERO task on the compiled control loop.

    States and success equal, bit for bit, those of a newly made upstream `ControlEnv` after
    `seed(seed)`, `reset()` and, where an init state is given, `set_init_state(...)`; the first
    action's goal, which upstream computes from the pose before `set_init_state`, included. That
    is a `ControlEnv` without a renderer: upstream's own `OffScreenRenderEnv` differs from it in
    the last bits from the first step on, which contacts can amplify (after 300 random steps on
    LIBERO-Object's butter to 1e-9). `state` and `joints` are of the end of a step, and poses that
    are read then are a simulator step older: see `proprio`. `simulation.observations` has what
    upstream's `step` returns, up to 4 ms older than the end.

    Args:
        task: the task.
        assets: asset pack; by default the first that `resolve_assets` finds.
        scene: the task's compiled scene; by default the one that every environment shares.
    """

    def __init__(
        self, task: Task, assets: AssetPack | None = None, scene: Scene | None = None
    ) -> None:
        self.scene: Scene = scene or load_scene(task, assets)
        self.task = task
        self.model = self.scene.new_model()
        self.data = mujoco.MjData(self.model)
        self.seed = 0
        self.init_index: int | None = None
        self._controller = ControllerState.zeros()
        self._view = SimulatorView.of(self.model, self.data)
        self._timestep = self.model.opt.timestep
        self.set_substeps(self.scene.robot.substeps)
        self._init_states: np.ndarray | None = None
        self._policy_state = PolicyState(self.scene)
        self.reset(seed=0)

    def set_substeps(self, substeps: int) -> None:
        """Set how many simulator steps a control step has from now on.

        Upstream's 25, of 2 ms each, are exact. Fewer and longer ones are faster and nearly the
        same (docs/simulation.md, "Coarse physics").

        Args:
            substeps: 10 to 25; longer steps than 5 ms would soften the fingers' contacts.

        Raises:
            SettingError: another number.
        """
        exact = self.scene.robot
        if not FEWEST_SUBSTEPS <= substeps <= exact.substeps:
            raise SettingError(
                f"a control step has {FEWEST_SUBSTEPS} to {exact.substeps} simulator steps, "
                f"not {substeps}"
            )
        longer = exact.substeps / substeps
        self.model.opt.timestep = self._timestep * longer
        self._robot = exact._replace(substeps=substeps, ramp=exact.ramp * longer)
        self._loop = ControlLoop(self._view, self._robot, self._controller)

    def reset(
        self,
        seed: SupportsIndex,
        init_index: SupportsIndex | None = None,
        init_state: np.ndarray | None = None,
        fixtures: Fixtures | None = None,
    ) -> None:
        """Start an episode.

        Args:
            seed: draws fixture poses and, where no init state is given, object poses; 0 to
                2^32 - 1.
            init_index: official init state to start from, 0 to 49.
            init_state: any state to start from, float64 (1 + nq + nv,), instead of an index.
            fixtures: fixture poses to use instead of the drawn ones (to replay an episode).

        Raises:
            InvalidStateError: the index or the state does not belong to this task.
            SettingError: there is no such seed.
        """
        seed = check_seed(seed)
        if init_index is not None:
            init_index = whole_number(init_index, "an init index", InvalidStateError)
            init_state = self._official_state(init_index)
        if init_state is not None:
            init_state = self.scene.check_state(init_state)
        placement = self.scene.sample_placement(seed)
        self._place_fixtures(fixtures or placement.fixtures)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = placement.qpos
        self.data.qacc_warmstart[:] = placement.warmstart
        self._controller.assign(self.scene.initial_controller)
        self.seed, self.init_index = seed, init_index
        self._view.sample.start(self.data.qpos, self.data.qvel)
        if init_state is not None:
            self._assign(init_state)
            self._view.sample.force(self.data.qpos, self.data.qvel)
        mujoco.mj_forward(self.model, self.data)
        if init_state is None:
            self.data.qacc_warmstart[:] = placement.warmstart

    def resume(
        self, seed: int, state: np.ndarray, fixtures: Fixtures, grips: Sequence[float]
    ) -> None:
        """Start in the midst of an episode: the arm at rest in `state`, the fingers as they were.

        Unlike after `reset` with a state, the first action's goal is computed from this pose.

        Args:
            seed: of the episode's reset.
            state: as `state()` returned it, float64 (1 + nq + nv,).
            fixtures: of the episode.
            grips: seventh action of each step so far.

        Raises:
            InvalidStateError: the state does not belong to this task.
        """
        self.reset(seed, init_state=state, fixtures=fixtures)
        self.set_state(state)
        controller, change = self._controller, np.array([-1.0, 1.0]) * self._robot.ramp
        for grip in grips:
            ramped = controller.gripper + change * np.sign(grip) * self._robot.substeps
            controller.gripper[:] = np.clip(ramped, -1.0, 1.0)
        controller.stale[0] = 0

    def step(self, action: np.ndarray) -> bool:
        """Apply one action for 50 ms and return whether the task's goal holds.

        Args:
            action: (7,) in [-1, 1]: translation (x 0.05 m), rotation (x 0.5 rad), gripper
                (-1 opens, +1 closes). Values outside are clipped, as upstream does.

        Raises:
            InvalidActionError: not seven finite real numbers; the episode is unchanged.
        """
        control_step(self._loop, check_action(action))
        return self.success()

    def settle(self, steps: int = SETTLE_STEPS) -> None:
        """Let the objects, which a reset leaves above the table, come to rest."""
        for _ in range(steps):
            control_step(self._loop, SETTLE_ACTION)

    def restart(self) -> None:
        """Start the episode from the present state, as whoever replays it from its file will.

        The controller and the solver forget what came before: then the actions lead to the very
        same states after `reset(seed, init_state=..., fixtures=...)`.
        """
        index = self.init_index
        self.reset(self.seed, init_state=self.state(), fixtures=self.fixtures())
        self.init_index = index

    def success(self) -> bool:
        """Return whether the task's goal predicate holds."""
        return self.scene.success(self.model, self.data)

    def touching(self) -> bool:
        """Return whether a finger touches anything but the robot."""
        return self._touch(self.data)

    @functools.cached_property
    def _touch(self) -> FingerTouch:
        return FingerTouch(self.model)

    def state(self) -> np.ndarray:
        """Return the simulator's state: time, qpos, qvel; float64 (1 + nq + nv,)."""
        return np.concatenate(([self.data.time], self.data.qpos, self.data.qvel))

    def set_state(self, state: np.ndarray) -> None:
        """Set time, qpos and qvel and bring all derived quantities up to date.

        Raises:
            InvalidStateError: the state does not belong to this task.
        """
        self._assign(self.scene.check_state(state))
        mujoco.mj_forward(self.model, self.data)
        self._view.sample.force(self.data.qpos, self.data.qvel)

    def fixtures(self) -> Fixtures:
        """Return the fixtures' poses of this episode."""
        bodies = self.scene.fixture_bodies
        return Fixtures(
            self.scene.fixture_names,
            self.model.body_pos[bodies].copy(),
            self.model.body_quat[bodies].copy(),
        )

    def proprio(self) -> np.ndarray:
        """Return LIBERO's 8-D state: end-effector position (m, world), axis-angle, gripper.

        After `step` the fingers are of its end, the pose is of before its last simulator step (2
        ms, or 4.2 ms of 12): MuJoCo computes poses before it advances the joints, and so what
        upstream's sensors would read then is the same. After `reset` and `set_state` both are of
        the present. docs/simulation.md has how much that is ("The moment of poses").
        """
        quaternion = self.data.xquat[self.scene.eef_body]
        return np.concatenate(
            (
                self.data.site_xpos[self.scene.robot.site],
                axis_angle(quaternion),
                self.data.qpos[self.scene.gripper_qpos],
            )
        )

    def joints(self) -> np.ndarray:
        """Return the arm's joint angles, rad, (7,)."""
        return self.data.qpos[self.scene.robot.qpos]

    @property
    def sample(self) -> Sample:
        """What upstream's observations are computed from; see `simulation.observations`."""
        return self._view.sample

    @property
    def policy_state_names(self) -> tuple[str, ...]:
        """Name of each number of `policy_state()`."""
        return self._policy_state.names

    def policy_state(self) -> np.ndarray:
        """Return what a state-based policy sees: see `simulation.policy_state`; float64 (P,).

        After `step` its poses are a simulator step older than its joints, as in `proprio`.
        """
        return self._policy_state.read(self.model, self.data)

    def object_position(self, name: str) -> np.ndarray:
        """Return the origin of an object, fixture or site of the task, m, world frame (3,).

        Raises:
            KeyError: the task has nothing of this name.
        """
        for kind, positions in (("site", self.data.site_xpos), ("body", self.data.xpos)):
            for candidate in (name, f"{name}_main"):
                index = mujoco.mj_name2id(
                    self.model, getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}"), candidate
                )
                if index >= 0:
                    return positions[index].copy()
        raise KeyError(f"{self.task.name} has no site or body {name!r}")

    def _official_state(self, index: int) -> np.ndarray:
        if self._init_states is None:
            self._init_states = self.task.init_states()
        if not 0 <= index < len(self._init_states):
            raise InvalidStateError(
                f"init index {index} is outside 0..{len(self._init_states) - 1}"
            )
        return self._init_states[index]

    def _assign(self, state: np.ndarray) -> None:
        nq = self.model.nq
        self.data.time = state[0]
        self.data.qpos[:] = state[1 : 1 + nq]
        self.data.qvel[:] = state[1 + nq :]

    def _place_fixtures(self, fixtures: Fixtures) -> None:
        if fixtures.names != self.scene.fixture_names:
            raise InvalidStateError(
                f"fixtures {fixtures.names} do not belong to {self.task.name}, "
                f"which has {self.scene.fixture_names}"
            )
        self.model.body_pos[self.scene.fixture_bodies] = fixtures.positions
        self.model.body_quat[self.scene.fixture_bodies] = fixtures.quaternions


class BatchEnvironment(AbstractContextManager["BatchEnvironment"]):
    """Environments of one task, stepped in lockstep on threads with the GIL released.

    Results depend on seeds and actions alone, not on the number of threads. Close them.

    Args:
        task: the task.
        num_envs: number of environments ("slots").
        assets: asset pack; by default the first that `resolve_assets` finds.
        num_threads: threads that step; by default one per core that this process may use.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        assets: AssetPack | None = None,
        num_threads: int | None = None,
    ) -> None:
        self.task, self.num_envs = task, num_envs
        self.envs = [Environment(task, assets) for _ in range(num_envs)]
        self.num_threads = num_threads or cores()
        self._pool = ThreadPoolExecutor(self.num_threads)
        self.painters = PicturePool(task, self.envs[0].scene.assets, self.num_threads)

    def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int],
        init_indices: Sequence[int | None],
    ) -> None:
        """Start an episode in each of `slots` and let it settle; see `Environment.reset`."""
        for slot, seed, init_index in zip(slots, seeds, init_indices, strict=True):
            self.envs[slot].reset(seed, init_index)
        self.settle(slots)

    def settle(self, slots: Sequence[int], steps: int = SETTLE_STEPS) -> None:
        """Let the objects of `slots` come to rest."""
        self._on_threads(lambda i: self.envs[slots[i]].settle(steps), len(slots))

    def step(self, slots: Sequence[int], actions: np.ndarray) -> np.ndarray:
        """Apply actions (n, 7) to `slots` and return success, bool (n,)."""
        checked = [check_action(action) for action in actions]

        def step_one(i: int) -> None:
            control_step(self.envs[slots[i]]._loop, checked[i])

        self._on_threads(step_one, len(slots))
        return np.array([self.envs[slot].success() for slot in slots])

    @contextmanager
    def coarse(self, substeps: int) -> Iterator[None]:
        """Give every control step fewer simulator steps meanwhile: see `Environment.set_substeps`.

        Episodes under way afterwards go on with exact physics.
        """
        try:
            for environment in self.envs:
                environment.set_substeps(substeps)
            yield
        finally:
            for environment in self.envs:
                environment.set_substeps(environment.scene.robot.substeps)

    def policy_state(self, slots: Sequence[int]) -> np.ndarray:
        """Return what a state-based policy sees of `slots`, float64 (n, P)."""
        return np.stack([self.envs[slot].policy_state() for slot in slots])

    def proprio(self, slots: Sequence[int]) -> np.ndarray:
        """Return the proprioceptive states of `slots`, float64 (n, 8)."""
        return np.stack([self.envs[slot].proprio() for slot in slots])

    def _on_threads(self, work: Callable[[int], None], count: int) -> None:
        """Call `work` for 0 .. count - 1, shared out over the threads."""

        def run(share: range) -> None:
            for i in share:
                work(i)

        shares = [range(i, count, self.num_threads) for i in range(self.num_threads)]
        list(self._pool.map(run, shares))

    def close(self) -> None:
        """Stop the threads, and free what they drew with."""
        self._pool.shutdown()
        self.painters.close()

    def __exit__(self, *raised: object) -> None:
        """Close them."""
        self.close()


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Return the axis-angle vector, rad (3,), of a (w, x, y, z) quaternion.

    robosuite's conversion: no antipodal flip, so the angle lies in [0, 2 pi].
    """
    w = min(max(float(quaternion[0]), -1.0), 1.0)
    sine = np.sqrt(1.0 - w * w)
    if sine == 0.0:
        return np.zeros(3)
    return quaternion[1:] * 2.0 * np.arccos(w) / sine
