"""Parts and shards: an interrupted build goes on, and renders nothing twice."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import DatasetError
from dataset_builders.digests import CONTENT, content_digest
from dataset_builders.features import METADATA, all_features
from dataset_builders.finishing import ListedEpisode, describe_shards, read_episodes
from dataset_builders.parts import PartItem, read_part, render_part
from dataset_builders.records.examples import decode
from dataset_builders.records.formats import read_records
from dataset_builders.records.tfrecords import frame, parse_example
from dataset_builders.shards import Finished, plan_shards, rendered, write_shards
from dataset_builders.sources import EpisodeRef
from dataset_builders.verification.shards import framing_fault, read_shard
from tests.dataset_builders.parts_support import (
    EPISODES,
    PICTURES,
    PIXELS,
    Here,
    contents,
    make_episodes,
    plan,
)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeRef]:
    return make_episodes(tmp_path_factory.mktemp("episodes"))


@pytest.fixture(scope="module")
def undisturbed(
    episodes: list[EpisodeRef], tmp_path_factory: pytest.TempPathFactory
) -> list[bytes]:
    work = tmp_path_factory.mktemp("undisturbed")
    return contents(write_shards(plan(episodes, work), work, Here()))


def test_a_part_is_what_it_says(episodes: list[EpisodeRef], tmp_path: Path) -> None:
    item = PartItem(episodes[0], PICTURES, str(tmp_path))
    assert render_part(item) == item.name == item.path.name
    record, line = read_part(item.path)
    (content, _) = (found.content for found in read_parts(item.path))
    assert record == frame(content) and line["steps"] == 2
    features = all_features(dict(PICTURES.cameras), PIXELS)
    example = decode(parse_example(content, item.path, 0), features)
    assert content_digest(example) == example[METADATA][CONTENT] == line["content"]
    before = item.path.stat()
    render_part(item)
    assert (item.path.stat().st_ino, item.path.stat().st_mtime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
    )
    item.path.write_bytes(item.path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="truncated"):
        read_part(item.path)


def read_parts(path: Path) -> Iterator[Any]:
    from dataset_builders.records.tfrecords import records

    return records(path)


def interrupted(item: PartItem, left: list[int], log: collections.Counter[str]) -> str:
    """Render, unless no more episodes may be; counted."""
    if not left[0]:
        raise KeyboardInterrupt
    left[0] -= 1
    log[item.name] += 1
    return render_part(item)


def test_an_interrupted_build_renders_nothing_twice(
    episodes: list[EpisodeRef], undisturbed: list[bytes], tmp_path: Path
) -> None:
    log: collections.Counter[str] = collections.Counter()
    shards = plan(episodes, tmp_path)
    for allowed in (2, 2, 3):
        stop = functools.partial(interrupted, left=[allowed], log=log)
        with pytest.raises(KeyboardInterrupt):
            write_shards(shards, tmp_path, Here(), render=stop)
    assert rendered(shards, tmp_path) == 7
    go_on = functools.partial(interrupted, left=[EPISODES], log=log)
    assert contents(write_shards(shards, tmp_path, Here(), render=go_on)) == undisturbed
    assert set(log.values()) == {1} and len(log) == EPISODES
    again = functools.partial(interrupted, left=[0], log=log)
    assert contents(write_shards(shards, tmp_path, Here(), render=again)) == undisturbed
    assert not any((tmp_path / "parts").iterdir())


def test_finished_shards_can_be_read_while_it_runs(
    episodes: list[EpisodeRef], tmp_path: Path
) -> None:
    seen: list[list[int]] = []

    def look(finished: list[Finished]) -> None:
        seen.append([sum(1 for _ in read_records(item.path)) for item in finished])

    write_shards(plan(episodes, tmp_path), tmp_path, Here(), look)
    assert seen == [[], [3], [3, 3], [3, 3, 3]]


def test_what_is_damaged_or_of_another_plan_is_made_anew(
    episodes: list[EpisodeRef], undisturbed: list[bytes], tmp_path: Path
) -> None:
    shards = plan(episodes, tmp_path)
    write_shards(shards, tmp_path, Here())
    (tmp_path / shards[1].name).write_bytes(b"half")
    stray = tmp_path / "parts" / "stray.part"
    stray.write_bytes(b"x")
    part = shards[1].items[0]
    render_part(part)
    part.path.write_bytes(part.path.read_bytes()[:40])
    assert contents(write_shards(shards, tmp_path, Here())) == undisturbed
    assert not stray.exists()
    fewer = plan_shards("x", {"train": episodes[:2]}, PICTURES, tmp_path)
    (only,) = write_shards(fewer, tmp_path, Here())
    assert len(only.lines()) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "parts",
        only.path.name,
        f"{only.path.name}.shard.json",
    }


def test_array_records_hold_the_same_episodes(
    episodes: list[EpisodeRef], undisturbed: list[bytes], tmp_path: Path
) -> None:
    shards = plan(episodes, tmp_path, "array_record")
    finished = write_shards(shards, tmp_path, Here())
    framed = [b"".join(frame(r.content) for r in read_records(item.path)) for item in finished]
    assert framed == undisturbed
    path = finished[0].path
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match="truncated or damaged"):
        list(read_records(path))


def faults_of(path: Path, listed: Sequence[ListedEpisode]) -> list[str]:
    """Return what is wrong with a shard, in the words of `verify`."""
    found = [
        f"{record.listed.key}: {fault}"
        for record in read_shard(path, listed)
        for fault in record.faults
    ]
    return found or [framing_fault(path, listed)]


def wanted_fault(offset: int, starts: Sequence[int], listed: Sequence[ListedEpisode]) -> str:
    """Return how the fault of a byte of a shard must end; nothing behind the last record."""
    for start, episode in zip(starts, listed, strict=True):
        if offset < start:
            return f"episode {episode.number} ({episode.key}): the record's own header is damaged"
        place = start + episode.bytes - sum(entry.length for entry in episode.entries)
        if offset < place:
            return f"{episode.key}: the record's own header is damaged"
        for entry in episode.entries:
            place += entry.length
            if offset < place:
                return f"{episode.key}: {entry.name} is damaged"
    return ""


def test_every_flipped_bit_of_array_records_is_named(
    episodes: list[EpisodeRef], tmp_path: Path
) -> None:
    finished = write_shards(plan(episodes, tmp_path, "array_record"), tmp_path, Here())
    describe_shards(finished, tmp_path)
    path = finished[0].path
    listed = [episode for episode in read_episodes(tmp_path) if episode.shard == path.name]
    assert not [fault for record in read_shard(path, listed) for fault in record.faults]
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    starts = [whole.find(record.content) for record in read_records(path)]
    used = starts[-1] + listed[-1].bytes
    named: collections.Counter[str] = collections.Counter()
    for offset in (*rng.integers(0, len(whole), 20), *rng.integers(0, used, 80)):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        (fault,) = faults_of(path, listed)
        wanted = wanted_fault(int(offset), starts, listed)
        assert fault.endswith(wanted) if wanted else "behind its episodes" in fault
        named[wanted.rpartition(": ")[2]] += 1
    assert named.total() == 100 and len(named) > 5
    path.write_bytes(whole[: used - 1])
    with pytest.raises(DatasetError, match="is truncated: it ends within"):
        faults_of(path, listed)
    path.write_bytes(whole[:-1])
    (fault,) = faults_of(path, listed)
    assert fault == f"has {len(whole) - 1:,} bytes, not {len(whole):,}"
