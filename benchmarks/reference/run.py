"""`python -m benchmarks.reference.run`: our harness beside three others, one policy, hours.

The policy plays a recorded demonstration of each task open loop, in chunks of ten actions, so that
it is the same everywhere, costs nothing, and succeeds from some init states and not from others.
Each of the others runs in its own defaults, and ours then under the protocol that it follows.
Time is that of whole processes, one contender at a time.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import (
    BenchmarkError,
    Result,
    Target,
    describe_rendering,
    describe_versions,
    in_fresh_process,
)
from benchmarks.reference.contenders import (
    CONTENDERS,
    Contender,
    Cost,
    Job,
    Outcomes,
    read_ours,
    run_ours,
)
from benchmarks.reference.policy.demonstrations import CHUNK, STEPS
from benchmarks.reference.workers import reference_protocol
from benchmarks.run import table
from common.files import write_json
from common.intervals import wilson_interval
from common.machine import describe_machine
from common.versions import head
from eval_harness.compare import compare
from eval_harness.plan import Start, make_item
from eval_harness.policies.replay import RecordedActions
from eval_harness.protocols import get_protocol
from eval_harness.results import EpisodeResult, Results, make_config
from simulation.assets.resolve import AssetPack, resolve_assets
from simulation.preflight import versions
from simulation.recordings.trajectories import Episode
from simulation.tasks import Task, list_tasks

RESULTS = Path(__file__).parents[1] / "evaluation_reference.json"
SUITE = "libero_spatial"
DEMONSTRATIONS = (5, 0, 2, 4, 5, 0, 5, 1, 3, 5)
"""Of each task, the scripted demonstrator's episode that is played: of the first six, that which
succeeds nearest to half of the time when it is played from ten other init states."""
TARGETS = {"sequential": Target(5.0), "lerobot-eval": Target(2.0), "vla-eval": Target(2.0)}
"""How many times as many episodes a second ours should do."""
_DECISIVE = ("tasks", "trials", "demonstrations", "assets", "versions", "commit", "rendering")
"""What of the report a cost depends on, beside the machine."""


def run(
    trials: int = 50,
    tasks: tuple[int, ...] = (),
    only: tuple[str, ...] = (),
    assets: Path | None = None,
    work: Path = Path("runs/evaluation_reference"),
    output: Path = RESULTS,
) -> None:
    """Compare our harness's speed and outcomes with others', on LIBERO-Spatial.

    Args:
        trials: episodes of each task, 1 to 50.
        tasks: numbers of the suite's tasks, 0 to 9; by default all.
        only: contenders to run beside ours, of sequential, lerobot-eval and vla-eval.
        assets: `libero`, `embedded` or a folder; by default the first that `dlr assets` lists.
        work: folder for what they write; a contender that has finished there, with the same
            tasks, assets, versions and commit on the same machine, is not run again.
        output: JSON file to write.

    Raises:
        BenchmarkError: a name is unknown, or a contender failed.
    """
    names = only or tuple(CONTENDERS)
    if unknown := sorted(set(names) - set(CONTENDERS)):
        raise BenchmarkError(f"no contender {', '.join(unknown)}; there are {list(CONTENDERS)}")
    if not 1 <= trials <= 50:
        raise BenchmarkError("--trials must be 1 to 50, as there are 50 init states")
    suite, pack = list_tasks(SUITE), resolve_assets(assets)
    chosen = tuple(suite[index] for index in tasks or range(len(suite)))
    checkpoint = work.resolve() / "checkpoint"
    if not (checkpoint / "model.safetensors").exists():
        in_fresh_process(record, checkpoint, suite, pack)
    job = Job(checkpoint, pack, chosen, trials, work.resolve())
    report = _describe(job)
    for name in names:
        report["contenders"][name] = _pair(job, name, CONTENDERS[name], report)
        write_json(output, report)
        print(table([Result(**_row(report, name))]), flush=True)


def record(folder: Path, tasks: list[Task], assets: AssetPack) -> None:
    """Write the policy's checkpoint: a successful scripted demonstration of each task.

    Raises:
        BenchmarkError: the demonstrator fails.
    """
    from benchmarks.reference.policy.lerobot_policy import save_checkpoint
    from eval_harness.policies.scripted import ScriptedPolicy
    from eval_harness.runner import RunConfig
    from eval_harness.runner import run as run_episodes

    protocol, actions = get_protocol("openvla_oft"), {}
    items = [
        make_item(protocol, task, episode)
        for task, episode in zip(tasks, DEMONSTRATIONS, strict=True)
    ]

    def keep(result: EpisodeResult, trajectory: Episode | None) -> None:
        if trajectory is None or not result.success:
            raise BenchmarkError(f"no demonstration of {result.task}: {result.error}")
        recording = RecordedActions(Start(), trajectory.actions)
        actions[result.task] = recording.chunk(0, STEPS).astype(np.float32)

    run_episodes(ScriptedPolicy(protocol, 0, assets), items, protocol, RunConfig(), keep, assets)
    languages = [task.language for task in tasks]
    save_checkpoint(folder, languages, np.stack([actions[task.key] for task in tasks]))


def _pair(job: Job, name: str, contender: Contender, report: Mapping[str, Any]) -> dict[str, Any]:
    """Run a contender and ours under its protocol; return costs, outcomes and their comparison."""
    theirs, their_outcomes = _run(job, name, contender, report)
    own = replace(contender, run=run_ours, read=read_ours)
    ours, our_outcomes = _run(job, f"ours-{name}", own, report)
    a = _results(job, contender.protocol, name, their_outcomes)
    b = _results(job, contender.protocol, "ours", our_outcomes)
    found = compare(a, b).all
    return {
        "protocol": contender.protocol,
        "theirs": _side(theirs, their_outcomes),
        "ours": _side(ours, our_outcomes),
        "wall_ratio": theirs.wall_s / ours.wall_s,
        "cpu_ratio": theirs.cpu_s / ours.cpu_s,
        "target": str(TARGETS[name]),
        "met": TARGETS[name].met(theirs.wall_s / ours.wall_s),
        "paired": found.as_dict(),
    }


def _run(
    job: Job, name: str, contender: Contender, report: Mapping[str, Any]
) -> tuple[Cost, Outcomes]:
    """Run a contender, unless it has finished this very job before, as `report` describes it."""
    import json

    folder = job.work / name
    done, plan = folder / "cost.json", _plan(contender, report)
    if done.exists() and (content := json.loads(done.read_text()))["plan"] == plan:
        return Cost(**content["cost"]), contender.read(replace(job, work=folder))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"running {name} ...", file=sys.stderr, flush=True)
    inside = replace(job, work=folder)
    cost = contender.run(inside, contender.protocol)
    outcomes = contender.read(inside)
    if len(outcomes) != len(job.tasks) * job.trials:
        raise BenchmarkError(f"{name} reports {len(outcomes)} episodes: see {folder}")
    write_json(done, {"plan": plan, "cost": asdict(cost)})
    return cost, outcomes


def _plan(contender: Contender, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cost depends on, plain JSON types; the machine's load is told beside it."""
    machine = {name: fact for name, fact in report["machine"].items() if name != "load_average"}
    decisive = {name: report[name] for name in _DECISIVE}
    return {"protocol": contender.protocol, "machine": machine, **decisive}


