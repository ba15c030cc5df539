"""An evaluation from policy to results folder: begun, gone on with, sharded, or stopped early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import SettingError
from eval_harness.perturbations.table import Condition
from eval_harness.plan import Item, Shard, Start, check_starts_once, make_items
from eval_harness.policies import load_policy
from eval_harness.policies.replay import ReplayPolicy
from eval_harness.policies.scripted import ScriptedPolicy
from eval_harness.policy import Policy, Requirements
from eval_harness.protocols import PROTOCOLS, Protocol, get_protocol
from eval_harness.results import (
    CONFIG,
    EpisodeResult,
    Results,
    ResultsWriter,
    check_same,
    load_results,
    make_config,
    planned,
)
from eval_harness.runner import RunConfig, RunError, run
from eval_harness.sequential.rules import Stop, StoppingRule, find_stop
from eval_harness.sequential.stopped import STOP, table_of, write_stop
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.preflight import versions
from simulation.recordings.trajectories import Episode
from simulation.suites.published import definition_digests
from simulation.tasks import Task, get_task

logger = logging.getLogger(__name__)

Show = Callable[[EpisodeResult, int, int], None]
"""Told of each episode as it ends, of how many are done, and of how many there are here."""


def evaluate(
    policy: Policy,
    protocol: Protocol,
    tasks: Sequence[Task],
    out: Path,
    episodes: int | None = None,
    *,
    seed: int = 0,
    starts: ReplayPolicy | None = None,
    shard: Shard = Shard(),
    config: RunConfig = RunConfig(),
    assets: AssetPack | None = None,
    rule: StoppingRule | None = None,
    beside: Sequence[Path] = (),
    rounds: int | None = None,
    preflight: Mapping[str, Any] | None = None,
    show: Show = lambda result, done, total: None,
) -> Results:
    """Run what a results folder lacks of an evaluation and return the folder's results.

    Args:
        policy: the policy.
        protocol: the protocol.
        tasks: the tasks.
        out: the results folder, new or begun by this very evaluation.
        episodes: episodes of each task; by default the protocol's trials, or with recorded
            starts as many as there are of every task.
        seed: 0 follows the protocol; another draws other scenes and noise, and with recorded
            starts takes the recordings after those of the seeds before.
        starts: recordings at whose starts the episodes begin, such as those that the policy was
            trained on; by default the official init states, or a replay's own.
        shard: which share of the episodes to run.
        config: how to run; changes no outcome.
        assets: asset pack; by default the first that `resolve_assets` finds.
        rule: stop early by this rule; the episodes are then taken by turns of the tasks. Without
            one a run goes on to the end of the plan, also where a rule stopped it before.
        beside: results folders of the other shards, which the rule looks at, too; a shard that
            does not see them runs its share, and `merging.merge` finds where the rule stops.
        rounds: run the first so many episodes of each task alone, by turns of the tasks.
        preflight: the preflight's report, to be kept with the results.
        show: see `Show`.

    Raises:
        ResultsError: the folder holds another evaluation.
        SettingError: there is nothing to run, or nothing that this seed could draw; or what may
            stop early has more episodes of a task than starts.
        RunError: too many episodes in a row met errors.
    """
    pack = assets or resolve_assets()
    recorded = policy if starts is None and isinstance(policy, ReplayPolicy) else starts
    count = episodes if episodes is not None else _episodes(recorded, protocol, tasks)
    first = _first_recording(policy, starts, tasks, seed, count)
    if recorded is None and seed > (largest := protocol.largest_seed(count)):
        raise SettingError(
            f"of {count} episodes under {protocol.name} the largest seed is {largest}, not {seed}"
        )

    def find_start(task: str, episode: int) -> Start | None:
        return recorded.start(task, first + episode) if recorded else None

    every = make_items(protocol, tasks, count, seed, find_start)
    if rule is not None or rounds is not None:
        check_starts_once(every)
    items = shard.of(every)
    content = make_config(
        protocol,
        policy.identity(),
        seed,
        {"name": pack.name, "digest": pack.digest, **_definitions(tasks)},
        versions(),
        [task.key for task in tasks],
        count,
        starts=starts.identity() | ({"first": first} if first else {}) if starts else None,
        shard=f"{shard.index}/{shard.count}",
        preflight=preflight,
        **({"rule": asdict(rule)} if rule else {}),
    )
    policy.run_under(protocol)
    _warn_of_cameras(policy.requirements, protocol)
    writer = ResultsWriter(out, content)
    try:
        if rule is None and rounds is None:
            (out / STOP).unlink(missing_ok=True)
        if rule is not None or rounds is not None:
            items.sort(key=lambda item: item.key.episode)
        progress = _Progress(writer, len(items), rule, beside, show)
        wanted = [item for item in items if rounds is None or item.key.episode < rounds]
        _run_missing(policy, wanted, protocol, config, progress, pack)
    finally:
        writer.close()
    return load_results(out)


@dataclass(frozen=True)
class ShardItem:
    """A share of an evaluation as one work item; `eval_harness.merging` puts shares together."""

    policy: str
    """As `dlr eval run` takes it."""
    protocol: str
    """The protocol's name."""
    tasks: tuple[str, ...]
    """The tasks' keys."""
    out: Path
    """The share's results folder."""
    shard: Shard
    """Which share."""
    assets: AssetPack
    """Asset pack to evaluate with."""
    episodes: int | None = None
    """Episodes of each task; by default the protocol's."""
    seed: int = 0
    """The evaluation's own seed."""
    perturbations: Condition = ()
    """What every episode differs in from the protocol's own."""
    config: RunConfig = RunConfig()
    """How to run; changes no outcome."""


