"""An evaluation from policy to results folder: begun, gone on with, sharded, or stopped early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import SettingError
from common.json_files import write_sealed
from eval_harness.plan import Item, Shard, make_items
from eval_harness.policies import load_policy
from eval_harness.policies.replay import ReplayPolicy
from eval_harness.policy import Policy
from eval_harness.protocols import Protocol, get_protocol
from eval_harness.results import (
    EpisodeResult,
    Results,
    ResultsWriter,
    load_results,
    make_config,
    planned,
)
from eval_harness.runner import RunConfig, RunError, run
from eval_harness.statistics import Stop, StoppingRule, find_stop
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.preflight import versions
from simulation.recordings.trajectories import Episode
from simulation.suites.published import definition_digests
from simulation.tasks import Task, get_task

STOP = "stop.json"
"""File of a results folder that says why an evaluation stopped early."""
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
        seed: 0 follows the protocol; another draws other scenes and noise.
        starts: recordings at whose starts the episodes begin, such as those that the policy was
            trained on; by default the official init states, or a replay's own.
        shard: which share of the episodes to run.
        config: how to run; changes no outcome.
        assets: asset pack; by default the first that `resolve_assets` finds.
        rule: stop early by this rule; the episodes are then taken by turns of the tasks.
        preflight: the preflight's report, to be kept with the results.
        show: see `Show`.

    Raises:
        ResultsError: the folder holds another evaluation.
        SettingError: there is nothing to run, or a shard is to stop early.
        RunError: too many episodes in a row met errors.
    """
    if rule is not None and shard.count > 1:
        raise SettingError("a shard cannot stop early: it does not see the others' episodes")
    pack = assets or resolve_assets()
    recorded = policy if starts is None and isinstance(policy, ReplayPolicy) else starts
    count = episodes if episodes is not None else _episodes(recorded, protocol, tasks)
    find_start = recorded.start if recorded else lambda task, episode: None
    items = shard.of(make_items(protocol, tasks, count, seed, find_start))
    content = make_config(
        protocol,
        policy.identity(),
        seed,
        {"name": pack.name, "digest": pack.digest, **_definitions(tasks)},
        versions(),
        [task.key for task in tasks],
        count,
        starts=starts.identity() if starts else None,
        shard=f"{shard.index}/{shard.count}",
        preflight=preflight,
    )
    policy.run_under(protocol)
    writer = ResultsWriter(out, content)
    try:
        _run_missing(policy, items, protocol, config, writer, pack, rule, show)
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
    config: RunConfig = RunConfig()
    """How to run; changes no outcome."""


def evaluate_shard(item: ShardItem) -> int:
    """Run what a share's results folder lacks; return how many of its episodes succeeded.

    Raises:
        RunError: episodes met errors; the same item begins these again.
    """
    protocol = get_protocol(item.protocol)
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


def _episodes(recorded: ReplayPolicy | None, protocol: Protocol, tasks: Sequence[Task]) -> int:
    if recorded is None:
        return protocol.trials
    return min(len(recorded.recordings.get(task.key, ())) for task in tasks)


def _run_missing(
    policy: Policy,
    items: Sequence[Item],
    protocol: Protocol,
    config: RunConfig,
    writer: ResultsWriter,
    assets: AssetPack,
    rule: StoppingRule | None,
    show: Show,
) -> None:
    """Run the items that have no line yet, or one with an error."""
    done = writer.done
    left = [item for item in items if (item.key.task, item.key.episode) not in done]
    progress = _Progress(writer, len(items) - len(left), len(items), rule, show)
    if rule is not None:
        left.sort(key=lambda item: item.key.episode)
        if progress.stop() is not None:
            return
    if left:
        timing = run(
            policy, left, protocol, config, progress.add, assets, lambda _: bool(progress.stop())
        )
        writer.add_timing(timing)


class _Progress:
    """What has ended so far, on disk, on the screen, and for the stopping rule."""

    def __init__(
        self, writer: ResultsWriter, done: int, total: int, rule: StoppingRule | None, show: Show
    ) -> None:
        self._writer, self._done, self._total = writer, done, total
        self._rule, self._show = rule, show
        plan = writer.results.config["plan"]
        self._outcomes: dict[str, list[bool | None]] = {
            task: [None] * plan["episodes"] for task in plan["tasks"]
        }
        for result in writer.results.episodes:
            self._note(result)

    def add(self, result: EpisodeResult, trajectory: Episode | None) -> None:
        """Keep an episode."""
        self._writer.add(result, trajectory)
        self._note(result)
        self._done += 1
        self._show(result, self._done, self._total)

    def stop(self) -> Stop | None:
        """Return where to stop, and note it in the folder; None to go on."""
        if self._rule is None:
            return None
        found = find_stop(self._outcomes, self._rule)
        if found is not None:
            write_sealed(self._writer.folder / STOP, {"rule": asdict(self._rule), **asdict(found)})
        return found

    def _note(self, result: EpisodeResult) -> None:
        outcome = None if result.error is not None else result.success
        self._outcomes[result.task][result.episode] = outcome


def is_complete(results: Results) -> bool:
    """Return whether every episode of the plan, or of the shard, ended without an error."""
    shard = Shard.parse(results.config.get("shard", "0/1"))
    wanted = planned(results.config["plan"])[shard.index :: shard.count]
    ended = {result.key for result in results.episodes if result.error is None}
    return ended.issuperset(wanted)
