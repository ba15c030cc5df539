"""Follows aimed clips with noise, and records the intended actions beside those applied."""

from __future__ import annotations

import numpy as np

from demonstrations.amplify.aim import AimedClip, Command, Held
from demonstrations.amplify.motions import Motion
from demonstrations.amplify.rotations import to_vector
from demonstrations.amplify.segments import Clip
from simulation.environment import Environment
from simulation.physics.goal import POSITION_SCALE, ROTATION_SCALE
from simulation.predicates import Predicate
from simulation.recordings.recorder import Recorder

_REACH = 0.03
"""Distance from the box of a held object at which the grip site can be, m."""
_NEAR = 0.008
"""Distance from where the hand should be within which the fingers may close or open, m."""
_PATIENCE = 10
"""Control steps at most that the hand is waited for."""
_RELEASE_STEPS = 10
"""Control steps for which the hand stays where it opens."""
_RETREAT_STEPS = 10
_RETREAT = 0.09
"""Distance by which the hand then goes back along its fingers, m."""
_OVERSHOOT_STEPS = 30
"""Control steps at most for which the last motion of an operation is carried on."""
_SURE_STEPS = 3
"""Control steps for which its predicate must hold."""
_LAST_STEPS = 6
"""Control steps whose mean is the last motion."""
OPEN, CLOSED = -1.0, 1.0


class Follower:
    """Moves the hand as told, and records it.

    Args:
        env: environment at the start of the episode.
        rng: draws the noise.
        noise: standard deviation of what is added to each of the six motions of an action.
    """

    def __init__(self, env: Environment, rng: np.random.Generator, noise: float) -> None:
        self.recorder = Recorder(env)
        self._env, self._rng, self._noise = env, rng, noise
        self._gripper = OPEN

    def act(self, motion: np.ndarray, gripper: float) -> None:
        """Apply a motion (6,) with noise; the intended one is recorded beside it."""
        intended = np.append(np.clip(motion, -1.0, 1.0), gripper)
        noisy = intended[:6] + self._rng.normal(0.0, self._noise, 6)
        action = np.append(np.clip(noisy, -1.0, 1.0), gripper)
        self.recorder.before(action, intended)
        self._env.step(action)
        self._gripper = gripper

    def toward(self, goal: np.ndarray, rotation: np.ndarray, gripper: float) -> None:
        """Act once toward a pose of the grip site."""
        data, site = self._env.data, self._env.scene.robot.site
        shift = (goal - data.site_xpos[site]) / POSITION_SCALE
        turn = to_vector(rotation @ data.site_xmat[site].reshape(3, 3).T) / ROTATION_SCALE
        self.act(np.concatenate((shift, turn)), gripper)

    def follow(self, clip: Clip, aimed: AimedClip, held: Held | None = None) -> bool:
        """Go through an aimed clip; the hand is waited for where its place matters.

        Returns whether what should be in the hand still is when the clip is halfway.
        """
        entry, key = aimed.index(aimed.entry), aimed.index(clip.key)
        for index in range(len(aimed)):
            if index in (entry, key):
                self._wait(aimed, index)
            if held and index in (0, entry) and self._lost(held):
                return False
            command = aimed.command(index)
            self.toward(command.goal, command.rotation, command.gripper)
        return True

    def _lost(self, held: Held) -> bool:
        """Return whether an object is farther from the grip site than it could be if held."""
        data = self._env.data
        rotation = data.xmat[held.body].reshape(3, 3)
        local = rotation.T @ (data.site_xpos[self._env.scene.robot.site] - data.xpos[held.body])
        outside = np.abs(local - held.box.center) - held.box.half
        return bool(outside.max() > _REACH)

    def _wait(self, aimed: AimedClip, index: int) -> None:
        """Stay until the hand is where the command at `index` begins, or patience ends."""
        for _ in range(_PATIENCE):
            command = aimed.command(index)
            if self._distance(command) < _NEAR:
                return
            self.toward(command.hand, command.rotation, self._gripper)

    def _distance(self, command: Command) -> float:
        hand = self._env.data.site_xpos[self._env.scene.robot.site]
        return float(np.linalg.norm(command.hand - hand))

    def release(self, drift: np.ndarray | None = None) -> None:
        """Open the fingers and go back along them.

        Args:
            drift: how the hand moved while they opened in the source, m (n, 3), repeated here;
                by default it stays where it is.
        """
        data, site = self._env.data, self._env.scene.robot.site
        place, rotation = data.site_xpos[site].copy(), data.site_xmat[site].reshape(3, 3).copy()
        drift = np.zeros((1, 3)) if drift is None or not len(drift) else drift
        for step in range(_RELEASE_STEPS):
            self.toward(place + drift[min(step, len(drift) - 1)], rotation, OPEN)
        place = place + drift[min(_RELEASE_STEPS, len(drift)) - 1]
        for step in range(_RETREAT_STEPS):
            back = _RETREAT * (step + 2) / _RETREAT_STEPS
            self.toward(place - back * rotation[:, 2], rotation, OPEN)

    def carry_on(self, clip: Clip, motion: Motion, holds: Predicate) -> None:
        """Go on with an operation's last motion until its predicate holds for sure."""
        source, reached = clip.source, clip.reached
        steps = slice(max(reached - _LAST_STEPS, clip.start), reached + 1)
        shift = (source.goal[steps] - source.hand[steps]).mean(axis=0)
        turns = [
            to_vector(goal @ hand.T)
            for goal, hand in zip(
                source.goal_rotation[steps], source.hand_rotation[steps], strict=True
            )
        ]
        moved = np.concatenate(
            (
                motion.matrix @ shift / POSITION_SCALE,
                motion.matrix @ np.mean(turns, axis=0) / ROTATION_SCALE,
            )
        )
        sure = 0
        for _ in range(_OVERSHOOT_STEPS):
            sure = sure + 1 if holds(self._env.model, self._env.data) else 0
            if sure >= _SURE_STEPS:
                return
            self.act(moved, float(source.gripper[reached]))