def _results(job: Job, protocol: str, name: str, outcomes: Outcomes) -> Results:
    """Return a contender's outcomes as results, whose steps are not known (0)."""
    chosen, pack = reference_protocol(protocol), job.assets
    config = make_config(
        chosen,
        {"kind": name},
        0,
        {"name": pack.name, "digest": pack.digest},
        versions(),
        [task.key for task in job.tasks],
        job.trials,
    )
    episodes = []
    for task in job.tasks:
        for episode in range(job.trials):
            key, success = make_item(chosen, task, episode).key, outcomes[task.key, episode]
            result = (key.task, key.episode, key.init_index, key.seed, success, 0, 0.0)
            episodes.append(EpisodeResult(*result))
    return Results(config, episodes, job.work / name)


def _side(cost: Cost, outcomes: Outcomes) -> dict[str, Any]:
    """Return one side's cost and success, as JSON can hold them."""
    successes, n = sum(outcomes.values()), len(outcomes)
    tasks = sorted({task for task, _ in outcomes})
    by_task = {t: [ok for (task, _), ok in sorted(outcomes.items()) if task == t] for t in tasks}
    return {
        **asdict(cost),
        "episodes": n,
        "episodes_per_hour": 3600 * n / cost.wall_s,
        "successes": successes,
        "rate": successes / n,
        "interval_95": wilson_interval(successes, n),
        "outcomes": by_task,
    }


def _row(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the fields of a line of the table."""
    pair = report["contenders"][name]
    ratio = pair["wall_ratio"]
    return {
        "name": f"evaluation under {pair['protocol']} / {name}",
        "ours": pair["ours"]["episodes_per_hour"],
        "peer": pair["theirs"]["episodes_per_hour"],
        "ratio": ratio,
        "unit": "episodes/h",
        "low": ratio,
        "high": ratio,
        "repetitions": 1,
        "target": TARGETS[name],
    }


def _describe(job: Job) -> dict[str, Any]:
    """Return what the run is measured with, plain JSON types."""
    peers = {name: importlib.metadata.version(name) for name in ("lerobot", "vla-eval")}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "suite": SUITE,
        "tasks": [task.key for task in job.tasks],
        "trials": job.trials,
        "chunk": CHUNK,
        "demonstrations": dict(
            zip([t.key for t in list_tasks(SUITE)], DEMONSTRATIONS, strict=True)
        ),
        "seeds": "those of each protocol; ours with evaluation seed 0",
        "assets": {"name": job.assets.name, "digest": job.assets.digest},
        "machine": describe_machine(),
        "versions": {**describe_versions(), **peers},
        "commit": head(),
        "rendering": in_fresh_process(describe_rendering),
        "ratio": "their time / ours, of whole processes; one run each, start-up included",
        "contenders": {},
    }


if __name__ == "__main__":
    import tyro

    from common.errors import DlrError

    try:
        tyro.cli(run, prog="python -m benchmarks.reference.run")
    except DlrError as error:
        sys.exit(f"benchmarks: {error}")
