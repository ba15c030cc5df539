"""Videos of episodes that a policy fails under a perturbation and solves without, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval_harness.perturbations.retained import Retained
from eval_harness.results import EpisodeResult, Results, trajectory_path
from reports.robustness.curves import arms_of
from reports.robustness.entries import Entry
from reports.video import Scene, VideoSettings, draw_pairs

Pair = tuple[EpisodeResult, EpisodeResult]


@dataclass(frozen=True)
class LostScene:
    """A video: the control's episode left, the perturbed one right."""

    entry: Entry
    """Whose."""
    arm: Retained
    """Under which condition."""
    scene: Scene
    """The video."""


def draw_lost(
    entries: Sequence[Entry], settings: VideoSettings, assets: Path | None = None
) -> list[LostScene]:
    """Draw episodes that fail in an arm and succeed in its control, of one start and seed.

    `settings.count` of them in all, by turns of the policies and axes, of each the lowest level at
    which one is lost first. An episode whose trajectory was not stored cannot be drawn.

    Raises:
        AssetError: the evaluation's assets are not at hand.
        ResultsError: a trajectory is damaged.
        RenderError: nothing renders here, or there is no such camera.
    """
    chosen = _choose(entries, settings.count)
    found = []
    for entry in entries:
        for arm in arms_of(entry):
            pairs = [pair for other, at, pair in chosen if (other, at) == (entry.title, arm.name)]
            if pairs:
                sides = (entry.results, entry.arms[arm.name])
                scenes = draw_pairs(*sides, pairs, replace(settings, count=len(pairs)), assets)
                found += [LostScene(entry, arm, scene) for scene in scenes]
    return found


def _choose(entries: Sequence[Entry], count: int) -> list[tuple[str, str, Pair]]:
    """Return (title of the entry, name of the arm, pair) of those to draw."""
    queues: dict[tuple[str, str], list[tuple[str, str, Pair]]] = {}
    for entry in entries:
        for arm in arms_of(entry):
            queue = queues.setdefault((entry.title, arm.axes), [])
            drawable = [p for p in entry.lost(arm.name) if _stored(entry, arm.name, p)]
            queue += [(entry.title, arm.name, pair) for pair in drawable]
    chosen: list[tuple[str, str, Pair]] = []
    for turn in range(max(map(len, queues.values()), default=0)):
        chosen += [queue[turn] for queue in queues.values() if turn < len(queue)]
    return chosen[:count]


def _stored(entry: Entry, arm: str, pair: Pair) -> bool:
    return all(map(_has_trajectory, (entry.results, entry.arms[arm]), pair))


def _has_trajectory(results: Results, episode: EpisodeResult) -> bool:
    return trajectory_path(results.folder, episode.task, episode.episode).exists()
