"""When upstream samples its observations, and what the simulator holds at that moment.

robosuite updates its observables after each of a control step's 25 `mj_step`s. They sample once
per 50 ms of a clock of their own, which counts every update: those that a reset and
`set_init_state` force, too. So the sample that `step` returns is not the state after the step:

- after `reset()` alone the clock stands at 2 ms, and a step samples after its last substep;
- after `set_init_state` it stands at 4 ms, and a step samples after its last substep but one;
- the clock adds up in floating point, and its rounding errors decide about further shifts.

Besides, `mj_step` computes poses before it advances the joints. A sample therefore has the joint
positions and velocities after its substep, but all poses (and pictures) as they were before it.
The clock below repeats robosuite's arithmetic operation by operation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulation.physics.factor import compiled

SAMPLING_PERIOD = 1.0 / 20.0
"""Seconds between two samples of an observable."""
CLOCK_TICK = 0.002
"""Seconds by which an update advances an observable's clock: one simulator step."""


class Sample(NamedTuple):
    """The last sample of an episode, and the clock that says when the next one is due."""

    clock: np.ndarray
    """Seconds since the sampling period began, (1,)."""
    flags: np.ndarray
    """Whether this period's sample is taken, and whether it is being taken now, int64 (2,)."""
    pose_qpos: np.ndarray
    """Generalised positions that the sample's poses and pictures belong to, (nq,)."""
    qpos: np.ndarray
    """Generalised positions that the sample's joint positions belong to, (nq,)."""
    qvel: np.ndarray
    """Generalised velocities that the sample's joint velocities belong to, (nv,)."""

    @staticmethod
    def zeros(nq: int, nv: int) -> Sample:
        """Return a sample of the right shapes, all zero."""
        return Sample(np.zeros(1), np.zeros(2, np.int64), np.zeros(nq), np.zeros(nq), np.zeros(nv))

    def start(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Sample as upstream's `reset` does, which starts the clock anew."""
        self.clock[0] = 0.0
        self.force(qpos, qvel)

    def force(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Sample a state whose poses are up to date, as upstream's `set_init_state` does."""
        self.clock[0] += CLOCK_TICK
        self.pose_qpos[:] = qpos
        self.qpos[:] = qpos
        self.qvel[:] = qvel
        self.flags[0] = 1
        _end_period.py_func(self)


@compiled
def before_substep(sample, qpos, nq):  # type: ignore[no-untyped-def]
    """Advance the clock and, where a sample is due, keep what the substep's poses belong to."""
    sample.clock[0] += CLOCK_TICK
    if sample.flags[0] == 0 and sample.clock[0] <= SAMPLING_PERIOD:
        sample.flags[1] = 1
        for i in range(nq):
            sample.pose_qpos[i] = qpos[i]


@compiled
def after_substep(sample, qpos, nq, qvel, nv):  # type: ignore[no-untyped-def]
    """Complete the sample that `before_substep` found due."""
    if sample.flags[1] == 1:
        for i in range(nq):
            sample.qpos[i] = qpos[i]
        for i in range(nv):
            sample.qvel[i] = qvel[i]
        sample.flags[0] = 1
        sample.flags[1] = 0
    _end_period(sample)


@compiled
def _end_period(sample):  # type: ignore[no-untyped-def]
    if sample.clock[0] >= SAMPLING_PERIOD:
        sample.clock[0] %= SAMPLING_PERIOD
        sample.flags[0] = 0
