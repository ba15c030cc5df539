"""A disk that becomes full while parts and shards are written: one error, and it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StorageError
from dataset_builders.parts import PartItem, render_part
from dataset_builders.shards import rendered, write_shards
from dataset_builders.sources import EpisodeRef
from tests.at_rest.disk import small_disk
from tests.dataset_builders.parts_support import EPISODES, Here, contents, make_episodes, plan


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeRef]:
    return make_episodes(tmp_path_factory.mktemp("episodes"))


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_full_disk_loses_nothing(
    file_format: str, episodes: list[EpisodeRef], tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    wanted = contents(write_shards(plan(episodes, alone, file_format), alone, Here()))
    made: list[str] = []

    def counted(item: PartItem) -> str:
        before = item.path.exists()
        name = render_part(item)
        made.extend([] if before else [name])
        return name

    with small_disk(tmp_path / "disk") as disk:
        work = disk.path / "work"
        shards = plan(episodes, work, file_format)
        work.mkdir()
        for room in (24_000, 60_000):  # for some parts; for some more, and no shard
            disk.fill(room)
            with pytest.raises(StorageError, match="No space left on device; make room"):
                write_shards(shards, work, Here(), render=counted)
            assert rendered(shards, work) == len(made) > 0
            files = sorted(p.name for p in work.rglob("*") if p.is_file())
            assert all(
                name.endswith((".part", ".shard.json")) or name in {s.name for s in shards}
                for name in files
            ), files
            disk.free()
        assert contents(write_shards(shards, work, Here(), render=counted)) == wanted
        assert len(made) == len(set(made)) == EPISODES
