"""Gathers what a run made of each task, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.trajectories import Trajectory
from common.errors import UsageError
from common.tensors import load_tensors
from generator.collect import CollectReport, read_report
from generator.discover import PatternEncoder
from generator.recipes import RECIPES, SUMMARY, read_summary
from generator.run_folder import LEARN, RunFolder
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
from simulation.assets.resolve import AssetPack, find_recorded_pack
from simulation.pictures.rendering import Renderer
from simulation.recordings.trajectories import Episode, TrajectoryFile
from simulation.tasks import Task, list_tasks

BASELINE, CANDIDATE = "o2o_rl", "dlr"
"""What is compared unless others are asked for: the candidate with the baseline."""


def report_run(
    run: RunFolder,
    assets: AssetPack | None,
    seed: int = 0,
    compared: tuple[str, str] = (BASELINE, CANDIDATE),
) -> tuple[Path, Path]:
    """Print and write the report; return the paths of the page and of the numbers.

    Args:
        run: the run's folder.
        assets: what pictures are drawn with; by default what the trajectories were made with.
        seed: of the trainings.
        compared: the baseline and the candidate; other recipes that were collected are compared
            with the baseline in tables.

    Raises:
        UsageError: no task was collected with both recipes, they are one, or what is there of a
            recipe is not of one training.
        OutputError: the run's folder cannot be written.
    """
    if len(set(compared)) < len(compared):
        raise UsageError(f"{compared[0]} cannot be compared with itself: name two recipes")
    tasks = [
        task
        for task in list_tasks()
        if all(run.trajectories(task, name, seed).exists() for name in compared)
    ]
    if not tasks:
        raise UsageError(
            f"{run.root} has no task that both {' and '.join(compared)} have collected with seed "
            f"{seed}; run `dlr train` and `dlr collect` for both"
        )
    found = [gather(run, task, seed, assets, compared) for task in tasks]
    return write_report(found, run.root)


def gather(
    run: RunFolder,
    task: Task,
    seed: int,
    assets: AssetPack | None,
    compared: tuple[str, str] = (BASELINE, CANDIDATE),
) -> TaskOutcome:
    """Read one task's results: all recipes, the demonstrations, and what else was collected.

    All are embedded by the candidate's frozen encoder, or the baseline's, where one has patterns,
    for the metrics in the encoder's own space.

    Raises:
        UsageError: what is there of a recipe is not of one training, or not all of one asset pack.
    """
    further = [
        name
        for name in RECIPES
        if name not in compared and run.trajectories(task, name, seed).exists()
    ]
    for recipe in (*compared, *further):
        check_training(run, task, recipe, seed)
    for recipe in RECIPES:
        check_learned(run, task, recipe, seed)
    check_packs(run, task, (*compared, *further), seed)
    encoder = next(filter(None, (_encoder(run, task, r, seed) for r in reversed(compared))), None)
    baseline, candidate, *rest = (
        _recipe_outcome(run, task, recipe, seed, encoder, assets)
        for recipe in (*compared, *further)
    )
    return TaskOutcome(
        task=task.key,
        language=task.language,
        baseline=baseline,
        candidate=candidate,
        provenance=_provenance(run, task, seed, compared[1]),
        demonstrations=_trajectories(run.demonstrations(task), encoder),
        others=_learned(run, task, seed, encoder, (*compared, *further)),
        further=rest,
    )


def check_training(run: RunFolder, task: Task, recipe: str, seed: int) -> None:
    """Refuse a recipe's stages, settings and episodes where they are not of one training.

    Training links one stage after the other, and episodes are collected later: what was there
    before stays until then.

    Raises:
        UsageError: they are of several, or the training is not finished.
    """
    folder, stages = run.policies(task, recipe, seed), RECIPES[recipe].stages
    again = "are of different trainings: finish `dlr train` for this recipe, then `dlr collect`"
    made: dict[str, str] = {}
    for stage in stages:
        record = read_record(folder / stage.name)
        for name, digest in record["inputs"].items():
            if made.setdefault(name, digest) != digest:
                raise UsageError(f"{task.key}, {recipe}: {stage.name} and {name} {again}")
        made[stage.name] = record["result"]
    final = stages[-1].name
    told = read_summary(folder)["results"] if (folder / SUMMARY).exists() else made
    if told.get(final) != made[final]:
        raise UsageError(f"{task.key}, {recipe}: {final} and the settings in {SUMMARY} {again}")
    episodes = run.trajectories(task, recipe, seed)
    _check_episodes(episodes, folder, recipe, final, "run `dlr collect` for this recipe again")


def check_learned(run: RunFolder, task: Task, recipe: str, seed: int) -> None:
    """Refuse episodes collected after `learn` where that stage has made another policy since.

    Later stages need not be there, and the episodes alone are enough.

    Raises:
        UsageError: it has.
    """
    folder, episodes = run.policies(task, recipe, seed), run.learned(task, recipe, seed)
    if episodes.exists() and (folder / LEARN).exists():
        remedy = "run `dlr generate` for this recipe again, or delete the file"
        _check_episodes(episodes, folder, recipe, LEARN, remedy)


def check_packs(run: RunFolder, task: Task, recipes: Sequence[str], seed: int) -> None:
    """Refuse demonstrations and episodes of a task that are not all of one asset pack.

    Raises:
        UsageError: they are of several.
    """
    collected = [run.trajectories(task, name, seed) for name in recipes]
    learned = [run.learned(task, name, seed) for name in RECIPES]
    packs: dict[str, str] = {}
    for path in (run.demonstrations(task), *collected, *filter(Path.exists, learned)):
        with TrajectoryFile(path) as file:
            name = f"the asset pack {file.asset_pack} ({file.asset_digest[:12]})"
            packs.setdefault(name, str(path))
    if len(packs) > 1:
        (first, one), (other, another), *_ = packs.items()
        raise UsageError(
            f"{task.key}: {one} was made with {first}, {another} with {other}: what is compared "
            "must be of one pack; make one of them again"
        )


def _check_episodes(path: Path, folder: Path, recipe: str, stage: str, remedy: str) -> None:
    """Refuse episodes of another policy than the one that a stage in a folder has made.

    Raises:
        UsageError: they are.
    """
    file = next(s.file for s in RECIPES[recipe].stages if s.name == stage)
    made = load_tensors(folder / stage / file, "policy")[1]["policy_hash"]
    with TrajectoryFile(path) as episodes:
        if any(info.policy_hash != made for info in episodes.infos):
            raise UsageError(
                f"{episodes.task.key}, {recipe}: {path} and the policy of {stage} are of different "
                f"trainings: {remedy}"
            )


def _encoder(run: RunFolder, task: Task, recipe: str, seed: int) -> PatternEncoder | None:
    """Return a recipe's own encoder; None where it has no patterns."""
    stage = next((s for s in RECIPES[recipe].stages if s.name == "discover"), None)
    if stage is None:
        return None
    return PatternEncoder.load(run.policies(task, recipe, seed) / stage.name / stage.file)