def evaluate_shard(item: ShardItem) -> int:
    """Run what a share's results folder lacks; return how many of its episodes succeeded.

    Raises:
        RunError: episodes met errors; the same item begins these again.
    """
    protocol = replace(get_protocol(item.protocol), perturbations=item.perturbations)
    policy = load_policy(item.policy, protocol, item.seed, item.assets)
    try:
        results = evaluate(
            policy,
            protocol,
            [get_task(key) for key in item.tasks],
            item.out,
            item.episodes,
            seed=item.seed,
            shard=item.shard,
            config=item.config,
            assets=item.assets,
        )
    finally:
        policy.close()
    if not is_complete(results):
        raise RunError(f"episodes in {item.out} met errors: run the same again")
    return sum(result.success for result in results.episodes)


def _definitions(tasks: Sequence[Task]) -> dict[str, dict[str, str]]:
    """Return what tells definitions of published suites apart; nothing for LIBERO's own."""
    found = definition_digests(tasks)
    return {"definitions": found} if found else {}


def _warn_of_cameras(needs: Requirements, protocol: Protocol) -> None:
    """Say so where a policy sees more than those that a protocol's published figures are of."""
    more = set() if needs.upright else set(needs.cameras) - set(protocol.cameras)
    if more:
        names = [n for n, one in PROTOCOLS.items() if set(needs.cameras) <= set(one.cameras)]
        logger.warning(
            "published policies look through %s alone under the protocol %s, and this one through "
            "%s, too; protocols of policies that do: %s", ", ".join(protocol.cameras),
            protocol.name, ", ".join(sorted(more)), ", ".join(names) or "none",
        )  # fmt: skip


def _episodes(recorded: ReplayPolicy | None, protocol: Protocol, tasks: Sequence[Task]) -> int:
    if recorded is None:
        return protocol.trials
    return min(len(recorded.recordings.get(task.key, ())) for task in tasks)


