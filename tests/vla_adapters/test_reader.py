"""The order of batches: every step once an epoch, the same for any workers, resumable anywhere."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import DatasetError, SettingError
from dataset_builders.records.tfrecords import records
from vla_adapters.adapter import Batch
from vla_adapters.augmentation import Augmentation
from vla_adapters.order import Order
from vla_adapters.pictures import Pictures
from vla_adapters.reader import Position, Reader, ReaderConfig, choose_episodes
from vla_adapters.records import open_records
from vla_adapters.samples import Sample

AUGMENTED = Pictures(augmentation=Augmentation())
CONFIG = ReaderConfig(batch=4, chunk=3, window=3, workers=0, pictures=AUGMENTED)


def collate(samples: Sequence[Sample]) -> Batch:
    """Return all of the samples but their language."""
    return {
        "place": torch.tensor([(sample.episode, sample.step) for sample in samples]),
        "state": torch.from_numpy(np.stack([sample.state for sample in samples])),
        "actions": torch.from_numpy(np.stack([sample.actions for sample in samples])),
        "is_pad": torch.from_numpy(np.stack([sample.is_pad for sample in samples])),
        "image": torch.from_numpy(np.stack([sample.images["image"] for sample in samples])),
    }


def reader(dataset: Path, rank: int = 0, world: int = 1, **changes: object) -> Reader:
    return Reader([dataset], ReaderConfig(**{**vars(CONFIG), **changes}), collate, rank, world)


def places(batches: Sequence[Batch]) -> list[tuple[int, int]]:
    return [tuple(place) for batch in batches for place in batch["place"].tolist()]


def same(mine: Batch, other: Batch) -> bool:
    return all(torch.equal(mine[name], other[name]) for name in mine | other)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2])
def test_every_step_once_an_epoch(workers, world, rlds):
    for epoch in range(2):
        seen: Counter[tuple[int, int]] = Counter()
        for rank in range(world):
            one = reader(rlds, rank, world, workers=workers)
            one.seek(Position(epoch))
            batches = list(one)
            assert len(batches) == one.batches_per_epoch
            assert one.position == Position(epoch + 1)
            seen.update(places(batches))
        lengths = enumerate(one.records.steps)
        assert seen == Counter((number, step) for number, n in lengths for step in range(n))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2])
def test_resuming_anywhere_gives_the_batches_that_follow(workers, world, rlds):
    for rank in range(world):
        whole = reader(rlds, rank, world)
        expected = [(whole.position, batch) for _ in range(2) for batch in whole]
        resumed = reader(rlds, rank, world, workers=workers)
        for number in (2, len(expected) // 2, len(expected) - 3):
            position, _ = expected[number]
            resumed.seek(position)
            found = [(resumed.position, batch) for batch in resumed]
            rest = expected[number + 1 :][: len(found)]
            assert resumed.position == Position(position.epoch + 1) == found[-1][0]
            assert [place for place, _ in found] == [place for place, _ in rest]
            pairs = zip(found, rest, strict=True)
            assert all(same(batch, other) for (_, batch), (_, other) in pairs)


def test_seeking_reads_nothing_of_what_came_before(rlds):
    *_, expected = reader(rlds, window=1, batch=1)
    ((last, _),) = places([expected])
    one = reader(rlds, window=1, batch=1)
    one.seek(Position(0, one.batches_per_epoch - 1))
    number = 0
    for shard in sorted(rlds.glob("*.tfrecord-*")):
        content = bytearray(shard.read_bytes())
        for record in list(records(shard)):
            length = len(record.content)
            if number != last:
                content[record.offset : record.offset + length] = bytes(length)
            number += 1
        shard.write_bytes(content)
    (found,) = one
    assert same(found, expected)


def test_the_workers_end_with_the_reader(rlds):
    gc.disable()
    try:
        one = reader(rlds, workers=2)
        next(iter(one))
        assert len(multiprocessing.active_children()) == 2
        del one
        assert not multiprocessing.active_children()
    finally:
        gc.enable()


def test_leaving_an_epoch_and_coming_back_goes_on(rlds):
    whole = places(list(reader(rlds)))
    one, found = reader(rlds), []
    for batch in one:
        found.append(batch)
        break
    found += list(one)
    assert places(found) == whole


def test_ranks_together_read_what_one_reads_in_larger_batches(rlds):
    together = list(reader(rlds, batch=6, pictures=Pictures()))
    halves = [list(reader(rlds, rank, 2, batch=3, pictures=Pictures())) for rank in range(2)]
    for number, batch in enumerate(together):
        parts = [half[number] for half in halves if number < len(half)]
        assert sorted(places(parts)) == sorted(places([batch]))


def test_dropping_the_last_leaves_full_batches_and_equal_ranks(rlds):
    counts = []
    for rank in range(2):
        batches = list(reader(rlds, rank, 2, batch=5, drop_last=True))
        assert all(len(batch["place"]) == 5 for batch in batches)
        counts.append(len(batches))
    assert counts == [34 // 10] * 2


def test_order_depends_on_seed_and_epoch_alone_and_stays_in_its_window():
    lengths = np.array([3, 1, 5, 2, 4, 6])
    order = Order(lengths, seed=1, window=2).of_epoch(2)
    assert np.array_equal(order, Order(lengths, 1, 2).of_epoch(2))
    for seed, epoch in ((1, 3), (2, 2)):
        assert not np.array_equal(order, Order(lengths, seed, 2).of_epoch(epoch))
    assert sorted(order) == list(range(lengths.sum()))
    episode = np.repeat(np.arange(len(lengths)), lengths)[order]
    places = {number: np.flatnonzero(episode == number) for number in range(len(lengths))}
    by_first = sorted(places.values(), key=lambda found: found[0])
    for pair, later in itertools.pairwise(itertools.batched(by_first, 2)):
        assert np.concatenate(pair).max() < np.concatenate(later).min()
    assert any(np.diff(found).max(initial=1) > 1 for found in places.values())


def test_episodes_without_steps_are_passed_over():
    assert sorted(Order(np.array([2, 0, 3]), 0, 2).of_epoch(0)) == list(range(5))


def test_actions_after_the_end_repeat_the_last_one(rlds):
    one = reader(rlds)
    for batch in one:
        for row, (number, step) in enumerate(places([batch])):
            actions = one.records.episode(number).actions
            for ahead in range(CONFIG.chunk):
                assert bool(batch["is_pad"][row, ahead]) == (step + ahead >= len(actions))
                expected = actions[min(step + ahead, len(actions) - 1)]
                assert np.array_equal(batch["actions"][row, ahead].numpy(), expected)


def test_augmentation_differs_between_epochs_and_is_off_by_default(rlds):
    def picture(epoch: int, pictures: Pictures) -> torch.Tensor:
        one = reader(rlds, batch=34, pictures=pictures)
        one.seek(Position(epoch))
        (batch,) = one
        return batch["image"][places([batch]).index((0, 0))]

    plain = picture(0, ReaderConfig().pictures)
    assert torch.equal(plain, torch.from_numpy(open_records([rlds]).picture(0, 0, "image")))
    first, second = (picture(epoch, AUGMENTED) for epoch in (0, 1))
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)


def test_episodes_are_chosen_by_metadata_and_number(rlds):
    found = open_records([rlds])
    chosen = choose_episodes(found, ("pattern=0", "pattern=2", "task=task_0"))
    index = [found.metadata["trajectory_index"][number] for number in chosen]
    assert sorted(index) == [number for number in range(7) if number % 3 != 1 and number % 2 == 0]
    few, more = choose_episodes(found, limit=2), choose_episodes(found, limit=5)
    assert (len(few), len(more)) == (2, 5)
    assert set(few) <= set(more)
    one = reader(rlds, episodes=2)
    assert {number for number, _ in places(list(one))} == set(few)
    assert one.steps == found.steps[few].sum()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": ("colour=red",)}, "no condition on the metadata.*pattern"),
        ({"where": ("pattern",)}, "no condition"),
        ({"where": ("pattern=7",)}, "no episode has pattern 7; there are 0, 1, 2"),
        ({"episodes": 8}, "8 episodes are asked for, but the data has 7"),
        ({"batch": 35, "drop_last": True}, "fill no batch of 35"),
    ],
    ids=["unknown_name", "no_value", "unknown_value", "too_many", "batch"],
)
def test_what_leaves_no_data_is_a_clear_error(changes, message, rlds):
    with pytest.raises(DatasetError, match=message):
        reader(rlds, **changes)


def test_positions_outside_the_data_and_settings_out_of_range_are_refused(rlds):
    with pytest.raises(DatasetError, match="batches an epoch"):
        reader(rlds).seek(Position(0, 10))
    with pytest.raises(SettingError, match="chunk must be at least 1"):
        ReaderConfig(chunk=0)
    with pytest.raises(SettingError, match="cameras"):
        ReaderConfig(cameras=())


def test_a_worker_s_error_arrives_as_it_is(rlds):
    one = reader(rlds, workers=2)
    for shard in rlds.glob("*.tfrecord-*"):
        shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DatasetError, match=r"record \d is corrupt") as caught:
        list(one)
    assert "\n" not in str(caught.value)


def test_the_global_generator_is_left_alone(rlds):
    torch.manual_seed(3)
    expected = torch.get_rng_state()
    list(reader(rlds, workers=2))
    assert torch.equal(torch.get_rng_state(), expected)
