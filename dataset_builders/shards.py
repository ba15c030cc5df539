"""Parts joined to shards, one after another: what is finished stays, whatever is killed.

The work lies in one folder beside the dataset. A shard is there once the file that describes it
is, which comes after it; then its parts go. So nothing is rendered twice but what was in work.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DatasetError
from common.files import atomic_write, output_errors
from common.json_files import read_sealed, write_sealed
from common.workers import Backend, run_items
from dataset_builders.episodes import PictureConfig
from dataset_builders.parts import REMEDY, PartItem, read_part, render_part
from dataset_builders.records.formats import writer
from dataset_builders.sources import EpisodeRef

SHARD_BYTES = 2**27
"""Size of a shard, about."""
_BYTES_PER_PIXEL = 0.3
"""Of a JPEG, about; only the number of shards follows from it."""
_PARTS, _SUFFIX = "parts", ".shard.json"
ATTEMPTS = "attempts"
"""Folder, in the build's, of what came of attempts with policies."""
_MOST_BYTES = 2**30
_EPISODES_PER_SCENE = 32
"""Episodes of a task that are rendered one after another, if there are as many."""


@dataclass(frozen=True)
class Shard:
    """One file of a split, and the episodes that it holds, in order."""

    split: str
    """Name of the split."""
    name: str
    """Name of the file."""
    items: tuple[PartItem, ...]
    """Its episodes."""


@dataclass(frozen=True)
class Finished:
    """A shard that is there."""

    shard: Shard
    """Which one."""
    path: Path
    """The file."""
    bytes: int
    """Size of the episodes in it, without framing."""
    sha256: str
    """Digest of the file."""

    def lines(self) -> list[dict[str, Any]]:
        """Return what each part said of its episode, with its `number` in the shard."""
        found: list[dict[str, Any]] = _read_beside(self.path)["lines"]
        return found


