"""`dlr eval run`: the episodes of one evaluation, or of each arm of one under perturbation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from cli.doctor import load_mujoco
from cli.eval_settings import EpisodeSettings, asked_levels
from common.errors import UsageError

if TYPE_CHECKING:
    from eval_harness.perturbations.arms import Arm
    from eval_harness.protocols import Protocol
    from eval_harness.results import Results
    from eval_harness.sequential.rules import StoppingRule

EXIT_INCOMPLETE = 1
"""Status of a run after which episodes are missing or errors."""


@dataclass(frozen=True)
class Run(EpisodeSettings):
    """Run a policy; the same command goes on where it was killed."""

    policy: tyro.conf.Positional[str]
    """random[:CHUNK], scripted, replay:FOLDER, generator:PATH[#PATTERN,noise=STD] (a checkpoint
    or a recipe's folder; the motion's noise is 0.04 by default),
    lerobot:PATH_OR_HUB_ID,
    openvla:PATH_OR_HUB_ID[#STATISTICS], openvla_oft:PATH_OR_HUB_ID[#STATISTICS,cameras=N,chunk=N],
    openpi://HOST:PORT or vla-eval://HOST:PORT, with #chunk=K where its replies hold K actions; a
    checkpoint's folder or hub id alone is recognised. Your own code is MODULE:CLASS or
    FILE.py:CLASS[#name=value], and is run (docs/your_model.md)."""
    stop_threshold: float | None = None
    """Stop once the success rate is known to be above or below this."""
    until: float | None = None
    """Stop once the success rate is known to within so many percentage points, such as 5, by an
    interval that allows for looking after every round; says how many rollouts that saved."""
    perturb: str | None = None
    """What to change: camera, light, background, noise, language, robot, layout or objects; several
    one by one (camera,light), at once (camera+light), or all. `out` then has a folder for the
    control and for each axis and level, and `dlr eval report` says how much success is kept."""
    levels: str | None = None
    """Levels of each axis, as 0-5 (by default), 3 or 1,3,5; 0, the control, always runs."""

    def __call__(self) -> None:
        """Run."""
        load_mujoco()
        from eval_harness.perturbations.arms import run_arms

        rule, arms = self._rule(), self._arms()
        bench = self.bench()
        policy = bench.load(self.policy)
        try:
            tasks = bench.tasks(policy)

            def run(protocol: Protocol, out: Path) -> Results:
                return bench.run(policy, tasks, protocol, out, rule, self.beside)

            if arms:
                run_arms(arms, self.out, lambda arm, out: run(arm.protocol(bench.protocol), out))
            else:
                run(bench.protocol, self.out)
        finally:
            policy.close()
        if not print_results(self.out):
            sys.exit(EXIT_INCOMPLETE)

    def _arms(self) -> tuple[Arm, ...]:
        """Return the arms of an evaluation under perturbation; none where nothing is to change."""
        from eval_harness.perturbations.arms import is_arms, make_arms

        levels = asked_levels(self.perturb, self.levels, by_default="0-5")
        if self.perturb is None:
            if is_arms(self.out):
                raise UsageError(
                    f"{self.out} holds an evaluation under perturbation: give --perturb, too, or "
                    "another --out"
                )
            return ()
        if self._rule() is not None:
            raise UsageError(
                "an evaluation under perturbation cannot stop early: its arms are paired"
            )
        if (self.out / "config.json").exists():
            raise UsageError(f"{self.out} holds an evaluation without perturbation: give another")
        return make_arms(self.perturb, levels)

    def _rule(self) -> StoppingRule | None:
        from eval_harness.sequential.rules import StoppingRule

        if self.until is None and self.stop_threshold is None:
            if self.beside:
                raise UsageError(
                    "--beside is of shards that may stop early: give it with --until or "
                    "--stop-threshold, or leave it out"
                )
            return None
        if self.until is None:
            return StoppingRule(self.stop_threshold)
        if not 0 < self.until < 50:
            raise UsageError(f"--until takes points between 0 and 50, such as 5, not {self.until}")
        return StoppingRule(self.stop_threshold, self.until / 100)


def print_results(folder: Path) -> bool:
    """Print what a results folder, or a folder of arms, holds; return whether it is complete."""
    from rich.console import Console

    from eval_harness.evaluation import is_complete
    from eval_harness.perturbations.arms import is_arms, load_arms
    from eval_harness.results import summarise
    from eval_harness.sequential.stopped import load_counted, stop_text
    from reports.evaluation_tables import print_summary
    from reports.robustness.table import write_retained

    if is_arms(folder):
        print(write_retained(folder))
        return all(map(is_complete, load_arms(folder).values()))
    results, stop = load_counted(folder)
    print_summary(summarise(results), Console())
    if text := stop_text(results, stop):
        print(text)
    print(folder)
    return stop is not None or is_complete(results)
