"""`dlr eval`: run any policy on LIBERO under a named protocol, and make sense of the results."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from cli.doctor import load_mujoco
from cli.eval_board import Board
from cli.eval_decide import Decide, print_decisions
from cli.eval_episodes import Csv, Video
from cli.eval_run import Run, print_results
from cli.eval_settings import ProtocolName
from common.errors import UsageError

EXIT_FAULT = 1
"""Status of a check that found a fault."""


@dataclass(frozen=True)
class Check:
    """Find a flipped picture, a wrong gripper sign, wrong statistics or state in a minute.

    Asks the policy at frames of demonstrations and compares its actions with the recorded ones.
    """

    policy: tyro.conf.Positional[str]
    """As for `dlr eval run`."""
    demonstrations: Path
    """Folder of demonstrations: *.json, trajectory files or LIBERO's own *.hdf5."""
    protocol: ProtocolName = "openvla"
    """Whose way of giving observations."""
    tasks: tuple[str, ...] = ()
    """Tasks that the policy knows; by default all that there are demonstrations of."""
    count: int = 8
    """Demonstrations to replay."""
    frames: int = 64
    """Frames of them at which the policy is asked."""
    json: Path | None = None
    """Write the outcome to this file, too."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default as `dlr assets` says."""

    def __call__(self) -> None:
        """Check."""
        load_mujoco()
        from common.files import ensure_writable, write_json
        from eval_harness.conformance.check import CheckConfig, check
        from eval_harness.plan import choose_tasks
        from eval_harness.policies import load_policy
        from eval_harness.policies.replay import ReplayPolicy
        from eval_harness.protocols import get_protocol
        from simulation.assets.resolve import resolve_assets

        config = CheckConfig(self.count, self.frames)
        if self.json is not None:
            ensure_writable(self.json.parent)
        protocol, pack = get_protocol(self.protocol), resolve_assets(self.assets)
        found = ReplayPolicy.of_folder(self.demonstrations, pack).recordings
        keys = [task.key for task in choose_tasks(self.tasks or tuple(found))]
        if lacking := [key for key in keys if key not in found]:
            raise UsageError(f"{self.demonstrations} has no demonstration of {lacking[0]}")
        policy = load_policy(self.policy, protocol, assets=pack)
        try:
            report = check(policy, {key: found[key] for key in keys}, protocol, pack, config)
        finally:
            policy.close()
        for line in report.checks:
            print(f"{line.status:<6}  {line.name}: {line.detail}")
            if line.advice:
                print(f"        -> {line.advice}")
        if self.json is not None:
            write_json(self.json, report.as_dict())
        if not report.passed:
            sys.exit(EXIT_FAULT)


@dataclass(frozen=True)
class Merge:
    """Put the shards, or with --seeds the seeds, of one evaluation together."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Results folders."""
    out: Path
    """New folder of the merged results."""
    seeds: bool = False
    """The folders are of several seeds: one result, with intervals over starts."""

    def __call__(self) -> None:
        """Merge."""
        from eval_harness.merging import merge, merge_seeds
        from eval_harness.perturbations.arms import is_arms, merge_arms
        from eval_harness.sequential.conditions import is_decisions, merge_conditions
        from eval_harness.sequential.deciding import is_decision, merge_decisions

        load_mujoco()
        first = next(iter(self.folders), Path())
        arms = is_arms(first)
        if is_decision(first) or is_decisions(first):
            if self.seeds:
                raise UsageError("a decision is of one seed: merge its shards, without --seeds")
            decisions = merge_conditions if is_decisions(first) else merge_decisions
            decisions(self.folders, self.out)
            print_decisions(self.out)
            return
        if self.seeds and arms:
            raise UsageError("merge the seeds arm by arm: `dlr eval merge A/light-3 B/light-3`")
        if self.seeds:
            merge_seeds(self.folders, self.out)
        elif arms:
            merge_arms(self.folders, self.out)
        else:
            merge(self.folders, self.out)
        print_results(self.out)


@dataclass(frozen=True)
class Compare:
    """Compare two policies on the episodes that both were given."""

    baseline: tyro.conf.Positional[Path]
    """Results folder of the policy to compare with."""
    evaluated: tyro.conf.Positional[Path]
    """Results folder of the policy in question."""
    allow_different: bool = False
    """Compare although protocol, assets or simulator differ, and say so."""
    resample_tasks: bool = False
    """Intervals for other tasks of the kind, not for these tasks alone."""
    json: Path | None = None
    """Write the numbers to this file, too."""

    def __call__(self) -> None:
        """Compare."""
        from rich.console import Console

        from common.files import write_json
        from eval_harness.compare import compare_folders
        from reports.evaluation_tables import print_comparison

        found = compare_folders(
            self.baseline, self.evaluated, self.allow_different, self.resample_tasks
        )
        print_comparison(found, Console())
        if self.json is not None:
            write_json(self.json, found.as_dict())


@dataclass(frozen=True)
class Report:
    """Print the success of an evaluation and write a page with videos of its failures.

    Of what `dlr eval decide` decided, print it alone.
    """

    folder: tyro.conf.Positional[Path]
    """Results folder."""
    baseline: Path | None = None
    """Results folder to compare it with."""
    out: Path | None = None
    """Folder for report.html and report.json; by default the results folder."""
    videos: bool = True
    """Draw videos."""
    allow_different: bool = False
    """Compare although protocol, assets or simulator differ, and say so."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets to draw with; by default those simulated with."""
    compare_published: str | None = None
    """Checkpoint whose published success to compare with, as `dlr eval reference` lists them."""

    def __call__(self) -> None:
        """Write the report."""
        load_mujoco()
        from eval_harness.perturbations.arms import is_arms
        from eval_harness.sequential.conditions import is_decisions
        from eval_harness.sequential.deciding import is_decision
        from reports.evaluation import write_report
        from reports.robustness import write
        from reports.video import VideoSettings

        if is_decision(self.folder) or is_decisions(self.folder):
            if self != Report(self.folder):
                raise UsageError("what was decided is printed alone: leave all options away")
            print_decisions(self.folder)
            return
        videos = VideoSettings() if self.videos else None
        if is_arms(self.folder):
            if replace(self, out=None, videos=True, assets=None) != Report(self.folder):
                raise UsageError(
                    "what was evaluated under perturbation is compared arm by arm: `dlr eval "
                    "compare A/light-3 B/light-3`, or `dlr eval report A/light-3`"
                )
            paths = write.write_report(self.folder, self.out, videos, self.assets)
        else:
            paths = write_report(
                self.folder,
                self.baseline,
                self.out,
                videos,
                self.allow_different,
                assets=self.assets,
                published=self.compare_published,
            )
        for path in paths:
            print(path)


@dataclass(frozen=True)
class Reference:
    """List published and independently rerun success of known checkpoints, with their sources."""

    model: tyro.conf.Positional[str] = ""
    """A checkpoint's name; by default all."""

    def __call__(self) -> None:
        """List."""
        from rich.console import Console

        from eval_harness.published.figures import all_figures, find_figures
        from reports.evaluation_tables import print_figures

        print_figures(find_figures(self.model) if self.model else all_figures(), Console())


def eval(
    command: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[
            Run | Check | Merge | Compare | Decide | Report | Reference | Board | Csv | Video
        ]
    ],
) -> None:
    """Evaluate a policy on LIBERO.

    Run, check, merge, compare, decide, report, reference, board, csv, video.
    """
    command()
