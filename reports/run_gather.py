"""Gathers what a run made of each task, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.trajectories import Trajectory
from common.errors import UsageError
from generator.collect import CollectReport, read_report
from generator.discover import PatternEncoder
from generator.recipes import RECIPES, read_summary
from generator.run_folder import RunFolder
from generator.stages import read_record
from reports.run import write_report
from reports.run_outcomes import (
    Count,
    Filmstrip,
    LearningCurve,
    RecipeOutcome,
    Source,
    TaskOutcome,
)
from simulation.assets.resolve import AssetPack, find_embedded_pack, resolve_assets
from simulation.pictures.rendering import Renderer
from simulation.recordings.trajectories import Episode, TrajectoryFile
from simulation.tasks import Task, list_tasks

BASELINE, CANDIDATE = "o2o_rl", "dlr"
"""What is compared: the candidate with the baseline."""


def report_run(run: RunFolder, assets: AssetPack | None, seed: int = 0) -> tuple[Path, Path]:
    """Print and write the report; return the paths of the page and of the numbers.

    Raises:
        UsageError: no task was collected with both recipes.
        OutputError: the run's folder cannot be written.
    """
    tasks = [
        task
        for task in list_tasks()
        if all(run.trajectories(task, name, seed).exists() for name in (BASELINE, CANDIDATE))
    ]
    if not tasks:
        raise UsageError(
            f"{run.root} has no task that both {BASELINE} and {CANDIDATE} have collected with seed "
            f"{seed}; run `dlr train` and `dlr collect` for both"
        )
    return write_report([gather(run, task, seed, assets) for task in tasks], run.root)


def gather(run: RunFolder, task: Task, seed: int, assets: AssetPack | None) -> TaskOutcome:
    """Read one task's results: both recipes, the demonstrations, and what else was collected.

    All are embedded by DLR's frozen encoder for the metrics in the encoder's own space.
    """
    encoder = PatternEncoder.load(
        run.policies(task, CANDIDATE, seed) / "discover" / "encoder.safetensors"
    )
    baseline, candidate = (
        _recipe_outcome(run, task, recipe, seed, encoder, assets)
        for recipe in (BASELINE, CANDIDATE)
    )
    return TaskOutcome(
        task=task.key,
        language=task.language,
        baseline=baseline,
        candidate=candidate,
        provenance=_provenance(run, task, seed),
        demonstrations=_trajectories(run.demonstrations(task), encoder),
        others=_others(run, task, seed, encoder),
    )


def _others(run: RunFolder, task: Task, seed: int, encoder: PatternEncoder) -> list[Source]:
    """Return what was collected after `learn`, by the recipes compared first, and other recipes'.

    What RL has made of the ways can so be told from what the clone never had.
    """
    found = []
    for name in sorted(RECIPES, key=lambda name: name not in (BASELINE, CANDIDATE)):
        label = RECIPES[name].label
        places = {f"{label}, after learn": run.learned(task, name, seed)}
        if name not in (BASELINE, CANDIDATE):
            places = {label: run.trajectories(task, name, seed)} | places
        found += [
            Source(title, _trajectories(path, encoder))
            for title, path in places.items()
            if path.exists()
        ]
    return found


def _trajectories(path: Path, encoder: PatternEncoder) -> list[Trajectory]:
    with TrajectoryFile(path) as file:
        return [to_trajectory(episode, encoder) for episode in file]


def to_trajectory(episode: Episode, encoder: PatternEncoder | None = None) -> Trajectory:
    """Return an episode of any source as the metrics see it, embedded where there is an encoder."""
    return Trajectory(
        proprio=episode.path,
        embedding=None if encoder is None else encoder.embed(episode.path).astype(float),
        pattern=episode.info.pattern,
        seed=episode.info.seed,
        init_index=episode.info.init_index,
        success=episode.info.success,
        actions=episode.actions,
        way=episode.info.way,
    )


def _recipe_outcome(
    run: RunFolder,
    task: Task,
    recipe: str,
    seed: int,
    encoder: PatternEncoder,
    assets: AssetPack | None,
) -> RecipeOutcome:
    folder = run.policies(task, recipe, seed)
    learned, reinforced = (
        read_record(folder / stage)["report"] for stage in ("learn", "reinforce")
    )
    patterns = any(stage.name == "discover" for stage in RECIPES[recipe].stages)
    with TrajectoryFile(run.trajectories(task, recipe, seed)) as file:
        episodes = list(file)
        filmstrips = _filmstrips(task, episodes, pack_of(file, assets))
    trajectories = [to_trajectory(episode, encoder) for episode in episodes]
    nmi = None
    if patterns:
        nmi = read_record(folder / "discover")["report"].get("agreement", {}).get("trajectory")
    return RecipeOutcome(
        name=RECIPES[recipe].label,
        trajectories=trajectories,
        learned=_counts(learned, patterns),
        reinforced=_counts(reinforced, patterns),
        recognised=_recognised(episodes, encoder) if patterns else {},
        discovery_nmi=nmi,
        curves=_curves(reinforced, patterns),
        training={key: reinforced[key] for key in ("budget", "stopped", "environment_steps")},
        theorem=reinforced["theorem"],
        collection=_collection(episodes, read_report(run.trajectories(task, recipe, seed))),
        filmstrips=filmstrips,
    )


def _counts(report: Mapping[str, Any], patterns: bool) -> dict[int, Count]:
    """Return held-out successes per pattern; -1 where the recipe has none."""
    return {
        z if patterns else -1: Count(round(row["success"] * row["episodes"]), row["episodes"])
        for z, row in enumerate(report["held_out_success"])
    }


def _recognised(episodes: Sequence[Episode], encoder: PatternEncoder) -> dict[int, Count]:
    """Return, per pattern, how many collected episodes the encoder recognises as theirs."""
    found: dict[int, list[bool]] = {z: [] for z in range(encoder.patterns)}
    for episode in episodes:
        z = episode.info.pattern
        found[z].append(encoder.classify_trajectory(episode.proprio) == z)
    return {z: Count(sum(hits), len(hits)) for z, hits in found.items()}


def _curves(reinforced: Mapping[str, Any], patterns: bool) -> list[LearningCurve]:
    """Return PPO's own checks over environment steps, per pattern and, in bold, over all.

    The first is of the clone, before any step. All have training's horizon, and so lie below the
    reported success, which has the task's.
    """
    history = reinforced["history"]
    before = np.cumsum([0.0, *(measures["environment_steps"] for measures in history)])
    checks = [i for i, measures in enumerate(history) if "held_out_success/0" in measures]
    groups = len(reinforced["held_out_success"])
    steps = [float(before[i + 1 if i else 0]) for i in checks]
    rates = [[history[i][f"held_out_success/{z}"] for z in range(groups)] for i in checks]
    curves = [LearningCurve(None, steps, [sum(row) / len(row) for row in rates])]
    if patterns:
        curves += [LearningCurve(z, steps, list(r)) for z, r in enumerate(zip(*rates, strict=True))]
    return curves


def _collection(episodes: Sequence[Episode], report: CollectReport) -> dict[str, Any]:
    lengths = [len(episode) for episode in episodes]
    reached = len(episodes) + sum(report.unreleased)
    return {
        "episodes": len(episodes),
        "mean length": round(sum(lengths) / len(lengths), 1),
        "from official init states": sum(episode.info.init_index >= 0 for episode in episodes),
        "kept of those that reached the goal": round(len(episodes) / reached, 3),
        "sha256 of the policy": episodes[0].info.policy_hash,
    }


def pack_of(file: TrajectoryFile, asked: AssetPack | None) -> AssetPack:
    """Return the pack that a file was made with; the one asked for must be that.

    Raises:
        UsageError: it is not, or is not found.
    """
    pack = asked or find_embedded_pack(file.asset_digest) or resolve_assets()
    if file.asset_digest != pack.digest:
        raise UsageError(
            f"{file.path} was made with the asset pack {file.asset_pack} "
            f"({file.asset_digest[:12]}), not {pack.name} ({pack.digest[:12]}): "
            "give the right one with --assets"
        )
    return pack


def _filmstrips(task: Task, episodes: Sequence[Episode], assets: AssetPack) -> list[Filmstrip]:
    """Draw the first, the middle and the last moment of each pattern's first episode."""
    first: dict[int, Episode] = {}
    for episode in episodes:
        first.setdefault(episode.info.pattern, episode)
    strips = []
    with Renderer(task, assets) as renderer:
        for pattern, episode in sorted(first.items()):
            states = [episode.states[0], episode.states[len(episode) // 2], episode.final_state]
            frames = [renderer.render(state, episode.fixtures) for state in states]
            strips.append(Filmstrip(pattern, frames))
    return strips


def _provenance(run: RunFolder, task: Task, seed: int) -> dict[str, Any]:
    with TrajectoryFile(run.trajectories(task, CANDIDATE, seed)) as file:
        simulator = {"asset_pack": file.asset_pack, "asset_digest": file.asset_digest}
        versions = file.versions
    with TrajectoryFile(run.demonstrations(task)) as file:
        sources: dict[str, int] = {}
        for episode in file:
            name = " ".join(filter(None, (episode.info.method, episode.info.way)))
            sources[name] = sources.get(name, 0) + 1
    folder = run.policies(task, CANDIDATE, seed)
    record = read_record(folder / "reinforce")
    config = read_summary(folder)["config"]
    return {
        "simulator": simulator | versions,
        "learner": record["versions"],
        "demonstrations": sources,
        "seed": seed,
        "config": config,
    }
