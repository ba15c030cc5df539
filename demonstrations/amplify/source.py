"""A recorded demonstration replayed: where the hand was sent, and where all things were."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from common.errors import DemonstrationError
from demonstrations.amplify.rotations import from_vector
from demonstrations.amplify.shapes import Box, box_of
from simulation.environment import Environment
from simulation.physics.goal import POSITION_SCALE, ROTATION_SCALE
from simulation.recordings.recordings import Recording
from simulation.tasks import Task
from simulation.touch import FINGERS


@dataclass(frozen=True)
class Frames:
    """Poses of the bodies and sites of a scene at one moment, world frame."""

    env: Environment
    """Environment in this state, for what else is asked of it."""

    def of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) and rotation (3, 3) of an object, fixture, or region.

        A region's rotation is that of the thing that it is a part of: regions' own axes lie
        in any direction.

        Raises:
            DemonstrationError: the scene has nothing of this name.
        """
        model, data = self.env.model, self.env.data
        site = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name)
        if site >= 0:
            root = int(model.body_rootid[model.site_bodyid[site]])
            return data.site_xpos[site].copy(), data.xmat[root].reshape(3, 3).copy()
        body = self.body(name)
        return data.xpos[body].copy(), data.xmat[body].reshape(3, 3).copy()

    def body(self, name: str) -> int:
        """Return the id of a thing's root body.

        Raises:
            DemonstrationError: the scene has nothing of this name.
        """
        for candidate in (f"{name}_main", name):
            body = mujoco.mj_name2id(self.env.model, mujoco.mjtObj.mjOBJ_BODY, candidate)
            if body >= 0:
                return int(body)
        raise DemonstrationError(f"{self.env.task.key} has no object, fixture or region {name!r}")


@dataclass(frozen=True)
class Source:
    """One demonstration of T steps, replayed; world frame, m."""

    task: Task
    """Its task."""
    states: np.ndarray
    """Simulator states before each action and after the last one, float64 (T + 1, N)."""
    hand: np.ndarray
    """Positions of the grip site, (T + 1, 3)."""
    hand_rotation: np.ndarray
    """Rotations of the grip site, (T + 1, 3, 3)."""
    goal: np.ndarray
    """Positions that the actions sent the grip site to, (T, 3)."""
    goal_rotation: np.ndarray
    """Rotations that they sent it to, (T, 3, 3)."""
    gripper: np.ndarray
    """Gripper commands, positive to close, (T,)."""
    objects: dict[str, tuple[np.ndarray, np.ndarray]]
    """Movable object -> positions (T + 1, 3) and rotations (T + 1, 3, 3)."""
    boxes: dict[str, Box]
    """Movable object -> its size."""
    touched: dict[str, np.ndarray]
    """Movable object -> whether a finger touched it, bool (T + 1,)."""
    joints: np.ndarray
    """Joints of drawers, doors and knobs, m or rad, (T + 1, J)."""
    atoms: np.ndarray
    """Whether each predicate of the goal held after the actions, bool (T, G)."""

    def __len__(self) -> int:
        """Return the number of control steps."""
        return len(self.goal)


def replay(recording: Recording, env: Environment) -> Source:
    """Return a recording with all that it went through.

    Where the file holds states, they are taken; else the actions are simulated from the first
    state (whose fixtures' poses are drawn where the file has none).

    Args:
        recording: the recording.
        env: an environment of its task, whose state is overwritten.

    Raises:
        DemonstrationError: it is of another robot, or the goal never holds in it.
        InvalidStateError: its states are not of the task.
    """
    actions = recording.actions
    if actions.ndim != 2 or actions.shape[1] != 7:
        raise DemonstrationError(
            f"a recording of {recording.task.key} has actions of shape {actions.shape}, but "
            "LIBERO's robot takes (T, 7): record it with the Panda and OSC_POSE"
        )
    env.reset(0, init_state=recording.init_state, fixtures=recording.fixtures)
    states = recording.states
    if states is None:
        states = _simulate(env, recording.init_state, actions)
    if len(states) == len(actions):
        actions = actions[:-1]
    source = _observe(env, states, actions)
    if not source.atoms.all(axis=1).any():
        raise DemonstrationError(
            f"a recording of {recording.task.key} does not reach the goal when it is replayed "
            f"with the asset pack {env.scene.assets.name}: people's want LIBERO's own "
            "(`dlr assets install`)"
        )
    return source


def _simulate(env: Environment, first: np.ndarray, actions: np.ndarray) -> np.ndarray:
    states = [first]
    for action in actions:
        env.step(action)
        states.append(env.state())
    return np.stack(states)


def _observe(env: Environment, states: np.ndarray, actions: np.ndarray) -> Source:
    model, data, scene = env.model, env.data, env.scene
    site, moving = scene.robot.site, np.array([item.body for item in scene.objects], dtype=int)
    fingers = [b for b in range(model.nbody) if model.body(b).name in FINGERS]
    is_finger = np.isin(model.geom_bodyid, fingers) | np.isin(
        model.body_parentid[model.geom_bodyid], fingers
    )
    owner = model.body_rootid[model.geom_bodyid]
    hand, rotation, places, turns, touches, joints, atoms = [], [], [], [], [], [], []
    for state in states:
        env.set_state(state)
        hand.append(data.site_xpos[site].copy())
        rotation.append(data.site_xmat[site].reshape(3, 3).copy())
        places.append(data.xpos[moving].copy())
        turns.append(data.xmat[moving].reshape(-1, 3, 3).copy())
        pairs = data.contact.geom[: data.ncon]
        pairs = pairs[is_finger[pairs].any(axis=1)] if len(pairs) else pairs
        touches.append(np.isin(moving, owner[pairs].ravel()))
        joints.append(data.qpos[scene.joint_qpos].copy())
        atoms.append([atom(model, data) for atom in scene.atoms])
    bounded = np.clip(actions, -1.0, 1.0)
    turned = [
        from_vector(a[3:6] * ROTATION_SCALE) @ r for a, r in zip(bounded, rotation, strict=False)
    ]
    names = [item.name for item in scene.objects]
    at, turn, touch = np.array(places), np.array(turns), np.array(touches)
    return Source(
        env.task,
        states,
        np.array(hand),
        np.array(rotation),
        np.array(hand)[:-1] + bounded[:, :3] * POSITION_SCALE,
        np.array(turned),
        np.where(actions[:, 6] > 0, 1.0, -1.0),
        {name: (at[:, i], turn[:, i]) for i, name in enumerate(names)},
        {item.name: box_of(env, item.body) for item in scene.objects},
        {name: touch[:, i] for i, name in enumerate(names)},
        np.array(joints),
        np.array(atoms)[1:],
    )
