"""Steps in which a person did nothing, and demonstrations replayed without them.

People wait: for the gripper to close, before they begin, after they are done. A policy that is
cloned from such steps waits, too, and may wait forever. The rule is that of the published
`libero_*_no_noops` datasets; what differs is that a demonstration which needs its waiting keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.environment import Environment
from simulation.recordings.recorder import Recorder
from simulation.recordings.recordings import HUMAN, Recording
from simulation.recordings.trajectories import Episode

QUIET = 1e-4
"""Norm of a no-op's translation and rotation, in units of the largest action, at most."""
_EXTRA_STEPS = 15
"""Control steps for which a replayed demonstration's last action is held, if need be."""


@dataclass(frozen=True)
class Replayed:
    """What became of one demonstration."""

    episode: Episode | None
    """The success that is kept, None where there is none."""
    kept: str
    """How it was got, one of `audit.KEPT`."""
    noops: int
    """Steps of the recording that are no-ops."""
    dropped: int
    """Of these, how many the kept episode left out."""


def needed_steps(actions: np.ndarray) -> np.ndarray:
    """Return the indices of the actions that are no no-ops, int64 (N,).

    A no-op moves by less than `QUIET` and gives the gripper the command of the last action before
    it that was needed; the first ones of a recording need only not move.

    Args:
        actions: in [-1, 1]: translation, rotation, gripper; float64 (T, 7).
    """
    needed: list[int] = []
    for index, action in enumerate(actions):
        same = not needed or action[6] == actions[needed[-1], 6]
        if not (same and np.linalg.norm(action[:6]) < QUIET):
            needed.append(index)
    return np.array(needed, dtype=np.int64)


def replay_person(env: Environment, recording: Recording, drop_noops: bool) -> Replayed:
    """Replay a demonstration, and return the first of these that succeeds.

    1. its actions without no-ops, if they are to be dropped and there are some;
    2. all of its actions;
    3. its recorded states, if it has some and the goal holds in them: physics differs between
       versions, and what was recorded is what happened.

    A replay begins at the recorded start with the recorded poses of fixtures, if they are known,
    and ends at success, at the latest 15 steps after its last action, which is held.
    """
    needed = needed_steps(recording.actions)
    noops = len(recording.actions) - len(needed)
    if drop_noops and 0 < len(needed) < len(recording.actions):
        episode = _replay(env, recording, recording.actions[needed])
        if episode.info.success:
            count = min(len(episode), len(needed))
            beyond = len(episode) > count  # the last needed action, so that no no-op was kept
            dropped = noops if beyond else int(needed[count - 1]) + 1 - count
            return Replayed(episode, "filtered" if dropped else "replayed", noops, dropped)
    episode = _replay(env, recording, recording.actions)
    if episode.info.success:
        waits = drop_noops and noops > 0
        return Replayed(episode, "unfiltered" if waits else "replayed", noops, 0)
    recorded = _as_recorded(env, recording)
    return Replayed(recorded, "left out" if recorded is None else "recorded", noops, 0)


def _replay(env: Environment, recording: Recording, actions: np.ndarray) -> Episode:
    """Replay a person's actions; the episode's seed is the name of its start, and draws nothing."""
    env.reset(0, init_state=recording.init_state, fixtures=recording.fixtures)
    recorder, success = Recorder(env), False
    for action in np.concatenate((actions, np.repeat(actions[-1:], _EXTRA_STEPS, axis=0))):
        recorder.before(action)
        success = env.step(action)
        if success:
            break
    return _of_person(recorder, success, recording)


def _as_recorded(env: Environment, recording: Recording) -> Episode | None:
    """Return the recorded states up to the first in which the goal holds; None if none is such.

    Files end with the state before the last action, which is simulated.
    """
    states, actions = recording.states, recording.actions
    if states is None or recording.fixtures is None:
        return None
    env.reset(0, init_state=states[0], fixtures=recording.fixtures)
    recorder = Recorder(env)
    for state, action in zip(states, actions, strict=False):
        env.set_state(state)
        if len(recorder) and env.success():
            return _of_person(recorder, True, recording)
        recorder.before(action)
    for state, action in list(zip(states, actions, strict=False))[-2:]:
        env.set_state(state)  # the step before the last tells the controller where the arm is
        success = env.step(action)
    return _of_person(recorder, True, recording) if success else None


def _of_person(recorder: Recorder, success: bool, recording: Recording) -> Episode:
    return recorder.finish(success, method=HUMAN).with_info(seed=recording.info.seed)
