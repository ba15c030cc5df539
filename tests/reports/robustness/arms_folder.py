"""A folder of arms for tests, with outcomes that are made up and states that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval_harness.perturbations.arms import Arm, make_arms, run_arms
from eval_harness.protocols import get_protocol
from eval_harness.results import Results, load_results
from simulation.recordings.trajectories import Episode
from tests.eval_harness.folders import BOWL, DRAWER, Outcome, write_folder


def write_arms(
    folder: Path,
    axes: str,
    levels: str,
    outcomes: Mapping[str, Sequence[Outcome]],
    stored: Mapping[tuple[str, int], Episode] | None = None,
    policy: Mapping[str, str] | None = None,
) -> Path:
    """Write an evaluation under perturbation whose arms have these outcomes for both tasks."""

    def run(arm: Arm, out: Path) -> Results:
        found = outcomes[arm.name]
        protocol = arm.protocol(get_protocol("openpi"))
        both = {DRAWER: found, BOWL: found}
        write_folder(out, both, protocol, policy or {"kind": "test"}, trajectories=stored)
        return load_results(out)

    run_arms(make_arms(axes, levels), folder, run)
    return folder
