"""`dlr eval decide`: which of two policies is better, in as few rollouts as that takes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from cli.doctor import load_mujoco
from cli.eval_run import EXIT_INCOMPLETE
from cli.eval_settings import Bench, EpisodeSettings, asked_levels
from common.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eval_harness.perturbations.arms import Arm
    from eval_harness.policy import Policy
    from eval_harness.results import Results
    from eval_harness.sequential.deciding import Decided, Side
    from simulation.tasks import Task


@dataclass(frozen=True)
class Decide(EpisodeSettings):
    """Run two policies by turns on the same episodes, and stop once it is clear which is better.

    The outcome is kept in decision.json, beside the results of both. The same command goes on where
    it was killed. Shards decide alike: with --beside they stop where all together do, without they
    run their shares, and `dlr eval merge` decides.
    """

    baseline: tyro.conf.Positional[str]
    """Policy to compare with, as for `dlr eval run`, or a results folder of it; with --perturb a
    folder of arms."""
    evaluated: tyro.conf.Positional[str]
    """Policy in question, or a results folder of it."""
    difference: float | None = None
    """Percentage points up to which a difference is none: stop as well once it is known to be
    smaller."""
    perturb: str | None = None
    """Decide under a change: camera, light, background, noise, language, robot, layout or objects;
    several one by one (camera,light), at once (camera+light), or all. Each axis and level is a
    decision of its own, in a folder of its own; the 5% of error are shared between them."""
    levels: str | None = None
    """Levels of each axis, as 3 (by default), 0-5 or 1,3,5. Level 0, without change, is decided
    only if named: each policy is the other's control."""

    def __call__(self) -> None:
        """Decide."""
        load_mujoco()
        from eval_harness.sequential.conditions import (
            decide_conditions,
            is_decisions,
            make_conditions,
        )
        from eval_harness.sequential.deciding import decide, is_decision
        from eval_harness.sequential.rules import DecisionRule

        if self.difference is not None and not 0 < self.difference < 100:
            raise UsageError(f"--difference takes points above 0, such as 5: not {self.difference}")
        rule = DecisionRule(None if self.difference is None else self.difference / 100)
        levels = asked_levels(self.perturb, self.levels, by_default="3")
        conditions = make_conditions(self.perturb, levels) if self.perturb else ()
        if is_decision(self.out) if conditions else is_decisions(self.out):
            with_it = "without --perturb" if conditions else "with --perturb"
            raise UsageError(f"{self.out} holds what was decided {with_it}: give another --out")
        with ExitStack() as stack:
            contest = self._contest(stack)
            if conditions:
                sides, block = contest.sides, contest.block
                found = [*decide_conditions(conditions, sides, rule, self.out, block).values()]
            else:
                found = [decide(*contest.sides(None, self.out), rule, self.out, contest.block)]
        print_decisions(self.out)
        self._leave(found)

    def _contest(self, stack: ExitStack) -> Contest:
        """Return who is compared; policies that are loaded are closed with the stack."""
        named = {name: _is_results(name) for name in (self.baseline, self.evaluated)}
        if all(named.values()):
            if chosen := self.choices():
                raise UsageError(
                    "nothing is run where both are results folders: leave out " + ", ".join(chosen)
                )
            return Contest(self, None, {}, ())
        bench, policies = self.bench(), {}
        for name in (name for name, is_there in named.items() if not is_there):
            policies[name] = bench.load(name)
            stack.callback(policies[name].close)
        return Contest(self, bench, policies, tuple(bench.tasks(*policies.values())))

    def _leave(self, found: list[Decided]) -> None:
        """Say what is left to do, and end with a status that says so."""
        if all(one.is_final for one in found):
            return
        if self.shard != "0/1" and all(one.share_ended for one in found):
            print("This share has ended: `dlr eval merge` of all shards decides.")
            return
        print("Episodes are missing or met errors: the same command goes on.", file=sys.stderr)
        sys.exit(EXIT_INCOMPLETE)


@dataclass(frozen=True)
class Contest:
    """Two policies, or what is there of them, and what they are run on."""

    decide: Decide
    """As the user gave it."""
    bench: Bench | None
    """What policies are run on; None where none is."""
    policies: Mapping[str, Policy]
    """Those that are run, by their names."""
    tasks: tuple[Task, ...]
    """Their tasks."""

    @property
    def block(self) -> int:
        """Episodes of each task between two looks: as many as are under way at a time."""
        if self.bench is None:
            return 1
        return max(1, self.decide.environments * self.bench.shard.count // len(self.tasks))

    def sides(self, arm: Arm | None, out: Path) -> tuple[Side, Side]:
        """Return baseline and evaluated under a condition, given the folder of the decision."""
        from eval_harness.sequential.deciding import BASELINE, EVALUATED

        return (
            self._side(self.decide.baseline, BASELINE, arm, out),
            self._side(self.decide.evaluated, EVALUATED, arm, out),
        )

    def _side(self, name: str, side: str, arm: Arm | None, out: Path) -> Side:
        from eval_harness.sequential.deciding import Side

        if self.bench is None or name not in self.policies:
            return Side(Path(name) / (arm.name if arm else ""))
        bench, policy = self.bench, self.policies[name]
        protocol = arm.protocol(bench.protocol) if arm else bench.protocol

        def run(folder: Path, rounds: int) -> Results:
            return bench.run(policy, self.tasks, protocol, folder, rounds=rounds)

        others = tuple(one / (arm.name if arm else "") / side for one in self.decide.beside)
        return Side(out / side, run, others)


def _is_results(name: str) -> bool:
    """Return whether a name is that of a results folder or of arms of one, not of a policy."""
    from eval_harness.perturbations.arms import is_arms
    from eval_harness.results import EPISODES

    return (Path(name) / EPISODES).is_file() or is_arms(Path(name))


def print_decisions(folder: Path) -> None:
    """Print where a sequential comparison, or that under each condition, stands."""
    from eval_harness.sequential.conditions import is_decisions, list_conditions
    from eval_harness.sequential.deciding import is_decision

    if not is_decisions(folder):
        _print_decision(folder)
        return
    conditions = list_conditions(folder)
    for arm in conditions:
        if is_decision(folder / arm.name):
            print(f"{arm.name}: ", end="")
            _print_decision(folder / arm.name)
    print(f"All {len(conditions)} intervals hold together with 95% confidence.")


def _print_decision(folder: Path) -> None:
    """Print where a sequential comparison stands, and how to see more of it."""
    from eval_harness.sequential.deciding import decision_text, load_decision

    found = load_decision(folder)
    print(decision_text(found["rule"], found["verdict"], found["planned"], found["ran"]))
    folders = found["folders"]
    print(f"dlr eval report {folders['evaluated']} --baseline {folders['baseline']}")