def _first_recording(
    policy: Policy, starts: ReplayPolicy | None, tasks: Sequence[Task], seed: int, count: int
) -> int:
    """Return at which recording of a task an evaluation's first episode begins.

    Fixtures stand where they did in the recording, so that a seed has nothing to draw there: it
    takes other recordings instead, and the same episode is never counted twice.

    Raises:
        SettingError: there are none left for this seed, or it is a replay, which has no other; or
            the policy plays ahead from the protocol's own starts.
    """
    if seed < 0:
        raise SettingError(f"an evaluation's seed is 0 or more, not {seed}")
    if starts is not None and isinstance(policy, ScriptedPolicy):
        raise SettingError(
            "the scripted policy plays each episode ahead from the protocol's own start, and would "
            "not fit a recorded one: leave out the starts"
        )
    if seed and isinstance(policy, ReplayPolicy):
        raise SettingError(
            f"a replay of a recording is the same with every seed, also with {seed}: leave out "
            "the seed, and ask for more episodes instead"
        )
    if starts is None:
        return 0
    fewest = min(tasks, key=lambda task: len(starts.recordings.get(task.key, ())))
    found = len(starts.recordings.get(fewest.key, ()))
    if seed and found < (seed + 1) * count:
        raise SettingError(
            f"with {count} episodes of each task seed {seed} begins at recordings {seed * count} "
            f"to {(seed + 1) * count - 1}, but there are {found} of {fewest.key}: ask for fewer "
            "episodes, or for another seed"
        )
    return seed * count


def _run_missing(
    policy: Policy,
    items: Sequence[Item],
    protocol: Protocol,
    config: RunConfig,
    progress: _Progress,
    assets: AssetPack,
) -> None:
    """Run the items that have no line yet, or one with an error."""
    done = progress.writer.done
    left = [item for item in items if (item.key.task, item.key.episode) not in done]
    progress.conclude()
    if progress.stop() is not None or not left:
        return
    timing = run(
        policy, left, protocol, config, progress.add, assets, lambda _: bool(progress.stop())
    )
    progress.writer.add_timing(timing)
    progress.conclude()


class _Progress:
    """What has ended so far, on disk, on the screen, and for the stopping rule."""

    def __init__(
        self,
        writer: ResultsWriter,
        total: int,
        rule: StoppingRule | None,
        beside: Sequence[Path],
        show: Show,
    ) -> None:
        self.writer = writer
        self._total, self._done = total, len(writer.done)
        self._rule, self._beside, self._show = rule, beside, show
        self._outcomes = table_of(writer.results.config["plan"], writer.results.episodes)

    def add(self, result: EpisodeResult, trajectory: Episode | None) -> None:
        """Keep an episode."""
        self.writer.add(result, trajectory)
        self._note(result)
        self._done += 1
        self._show(result, self._done, self._total)

    def stop(self) -> Stop | None:
        """Return where the rule stops, None to go on; what other shards have by now counts, too."""
        if self._rule is None:
            return None
        for folder in self._beside:
            if (folder / CONFIG).exists():
                other = load_results(folder)
                check_same(self.writer.results.config, other.config, folder)
                for result in other.episodes:
                    self._note(result)
        return find_stop(self._outcomes, self._rule)

    def conclude(self) -> None:
        """Note in the folder where the rule stops, if it does."""
        if self._rule is not None:
            write_stop(self.writer.folder, self._rule, self.stop())

    def _note(self, result: EpisodeResult) -> None:
        if result.error is None:
            self._outcomes[result.task][result.episode] = result.success


def is_complete(results: Results, rounds: int | None = None) -> bool:
    """Return whether every episode of the plan, or of the shard, ended without an error.

    Args:
        results: what a results folder holds.
        rounds: ask of the first so many episodes of each task alone.
    """
    shard = Shard.parse(results.config.get("shard", "0/1"))
    share = planned(results.config["plan"])[shard.index :: shard.count]
    ended = {result.key for result in results.episodes if result.error is None}
    return ended.issuperset(key for key in share if rounds is None or key[1] < rounds)
