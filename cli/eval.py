"""`dlr eval`: run any policy on LIBERO under a named protocol, and make sense of the results."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from cli.doctor import load_mujoco
from common.errors import UsageError

if TYPE_CHECKING:
    from eval_harness.policy import Policy
    from eval_harness.results import EpisodeResult, Results
    from eval_harness.runner import RunConfig
    from eval_harness.statistics import StoppingRule
    from simulation.tasks import Task

EXIT_INCOMPLETE = 1
"""Status of a run after which episodes are missing or errors."""
EXIT_FAULT = 1
"""Status of a check that found a fault."""
ProtocolName = Literal["openvla", "openvla_oft", "openpi", "vla_eval", "lerobot", "libero"]


@dataclass(frozen=True)
class Run:
    """Run a policy; the same command goes on where it was killed."""

    policy: tyro.conf.Positional[str]
    """random[:CHUNK], scripted, replay:FOLDER, generator:PATH[#PATTERN,noise=SHARE] (by default
    with the noise of the success that training reports), lerobot:PATH_OR_HUB_ID,
    openvla:PATH_OR_HUB_ID[#STATISTICS], openpi://HOST:PORT or vla-eval://HOST:PORT, with #chunk=K
    where its replies hold K actions; a checkpoint's folder or hub id alone is recognised."""
    out: Path
    """Folder of the results."""
    protocol: ProtocolName = "openvla"
    """Whose way of evaluating."""
    suites: tuple[str, ...] = ()
    """Suites, such as libero_spatial."""
    tasks: tuple[str, ...] = ()
    """Tasks, as `suite/name` or their names alone."""
    in_distribution: bool = False
    """The suite that the papers pretrain on: LIBERO-90."""
    out_of_distribution: bool = False
    """The suites that they do not: Spatial, Object, Goal and Long."""
    episodes: int | None = None
    """Episodes of each task; by default the protocol's."""
    seed: int = 0
    """Another seed draws other scenes and noise; 0 follows the protocol."""
    starts: Path | None = None
    """Folder of demonstrations or trajectories; episodes begin where these do."""
    shard: str = "0/1"
    """Share of the episodes to run here, i/n; `dlr eval merge` puts shares together."""
    environments: int = 16
    """Episodes under way at a time; changes no result."""
    threads: int | None = None
    """Threads that simulate and render, by default one per core; changes no result."""
    retries: int = 2
    """How often an episode that met an error is begun again."""
    policy_timeout: float = 600.0
    """Seconds for one answer of the policy; one that takes longer hangs, and the run stops."""
    stop_threshold: float | None = None
    """Stop once the success rate is known to be above or below this."""
    stop_half_width: float | None = None
    """Stop once the success rate is known to within this."""
    preflight: bool = True
    """Check this machine first, as `dlr doctor` does."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default as `dlr assets` says."""

    def __call__(self) -> None:
        """Run."""
        load_mujoco()
        from eval_harness.evaluation import evaluate, is_complete
        from eval_harness.plan import Shard
        from eval_harness.policies import load_policy
        from eval_harness.policies.replay import ReplayPolicy
        from eval_harness.protocols import get_protocol
        from simulation.assets.resolve import resolve_assets

        protocol, shard = get_protocol(self.protocol), Shard.parse(self.shard)
        config, rule = self._config(), self._rule()
        pack = resolve_assets(self.assets)
        starts = None if self.starts is None else ReplayPolicy.of_folder(self.starts, pack)
        report = _preflight(self.assets) if self.preflight else None
        policy = load_policy(self.policy, protocol, self.seed, pack)
        try:
            results = evaluate(
                policy,
                protocol,
                self._tasks(starts or policy),
                self.out,
                self.episodes,
                seed=self.seed,
                starts=starts,
                shard=shard,
                config=config,
                assets=pack,
                rule=rule,
                preflight=report,
                show=_show,
            )
        finally:
            policy.close()
        _print(results)
        if not is_complete(results) and not (self.out / "stop.json").exists():
            sys.exit(EXIT_INCOMPLETE)

    def _config(self) -> RunConfig:
        from eval_harness.runner import RunConfig

        return RunConfig(
            self.environments, self.threads, self.retries, policy_timeout=self.policy_timeout
        )

    def _rule(self) -> StoppingRule | None:
        from eval_harness.statistics import StoppingRule

        if self.stop_threshold is None and self.stop_half_width is None:
            return None
        return StoppingRule(self.stop_threshold, self.stop_half_width)

    def _tasks(self, policy: Policy) -> list[Task]:
        from eval_harness import plan
        from eval_harness.policies.replay import ReplayPolicy

        suites = [*self.suites]
        suites += plan.IN_DISTRIBUTION if self.in_distribution else ()
        suites += plan.OUT_OF_DISTRIBUTION if self.out_of_distribution else ()
        names = self.tasks
        if isinstance(policy, ReplayPolicy) and not suites and not names:
            names = policy.tasks
        return plan.choose_tasks(names, suites)


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
    """Put the shards of one evaluation together."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Results folders."""
    out: Path
    """New folder of the merged results."""

    def __call__(self) -> None:
        """Merge."""
        from eval_harness.merging import merge

        _print(merge(self.folders, self.out))


@dataclass(frozen=True)
class Compare:
    """Compare two policies on the episodes that both were given."""

    a: tyro.conf.Positional[Path]
    """Results folder of the one."""
    b: tyro.conf.Positional[Path]
    """Results folder of the other."""
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

        found = compare_folders(self.a, self.b, self.allow_different, self.resample_tasks)
        print_comparison(found, Console())
        if self.json is not None:
            write_json(self.json, found.as_dict())


@dataclass(frozen=True)
class Report:
    """Print the success of an evaluation and write a page with videos of its failures."""

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

    def __call__(self) -> None:
        """Write the report."""
        load_mujoco()
        from reports.evaluation import write_report
        from reports.video import VideoSettings

        paths = write_report(
            self.folder,
            self.baseline,
            self.out,
            VideoSettings() if self.videos else None,
            self.allow_different,
            assets=self.assets,
        )
        for path in paths:
            print(path)


def eval(
    command: tyro.conf.OmitArgPrefixes[
        tyro.conf.OmitSubcommandPrefixes[Run | Check | Merge | Compare | Report]
    ],
) -> None:
    """Evaluate a policy on LIBERO: run, check, merge, compare, report."""
    command()


def _preflight(assets: Path | None) -> dict[str, Any]:
    from simulation.preflight import preflight

    report = preflight(assets)
    for check in report.checks:
        if check.status != "OK":
            print(f"{check.status:<4}  {check.name}: {check.detail}", file=sys.stderr)
    if not report.passed:
        raise UsageError(
            "results from here would not be LIBERO's: see `dlr doctor`, or give --no-preflight"
        )
    return report.as_dict()


def _show(result: EpisodeResult, done: int, total: int) -> None:
    outcome = result.error or ("success" if result.success else "failure")
    where = f"{result.task} {result.episode}"
    print(f"{done}/{total}  {where}: {outcome}, {result.steps} steps", file=sys.stderr, flush=True)


def _print(results: Results) -> None:
    from rich.console import Console

    from eval_harness.results import summarise
    from reports.evaluation_tables import print_summary

    print_summary(summarise(results), Console())
    print(results.folder)
