"""What our evaluation harness adds to simulating, drawing and asking the policy."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Result, Setting, Target, benchmark, summarise
from benchmarks.tasks import TASKS, random_actions
from eval_harness.evaluation import evaluate
from eval_harness.policy import Observation, Policy, Requirements
from eval_harness.protocols import get_protocol
from eval_harness.results import TIMING
from eval_harness.runner import RunConfig
from simulation.assets.resolve import AssetPack

_CHUNK = 10
_TARGET = Target(0.05, at_most=True)


class _Fixed(Policy):
    """Answers with the same actions whatever it is shown, at once."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        self.requirements = Requirements(cameras, chunk=_CHUNK)
        self._chunk = random_actions(_CHUNK)

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
