"""What our evaluation harness adds to simulating, drawing and asking, and each perturbation."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Result, Setting, Target, benchmark, summarise
from benchmarks.tasks import TASKS, random_actions
from eval_harness.evaluation import evaluate
from eval_harness.perturbations.arms import Arm
from eval_harness.perturbations.base import CONTROL
from eval_harness.perturbations.table import AXES
from eval_harness.policy import Observation, Policy, Requirements
from eval_harness.protocols import get_protocol
from eval_harness.results import TIMING
from eval_harness.runner import RunConfig
from simulation.assets.resolve import AssetPack

_CHUNK = 10
_TARGET = Target(0.05, at_most=True)
_LEVEL = 3
_CROWD = 5
"""Level at which the layout axis costs most."""
_NEUTRAL = "+".join(axis for axis, kind in AXES.items() if kind.neutral)
"""All axes at once that physics does not read."""
_EPISODES, _STEPS = 10, 64
"""Of one repetition under perturbation: they draw several kinds of noise, and of light."""
_FEW_EPISODES = 4
"""Of a quick one."""
_COST = Target(1.1, at_most=True)


class _Fixed(Policy):
    """Answers with the same actions whatever it is shown, at once."""

    def __init__(self, cameras: tuple[str, ...], chunk: int = _CHUNK) -> None:
        self.requirements = Requirements(cameras, chunk=chunk)
        self._chunk = random_actions(chunk)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        return np.stack([self._chunk] * len(observations))


@benchmark
def evaluation_overhead(setting: Setting) -> list[Result]:
    """Seconds of the harness's own beside all seconds of its threads, results on disk included.

    Episodes that fail at 220 steps, under OpenVLA-OFT's protocol with a chunk of ten actions; with
    two cameras' pictures, and without any, where next to nothing but simulation is left.
    """
    results = []
    for name, cameras in (("pictures", Requirements().cameras), ("no pictures", ())):
        policy, episodes = _Fixed(cameras), 4 if cameras else 16
        _evaluate(policy, 2, setting.assets)
        pairs = [_evaluate(policy, episodes, setting.assets) for _ in range(setting.repetitions(3))]
        title = f"harness's own share of an evaluation, {name}"
        results.append(summarise(title, "s", pairs, _TARGET))
    return results


def _evaluate(policy: Policy, episodes: int, assets: AssetPack) -> tuple[float, float]:
    """Return the harness's own seconds, and all of them, of an evaluation."""
    protocol = dataclasses.replace(get_protocol("openvla_oft"), chunk=_CHUNK)
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as folder:
        out = Path(folder) / "results"
        evaluate(
            policy, protocol, [TASKS["spatial"]], out, episodes,
            config=RunConfig(environments=16), assets=assets,
        )  # fmt: skip
        seconds = json.loads((out / TIMING).read_text())
    purposes = ("simulation", "rendering", "preparation", "policy", "other")
    return seconds["other"], sum(seconds[purpose] for purpose in purposes)


@benchmark
def perturbations(setting: Setting) -> list[Result]:
    """CPU seconds of an evaluation under each axis, and those of its control, by turns.

    Level 3, layout at 5 as well, OpenVLA-OFT's protocol: two cameras, a picture every eighth step,
    and a policy that costs nothing. What is compiled once a task and level is compiled before. It
    takes 250 CPU seconds, a quick run 50, and as much longer as the machine has other work.
    """
    control, episodes = Arm("", CONTROL), _FEW_EPISODES if setting.quick else _EPISODES
    _cpu_seconds(control, setting.assets, 1)
    results = []
    for arm in (*(Arm(name, _LEVEL) for name in (*AXES, _NEUTRAL)), Arm("layout", _CROWD)):
        _cpu_seconds(arm, setting.assets, 1)
        pairs = [
            (
                _cpu_seconds(arm, setting.assets, episodes),
                _cpu_seconds(control, setting.assets, episodes),
            )
            for _ in range(setting.repetitions(3))
        ]
        title = f"evaluation under {arm.axes}, level {arm.level} / control"
        results.append(summarise(title, "s", pairs, _COST))
    return results


def _cpu_seconds(arm: Arm, assets: AssetPack, episodes: int) -> float:
    """Return the CPU seconds of an evaluation of one arm."""
    protocol = arm.protocol(get_protocol("openvla_oft"))
    protocol = dataclasses.replace(protocol, horizons=dict.fromkeys(protocol.horizons, _STEPS))
    policy = _Fixed(Requirements().cameras, protocol.chunk or _CHUNK)
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as folder:
        start = time.process_time()
        evaluate(
            policy, protocol, [TASKS["spatial"]], Path(folder) / "results", episodes,
            config=RunConfig(environments=8, threads=1), assets=assets,
        )  # fmt: skip
        return time.process_time() - start
