"""What building costs beside the rendering that it is made of: time, processes, memory.

Time is CPU time of all processes where that is what is compared, which other work on the machine
disturbs less; the gain of a second process can only be told from wall time.
"""

from __future__ import annotations

import functools
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.dataset import record
from benchmarks.measure import (
    Result,
    Setting,
    Target,
    benchmark,
    in_fresh_process,
    summarise,
    wall_time,
)
from common.workers import Processes, run_items
from dataset_builders.episodes import PictureConfig, draw_episode
from dataset_builders.finishing import describe_shards, place_shards
from dataset_builders.shards import plan_shards, write_shards
from dataset_builders.sources import EpisodeRef, list_episodes
from simulation.assets.resolve import AssetPack

_SIZE_PX, _SMALL_PX = 256, 32
_COUNTS = (36, 360, 3600)
"""Episodes of the datasets whose builders' memory is compared; a quick run leaves the last out."""
_ALLOWED_MB = 2000
"""What a build may take beside its renderers, whatever the dataset's size."""


@benchmark
def building(setting: Setting) -> list[Result]:
    """Parts and shards beside bare rendering; two processes beside one; memory as data grows."""
    episodes, steps = (4, 20) if setting.quick else (24, 60)
    with tempfile.TemporaryDirectory(prefix="dlr-benchmark-") as name:
        folder = Path(name)
        source = folder / "episodes"
        in_fresh_process(record, source / "x.hdf5", episodes, steps, setting.assets)
        rounds = range(setting.repetitions(3))
        cpu = [_both(folder / f"cpu{n}", source, setting.assets) for n in rounds]
        wall = [_workers(folder / f"wall{n}", source, setting.assets) for n in rounds]
        memory = _memory(folder, setting)
    what = f"{episodes} episodes of {steps} steps, 2 x {_SIZE_PX} px"
    return [
        summarise(f"building / rendering alone, CPU time, {what}", "s", cpu, Target(1.15, True)),
        summarise(f"frames of two processes / of one, {what}", "frames/s", wall, Target(1.8)),
        *memory,
    ]


def _both(folder: Path, source: Path, assets: AssetPack) -> tuple[float, float]:
    """Return the CPU seconds of building and of rendering the same frames, one process each."""
    pack = str(assets.path)
    ours = in_fresh_process(_cpu_time, functools.partial(_build, folder, source, pack, 1))
    return ours, in_fresh_process(_cpu_time, functools.partial(_render, source, pack))


def _workers(folder: Path, source: Path, assets: AssetPack) -> tuple[float, float]:
    """Return the frames a second of two processes and of one; what starts them is in it."""
    refs = list_episodes(source, "dlr")
    frames = 2 * sum(ref.steps for ref in refs)
    rates = []
    for workers in (2, 1):
        work = folder / str(workers)
        build = functools.partial(_build, work, source, str(assets.path), workers)
        rates.append(frames / in_fresh_process(wall_time, build))
    return rates[0], rates[1]


def _memory(folder: Path, setting: Setting) -> list[Result]:
    """Return the peak memory of `dlr build` without its renderers, as datasets grow.

    Episodes of one step as tiny pictures, each in the dataset many times under other names: what
    the builder holds grows with their number alone. The peak before the first is TensorFlow's.
    """
    counts = _COUNTS[:2] if setting.quick else _COUNTS
    few = folder / "few.hdf5"
    in_fresh_process(record, few, counts[0], 1, setting.assets)
    peaks = []
    for count in counts:
        source = folder / f"many{count}"
        source.mkdir()
        for copy in range(count // counts[0]):
            os.link(few, source / f"{copy}.hdf5")
        built = folder / f"built{count}"
        peaks.append(in_fresh_process(_peak_mb, built, source, str(setting.assets.path)))
    title = "memory of `dlr build` without its renderers"
    pairs = zip(counts[1:], peaks[1:], strict=True)
    return [
        *(
            summarise(f"{title}, {count} / {counts[0]} episodes", "MB", [(peak, peaks[0])])
            for count, peak in pairs
        ),
        summarise(
            f"{title}, {counts[-1]} episodes / allowed",
            "MB",
            [(peaks[-1], _ALLOWED_MB)],
            Target(1, True),
        ),
    ]


def _peak_mb(data_dir: Path, source: Path, assets: str) -> float:
    """Return the peak of this process, in which TensorFlow is, in MB."""
    from dataset_builders.build import BuildConfig, build_in_this_process

    build_in_this_process(
        BuildConfig(source, data_dir, resolution=_SMALL_PX, assets=assets, replay=0)
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _cpu_time(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process and of those that it starts and ends meanwhile."""
    before = _cpu()
    work()
    return _cpu() - before


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _build(work: Path, source: Path, assets: str, workers: int, size: int = _SIZE_PX) -> None:
    """Do all that a build does but what TFDS writes: parts, shards, and what describes them."""
    pictures = PictureConfig(size, assets=assets)
    refs = list_episodes(source, "dlr")
    shards = plan_shards("x", {"train": refs}, pictures, work)
    finished = write_shards(shards, work, Processes(workers))
    target = work / "dataset"
    target.mkdir()
    place_shards(finished, target)
    describe_shards(finished, target)


def _render(source: Path, assets: str) -> None:
    """Render the same frames in a process of its own, and keep nothing."""
    render = functools.partial(_draw, size=_SIZE_PX, assets=assets)
    for _ in run_items(render, list_episodes(source, "dlr"), Processes(1), "rendering"):
        pass


def _draw(ref: EpisodeRef, size: int, assets: str) -> int:
    """Draw an episode's pictures, of which nothing is encoded."""
    return sum(1 for _ in draw_episode(ref, PictureConfig(size, assets=assets)))