def _learned(
    run: RunFolder,
    task: Task,
    seed: int,
    encoder: PatternEncoder | None,
    recipes: Sequence[str],
) -> list[Source]:
    """Return what was collected after `learn`, in the order of the recipes, then of others.

    What RL has made of the ways can so be told from what the clone never had.
    """
    names = dict.fromkeys((*recipes, *RECIPES))
    places = {name: run.learned(task, name, seed) for name in names}
    return [
        Source(f"{RECIPES[name].label}, after learn", _trajectories(path, encoder))
        for name, path in places.items()
        if path.exists()
    ]


def _trajectories(path: Path, encoder: PatternEncoder | None) -> list[Trajectory]:
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
    encoder: PatternEncoder | None,
    assets: AssetPack | None,
) -> RecipeOutcome:
    folder, stages = run.policies(task, recipe, seed), RECIPES[recipe].stages
    learned, final = (read_record(folder / s)["report"] for s in (LEARN, stages[-1].name))
    own = _encoder(run, task, recipe, seed)
    patterns = own is not None
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
        reinforced=_counts(final, patterns),
        recognised=_recognised(episodes, own) if own else {},
        discovery_nmi=nmi,
        curves=_curves(final, patterns) if "history" in final else [],
        training={key: final[key] for key in _TRAINING if "stopped" in final},
        theorem=final.get("theorem", ()),
        collection=_collection(episodes, read_report(run.trajectories(task, recipe, seed))),
        filmstrips=filmstrips,
    )


_TRAINING = ("budget", "stopped", "environment_steps")
"""What the report tells of PPO."""


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
    pack = asked or find_recorded_pack(file.asset_digest)
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


def _provenance(run: RunFolder, task: Task, seed: int, recipe: str) -> dict[str, Any]:
    with TrajectoryFile(run.trajectories(task, recipe, seed)) as file:
        simulator = {"asset_pack": file.asset_pack, "asset_digest": file.asset_digest}
        versions = file.versions
    with TrajectoryFile(run.demonstrations(task)) as file:
        sources: dict[str, int] = {}
        for episode in file:
            name = " ".join(filter(None, (episode.info.method, episode.info.way)))
            sources[name] = sources.get(name, 0) + 1
    folder = run.policies(task, recipe, seed)
    record = read_record(folder / RECIPES[recipe].stages[-1].name)
    config = read_summary(folder)["config"]
    return {
        "simulator": simulator | versions,
        "learner": record["versions"],
        "demonstrations": sources,
        "seed": seed,
        "config": config,
    }
