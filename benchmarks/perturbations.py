"""What an evaluation costs under each kind of change, beside the unperturbed one."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Result, Setting, Target, benchmark, compare
from benchmarks.tasks import TASKS, random_actions
from eval_harness.evaluation import evaluate
from eval_harness.perturbations.arms import Arm, make_arms
from eval_harness.perturbations.table import AXES
from eval_harness.policy import Observation, Policy, Requirements
from eval_harness.protocols import get_protocol
from eval_harness.runner import RunConfig
from simulation.assets.resolve import AssetPack

_LEVEL = 3
_NEUTRAL = "+".join(axis for axis, kind in AXES.items() if kind.neutral)
"""All axes at once that physics does not read."""
_EPISODES, _STEPS = 10, 64
"""Of one repetition; the episodes draw other kinds of noise, and one in ten shadows."""
_TARGET = Target(1.1, at_most=True)


class _Fixed(Policy):
    """Answers with the same actions whatever it is shown, at once."""

    def __init__(self, chunk: int) -> None:
        self.requirements = Requirements(chunk=chunk)
        self._chunk = random_actions(chunk)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        return np.stack([self._chunk] * len(observations))


@benchmark
def perturbations(setting: Setting) -> list[Result]:
    """CPU seconds of an evaluation under each axis, its control's beside them, by turns.

    Level 3, OpenVLA-OFT's protocol: two cameras, a picture every eighth step, and a policy that
    costs nothing. What is compiled once a task and level is compiled before.
    """
    control = make_arms("all", str(_LEVEL))[0]
    names = [*AXES, _NEUTRAL]
    results = []
    for name in names:
        arm = Arm(name, _LEVEL)
        _seconds(arm, setting.assets, 1), _seconds(control, setting.assets, 1)
        results.append(
            compare(
                f"{name} / control",
                "s",
                setting.repetitions(3),
                lambda arm=arm: _seconds(arm, setting.assets),  # type: ignore[misc]
                lambda: _seconds(control, setting.assets),
                _TARGET,
            )
        )
    return results


def _seconds(arm: Arm, assets: AssetPack, episodes: int = _EPISODES) -> float:
    """Return the CPU seconds of an evaluation of one arm."""
    protocol = arm.protocol(get_protocol("openvla_oft"))
    protocol = dataclasses.replace(protocol, horizons=dict.fromkeys(protocol.horizons, _STEPS))
    policy = _Fixed(protocol.chunk)
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as folder:
        start = time.process_time()
        evaluate(
            policy, protocol, [TASKS["spatial"]], Path(folder) / "results", episodes,
            config=RunConfig(environments=8, threads=1), assets=assets,
        )  # fmt: skip
        return time.process_time() - start
