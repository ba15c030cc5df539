"""Films of an evaluation's episodes, in full length and size, as they were perturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import UsageError
from eval_harness.perturbations.arms import is_arms
from eval_harness.perturbations.table import look_of, read_condition, scene_of
from eval_harness.results import EpisodeResult, Results, ResultsError, trajectory_path
from eval_harness.sequential.stopped import load_counted
from reports.video import find_assets
from simulation.physics.control import CONTROL_FREQUENCY
from simulation.pictures.pictures import draw_states, write_video
from simulation.pictures.rendering import Renderer
from simulation.recordings.footage import Footage, episode_footage
from simulation.scene import load_scene
from simulation.tasks import Task, get_task

OUTCOMES = {"successes": "success", "failures": "failure", "all": "episode"}
"""Which episodes are wanted -> what one of them is."""


def load_episodes(folder: Path) -> Results:
    """Read the results folder whose episodes are to be seen.

    Raises:
        ResultsError: it is missing or damaged, or holds arms, of which one must be named.
    """
    if is_arms(folder):
        raise ResultsError(f"{folder} holds arms: name one, such as {folder / 'control'}")
    return load_counted(folder)[0]


def choose_episodes(
    results: Results,
    outcome: str = "all",
    tasks: Sequence[str] = (),
    episodes: Sequence[int] = (),
) -> list[EpisodeResult]:
    """Return stored episodes, in the order of the plan; errors have none.

    Args:
        results: the evaluation.
        outcome: one of `OUTCOMES`.
        tasks: tasks, as `suite/name` or their names alone; by default all.
        episodes: their numbers; by default all.

    Raises:
        UnknownTaskError: there is no such task.
        ResultsError: there is no such episode, or it was not stored.
    """
    keys = {get_task(name).key for name in tasks}
    found = [
        result
        for result in results.episodes
        if result.error is None
        and (not keys or result.task in keys)
        and (not episodes or result.episode in episodes)
        and (outcome == "all" or result.success == (outcome == "successes"))
    ]
    if not found:
        raise ResultsError(f"{results.folder} has no such {OUTCOMES[outcome]}: see `dlr eval csv`")
    stored = [r for r in found if trajectory_path(results.folder, r.task, r.episode).exists()]
    if not stored:
        raise ResultsError(
            f"{results.folder} has no stored trajectory of these episodes (folder `episodes`): "
            "they cannot be drawn"
        )
    return stored


def find_episode(results: Results, task: Task | None, episode: int) -> EpisodeResult:
    """Return one stored episode; the task may be left out where there is one.

    Raises:
        UsageError: there are several tasks, and none is named.
        ResultsError: there is no such episode, or it was not stored.
    """
    tasks = results.config["plan"]["tasks"]
    if task is None and len(tasks) > 1:
        raise UsageError(f"{results.folder} has {len(tasks)} tasks: name one, such as {tasks[0]}")
    return choose_episodes(results, tasks=[task.key] if task else [], episodes=[episode])[0]


def film(results: Results, episode: EpisodeResult, assets: Path | None = None) -> Footage:
    """Return what an episode went through, in the scene and with the look that it had.

    Noise of pictures is not shown.

    Raises:
        ResultsError: its trajectory is missing or damaged.
        AssetError: the evaluation's assets are not at hand.
    """
    task, pack = get_task(episode.task), find_assets(results, assets)
    condition = read_condition(results.config["protocol"])
    scene = scene_of(load_scene(task, pack), condition)
    title = f"{results.folder.name}, episode {episode.episode}"
    footage = episode_footage(results.trajectory(episode), task, pack, title)
    look = look_of(condition, scene.visual_model, task, episode.seed)
    return replace(footage, scene=scene, look=look)


def write_films(
    results: Results,
    episodes: Sequence[EpisodeResult],
    out: Path,
    cameras: Sequence[str],
    size: int,
    assets: Path | None = None,
) -> list[Path]:
    """Write each episode as `SUITE--TASK-NUMBER-OUTCOME.mp4`, every step, in real time.

    Args:
        results: the evaluation.
        episodes: which.
        out: folder to write to.
        cameras: cameras, side by side.
        size: height and width of each camera's picture, pixels; even.
        assets: folder of assets to draw with; by default those simulated with.

    Raises:
        ResultsError, AssetError: as for `film`.
        RenderError: nothing renders here, or there is no such camera.
        OutputError: the folder cannot be written.
    """
    paths = []
    for episode in episodes:
        footage = film(results, episode, assets)
        outcome = "success" if episode.success else "failure"
        name = episode.task.replace("/", "--")
        path = out / f"{name}-{episode.episode}-{outcome}.mp4"
        with Renderer(footage.task, footage.assets, size, size, footage.scene) as renderer:
            renderer.wear(footage.look)
            states = draw_states(renderer, footage.states, footage.fixtures, cameras, size)
            write_video(path, states, CONTROL_FREQUENCY)
        paths.append(path)
    return paths
