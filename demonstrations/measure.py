"""Measures a demonstrator: the same number of attempts at every way, failures counted."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.machine import describe_machine
from demonstrations.amplify import list_recordings
from demonstrations.config import AMPLIFIED, DemonstrationConfig
from demonstrations.demonstrator import Demonstrator
from demonstrations.make import digests, find_demonstrator
from demonstrations.measured import (
    Measured,
    measured_path,
    pack_label,
    read_measured,
    summarise,
    write_measured,
)
from demonstrations.people import find_people, has_people
from simulation.assets.resolve import AssetPack
from simulation.environment import Environment
from simulation.recordings.recordings import open_recordings
from simulation.recordings.trajectories import Episode, simulator_versions
from simulation.tasks import Task, get_task

_OFFICIAL_STARTS = 50
_ODD = 7
"""Step through the official init states, which visits each of them once."""


@dataclass(frozen=True)
class MeasureItem:
    """A task's measurement, as one work item among many."""

    task: str
    """The task's key."""
    out: Path
    """Folder of the records."""
    config: DemonstrationConfig
    """Source, style and seed."""
    attempts: int
    """Attempts at each way."""
    assets: AssetPack
    """Asset pack."""


def measure_item(item: MeasureItem) -> str:
    """Measure a task, write its record and return a line on it; what is measured is only read.

    Raises:
        UnknownTaskError: the task has no source of new demonstrations.
        DemonstrationError: the asset pack is neither of `PACKS`, or no recording serves.
    """
    task, pack = get_task(item.task), pack_label(item.assets.name)
    demonstrator = find_demonstrator(task, item.config, item.assets)
    path = measured_path(item.out, pack, demonstrator.source, task)
    recordings = _recordings(demonstrator, item)
    length = _human_length(task, item.config.human_demos, item.assets)
    if not (path.exists() and _same(read_measured(path), demonstrator, item, recordings, length)):
        began = time.monotonic()
        episodes = attempts(demonstrator, Environment(task, item.assets), item)
        seconds = time.monotonic() - began
        ways, distinctness = summarise(episodes, item.config.seed)
        measured = Measured(
            task=task.key,
            pack=pack,
            source=demonstrator.source,
            ways=ways,
            seconds=round(seconds, 1),
            human_length=length,
            distinctness=distinctness,
            seed=item.config.seed,
            asset_digest=item.assets.digest,
            versions=simulator_versions(),
            machine=describe_machine(),
            recordings=recordings,
        )
        write_measured(path, measured)
    found = read_measured(path)
    return ", ".join(f"{way.name} {way.succeeded}/{way.tried}" for way in found.ways)


def attempts(demonstrator: Demonstrator, env: Environment, item: MeasureItem) -> list[Episode]:
    """Return the attempts at each way: official init states and fresh resets, in turn.

    Way by way from the same starts.
    """
    episodes = []
    for way in demonstrator.ways:
        for number in range(item.attempts):
            rng = np.random.default_rng([item.config.seed, number])
            seed = int(rng.integers(1_000_000))
            official = None if number % 2 else number // 2 * _ODD % _OFFICIAL_STARTS
            env.reset(seed, official)
            env.settle()
            env.restart()
            episodes.append(demonstrator.demonstrate(env, way, rng, item.config.style))
    return episodes


def _recordings(demonstrator: Demonstrator, item: MeasureItem) -> dict[str, str]:
    """Return the digests of the recordings that a demonstrator amplifies."""
    if demonstrator.source != AMPLIFIED:
        return {}
    return digests(list_recordings(get_task(item.task), item.config.human_demos))


def _same(
    found: Measured,
    demonstrator: Demonstrator,
    item: MeasureItem,
    recordings: Mapping[str, str],
    human_length: int | None,
) -> bool:
    """Return whether a record is what measuring again would give."""
    tried = [(way.name, way.tried) for way in found.ways]
    return (
        tried == [(name, item.attempts) for name in demonstrator.ways]
        and found.seed == item.config.seed
        and found.asset_digest == item.assets.digest
        and found.human_length == human_length
        and dict(found.recordings) == dict(recordings)
        and dict(found.versions) == json.loads(json.dumps(simulator_versions()))
    )


def _human_length(task: Task, folder: str, assets: AssetPack) -> int | None:
    """Return the control steps of the person's first demonstration, if there is one."""
    if not folder or not has_people(task, folder):
        return None
    with open_recordings(find_people(task, folder)[0], task, assets) as recordings:
        return len(recordings[0].actions)