def plan_shards(
    name: str,
    splits: Mapping[str, Sequence[EpisodeRef]],
    pictures: PictureConfig,
    folder: Path,
    file_format: str = "tfrecord",
    replayed: frozenset[str] = frozenset(),
    shard_bytes: int = SHARD_BYTES,
) -> list[Shard]:
    """Return the shards of a dataset; they follow from the arguments alone.

    Args:
        name: the dataset's name.
        splits: split -> its episodes, which are mixed by a hash of their keys.
        pictures: what to render.
        folder: the build's folder.
        file_format: `tfrecord` or `array_record`.
        replayed: keys of the episodes that are simulated again.
        shard_bytes: size of a shard, about.
    """
    parts = str(folder / _PARTS)
    per_step = _BYTES_PER_PIXEL * len(pictures.cameras) * pictures.resolution**2
    shards = []
    for split, refs in splits.items():
        ordered = sorted(refs, key=lambda ref: ref.order)
        total = round(per_step * sum(ref.steps for ref in refs))
        count = max(1, min(len(refs), -(-total // shard_bytes)))
        bounds = [len(refs) * i // count for i in range(count + 1)]
        for index in range(count):
            items = tuple(
                PartItem(ref, pictures, parts, ref.key in replayed)
                for ref in ordered[bounds[index] : bounds[index + 1]]
            )
            file = f"{name}-{split}.{file_format}-{index:05d}-of-{count:05d}"
            shards.append(Shard(split, file, items))
    return shards


def write_shards(
    shards: Sequence[Shard],
    folder: Path,
    backend: Backend,
    finished: Callable[[list[Finished]], None] = lambda _: None,
    render: Callable[[PartItem], str] = render_part,
) -> list[Finished]:
    """Make all shards that are not there yet, and return them all.

    Args:
        shards: the plan; what the folder holds of another one is removed.
        folder: the build's folder, on storage that all workers reach; the caller has its lock.
        backend: where parts are rendered.
        finished: called with the shards so far, up to the first that is missing, when work begins
            and whenever one more is there.
        render: makes a part.

    Raises:
        TrajectoryError, DatasetError: an episode cannot be rendered.
        WorkerError: a process died; the same call goes on.
        OutputError: the folder cannot be written.
    """
    with output_errors(folder):
        (folder / _PARTS).mkdir(parents=True, exist_ok=True)
        done = {shard.name: found for shard in shards if (found := _find(shard, folder))}
        _remove_others(shards, done, folder)
        missing = [shard for shard in shards if shard.name not in done]
        items = [item for item in _in_order(missing) if not _whole(item)]
        made = iter(run_items(render, items, backend, "rendering") if items else ())
        finished(_first(shards, done))
        awaited = {item.name for item in items}
        for shard in missing:
            while any(item.name in awaited for item in shard.items):
                awaited.discard(next(made))
            done[shard.name] = _join(shard, folder)
            finished(_first(shards, done))
        for _ in made:  # ends the processes
            raise DatasetError(f"an episode belongs to no shard of {folder}: {REMEDY}")
    return [done[shard.name] for shard in shards]


def rendered(shards: Sequence[Shard], folder: Path) -> int:
    """Return how many episodes of a plan need not be rendered any more."""
    whole = {shard.name for shard in shards if _find(shard, folder)}
    return sum(
        shard.name in whole or item.path.exists() for shard in shards for item in shard.items
    )


def _first(shards: Sequence[Shard], done: Mapping[str, Finished]) -> list[Finished]:
    """Return the shards up to the first that is missing."""
    return [done[s.name] for s in itertools.takewhile(lambda shard: shard.name in done, shards)]


def _in_order(shards: Sequence[Shard]) -> Iterator[PartItem]:
    """Yield the shards' items: some shards at a time, and of these task after task.

    A shard mixes all tasks, and a scene takes long to load. What is rendered before the first of
    some shards is whole is bounded by the number of tasks, however large the dataset.
    """
    tasks = {item.ref.task for shard in shards for item in shard.items}
    window: list[PartItem] = []
    for shard in shards:
        window += shard.items
        if len(window) >= _EPISODES_PER_SCENE * len(tasks):
            yield from _by_task(window)
            window = []
    yield from _by_task(window)


def _by_task(items: Sequence[PartItem]) -> list[PartItem]:
    return sorted(items, key=lambda item: (item.ref.task, item.ref.name, item.ref.index))


def _join(shard: Shard, folder: Path) -> Finished:
    """Write a shard, then what describes it; then remove its parts."""
    path, size, lines = folder / shard.name, 0, []
    with atomic_write(path) as temporary:
        with writer(temporary, shard.name) as write:
            for number, item in enumerate(shard.items):
                record, line = read_part(item.path)
                write(record)
                size += int(line["bytes"])
                lines.append({**line, "number": number})
        digest = _sha256(temporary)
    content = {
        "parts": [item.name for item in shard.items],
        "size": path.stat().st_size,
        "bytes": size,
        "file_sha256": digest,
        "lines": lines,
    }
    write_sealed(_beside(path), content)
    for item in shard.items:
        item.path.unlink(missing_ok=True)
    return Finished(shard, path, size, digest)


def _find(shard: Shard, folder: Path) -> Finished | None:
    """Return a shard if it is there, of the very parts that are planned."""
    path = folder / shard.name
    try:
        content = _read_beside(path)
        if content["parts"] != [item.name for item in shard.items]:
            return None
        if path.stat().st_size != content["size"]:
            return None
    except (DatasetError, OSError, KeyError):
        return None
    return Finished(shard, path, content["bytes"], content["file_sha256"])


def _whole(item: PartItem) -> bool:
    """Return whether a part is there; a damaged one is removed, to be made again."""
    if not item.path.exists():
        return False
    try:
        read_part(item.path)
    except DatasetError:
        item.path.unlink()
        return False
    return True


def _remove_others(shards: Sequence[Shard], done: Mapping[str, Finished], folder: Path) -> None:
    """Remove what another plan, or a killed process, has left."""
    parts = {item.name for shard in shards if shard.name not in done for item in shard.items}
    for path in (folder / _PARTS).iterdir():
        if path.name not in parts:
            path.unlink()
    files = {name for shard in done for name in (shard, _beside(Path(shard)).name)}
    for path in folder.iterdir():
        if path.name not in (_PARTS, ATTEMPTS) and path.name not in files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _read_beside(path: Path) -> dict[str, Any]:
    what = "a shard's description"
    return read_sealed(_beside(path), what, DatasetError, REMEDY, _MOST_BYTES)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
