"""`dlr eval decide`: which of two policies is better, in as few rollouts as that takes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from cli.doctor import load_mujoco
from cli.eval_run import EXIT_INCOMPLETE, ProtocolName, run_preflight, show_episode
from common.errors import UsageError

if TYPE_CHECKING:
    from eval_harness.sequential.deciding import Side
    from simulation.assets.resolve import AssetPack


@dataclass(frozen=True)
class Decide:
    """Run two policies by turns on the same episodes, and stop once it is clear which is better.

    The same command goes on where it was killed.
    """

    baseline: tyro.conf.Positional[str]
    """Policy to compare with, as for `dlr eval run`, or a results folder of it."""
    evaluated: tyro.conf.Positional[str]
    """Policy in question, or a results folder of it."""
    out: Path
    """Folder of decision.json and of the results of both."""
    difference: float | None = None
    """Percentage points up to which a difference is none: stop as well once it is known to be
    smaller."""
    protocol: ProtocolName = "openvla"
    """Whose way of evaluating."""
    suites: tuple[str, ...] = ()
    """Suites, such as libero_spatial."""
    tasks: tuple[str, ...] = ()
    """Tasks, as `suite/name` or their names alone."""
    episodes: int | None = None
    """Episodes of each task at most; by default the protocol's."""
    seed: int = 0
    """The evaluation's seed, as for `dlr eval run`."""
    starts: Path | None = None
    """Folder of demonstrations or trajectories; episodes begin where these do."""
    environments: int = 16
    """Episodes under way at a time; changes no decision."""
    threads: int | None = None
    """Threads that simulate and render, by default one per core; changes no decision."""
    policy_timeout: float = 600.0
    """Seconds for one answer of a policy; one that takes longer hangs, and the run stops."""
    preflight: bool = True
    """Check this machine first, as `dlr doctor` does."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default as `dlr assets` says."""

    def __call__(self) -> None:
        """Decide."""
        load_mujoco()
        from eval_harness.plan import choose_tasks
        from eval_harness.sequential.deciding import BASELINE, EVALUATED, Side, decide
        from eval_harness.sequential.rules import DecisionRule
        from simulation.assets.resolve import resolve_assets

        if self.difference is not None and not 0 < self.difference < 100:
            raise UsageError(f"--difference takes points above 0, such as 5: not {self.difference}")
        rule = DecisionRule(None if self.difference is None else self.difference / 100)
        there = {name: _is_results(name) for name in (self.baseline, self.evaluated)}
        block = 1
        if not all(there.values()):
            block = max(1, self.environments // len(choose_tasks(self.tasks, self.suites)))
        run = self.preflight and not all(there.values())
        report = run_preflight(self.assets) if run else None
        pack = resolve_assets(self.assets)
        with ExitStack() as stack:
            sides = [
                Side(Path(name))
                if there[name]
                else self._side(name, self.out / side, pack, report, stack)
                for name, side in ((self.baseline, BASELINE), (self.evaluated, EVALUATED))
            ]
            found = decide(sides[0], sides[1], rule, self.out, block)
        print_decision(self.out)
        if not found.is_final:
            print("Episodes are missing or met errors: the same command goes on.", file=sys.stderr)
            sys.exit(EXIT_INCOMPLETE)

    def _side(
        self,
        name: str,
        folder: Path,
        pack: AssetPack,
        report: dict[str, Any] | None,
        stack: ExitStack,
    ) -> Side:
        """Return a policy whose episodes are run; it is closed with the stack."""
        from eval_harness.evaluation import evaluate
        from eval_harness.plan import choose_tasks
        from eval_harness.policies import load_policy
        from eval_harness.policies.replay import ReplayPolicy
        from eval_harness.protocols import get_protocol
        from eval_harness.results import Results
        from eval_harness.runner import RunConfig
        from eval_harness.sequential.deciding import Side

        protocol, tasks = get_protocol(self.protocol), choose_tasks(self.tasks, self.suites)
        starts = None if self.starts is None else ReplayPolicy.of_folder(self.starts, pack)
        policy = load_policy(name, protocol, self.seed, pack)
        stack.callback(policy.close)

        def run(out: Path, rounds: int) -> Results:
            return evaluate(
                policy,
                protocol,
                tasks,
                out,
                self.episodes,
                seed=self.seed,
                starts=starts,
                config=RunConfig(
                    self.environments, self.threads, policy_timeout=self.policy_timeout
                ),
                assets=pack,
                rounds=rounds,
                preflight=report,
                show=show_episode,
            )

        return Side(folder, run)


def _is_results(name: str) -> bool:
    """Return whether a name is that of a results folder, not of a policy."""
    from eval_harness.results import EPISODES

    return (Path(name) / EPISODES).is_file()


def print_decision(folder: Path) -> None:
    """Print where a sequential comparison stands, and how to see more of it."""
    from eval_harness.sequential.deciding import decision_text, load_decision

    found = load_decision(folder)
    print(decision_text(found["rule"], found["verdict"], found["planned"], found["ran"]))
    folders = found["folders"]
    print(f"dlr eval report {folders['evaluated']} --baseline {folders['baseline']}")
