"""Protocols: the facts of their originals, and digests that tell them apart."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from common.errors import SettingError, UnknownTaskError
from eval_harness.evaluation import _warn_of_cameras
from eval_harness.plan import Shard, choose_tasks, make_items
from eval_harness.policy import Requirements
from eval_harness.protocols import PROTOCOLS, get_protocol
from simulation.pictures.transforms import prepare

STAY_OPEN = (0, 0, 0, 0, 0, 0, -1)


def test_a_policy_that_sees_more_than_the_published_ones_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for needs in (Requirements(("agentview",)), Requirements(()), Requirements(upright=96)):
        _warn_of_cameras(needs, get_protocol("openvla"))
    _warn_of_cameras(Requirements(), get_protocol("openpi"))
    assert not caplog.records
    _warn_of_cameras(Requirements(), get_protocol("openvla"))
    (told,) = caplog.messages
    assert "agentview alone under the protocol openvla" in told and "openpi" in told


@pytest.mark.parametrize(
    ("name", "spatial", "trials", "settle", "seed", "policy_seed", "chunk", "size"),
    [
        ("openvla", 220, 50, (10, STAY_OPEN), 0, 7, 1, 256),
        ("openvla_oft", 220, 50, (10, STAY_OPEN), 0, 7, 8, 256),
        ("openpi", 220, 50, (10, STAY_OPEN), 7, 7, 5, 256),
        ("vla_eval", 220, 50, (10, STAY_OPEN), 7, 7, None, 256),
        ("lerobot", 280, 50, (10, STAY_OPEN), 1000, 1000, None, 360),
        ("libero", 600, 20, (5, (0,) * 7), 0, 10000, 1, 128),
    ],
)
def test_a_protocol_is_its_original(
    name: str, spatial: int, trials: int, settle, seed: int, policy_seed: int, chunk, size: int
) -> None:
    protocol = get_protocol(name)
    assert protocol.horizons["libero_spatial"] == spatial
    assert protocol.trials == trials
    assert (protocol.settle_steps, protocol.settle_action) == settle
    assert (protocol.environment_seed, protocol.policy_seed) == (seed, policy_seed)
    assert protocol.chunk == chunk and protocol.render_size == (size, size)


def test_vla_eval_is_what_its_package_does() -> None:
    benchmark = pytest.importorskip("vla_eval.benchmarks.libero.benchmark")
    protocol, theirs = get_protocol("vla_eval"), benchmark.LIBEROBenchmark()
    assert protocol.horizons == benchmark.MAX_STEP_MAPPING
    assert protocol.render_size == (benchmark.LIBERO_ENV_RESOLUTION,) * 2
    assert list(protocol.settle_action) == benchmark.LIBERO_DUMMY_ACTION
    assert (protocol.settle_steps, protocol.environment_seed) == (
        theirs.num_steps_wait,
        theirs.env_seed,
    )
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    theirs_seen = benchmark.preprocess_libero_image(picture, 256)
    np.testing.assert_array_equal(prepare(picture, protocol.picture_steps), theirs_seen)


def test_digests_differ_with_every_field_but_the_name() -> None:
    assert len({protocol.digest() for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)
    base = PROTOCOLS["openvla"]
    assert dataclasses.replace(base, name="mine", source="me").digest() == base.digest()
    changes: list[dict[str, Any]] = [
        {"render_size": (128, 128)},
        {"picture_steps": base.picture_steps[:-1]},
        {"settle_steps": 9},
        {"horizons": {**base.horizons, "libero_10": 519}},
        {"environment_seed": 1},
        {"chunk": 2},
        {"state_layout": ("gripper", "joints")},
        {"gripper": "as_given"},
    ]
    digests = {dataclasses.replace(base, **change).digest() for change in changes}
    assert len(digests) == len(changes) and base.digest() not in digests
    json.dumps(base.as_dict(), allow_nan=False)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="openvla_oft"):
        get_protocol("openvlaoft")
    with pytest.raises(SettingError, match="chunk"):
        dataclasses.replace(PROTOCOLS["openvla"], chunk=0)
    with pytest.raises(SettingError, match="libero_goal"):
        dataclasses.replace(PROTOCOLS["openvla"], horizons={"libero_90": 1})


def test_items_follow_init_states_in_order_and_each_has_seeds_of_its_own() -> None:
    tasks = choose_tasks(suites=["libero_spatial"])
    items = make_items(PROTOCOLS["openpi"], tasks, 60)
    assert len(items) == 600
    assert [item.key.init_index for item in items[:60]] == [*range(50), *range(10)]
    assert [item.fixture_seed for item in items[:3]] == [7, 8, 9]
    assert len({item.key.seed for item in items}) == 600
    assert {item.horizon for item in items} == {220}
    again = make_items(PROTOCOLS["openpi"], tasks[3:], 2)
    assert again[0] == items[180]
    other = make_items(PROTOCOLS["openpi"], tasks, 60, seed=1)
    assert not {i.key.seed for i in other} & {i.key.seed for i in items}
    assert not {i.fixture_seed for i in other} & {i.fixture_seed for i in items}


def test_shards_share_all_items_out() -> None:
    items = make_items(PROTOCOLS["openvla"], choose_tasks(suites=["libero_goal"]), 5)
    shards = [Shard.parse(f"{i}/3").of(items) for i in range(3)]
    assert sorted(map(len, shards)) == [16, 17, 17]
    assert {item.key for shard in shards for item in shard} == {item.key for item in items}
    for wrong in ("3/3", "a/b", "1"):
        with pytest.raises(SettingError, match="shard"):
            Shard.parse(wrong)


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(SettingError, match="at least one task"):
        choose_tasks()
    with pytest.raises(UnknownTaskError):
        choose_tasks(suites=["libero_100"])
    with pytest.raises(SettingError, match="at least one"):
        make_items(PROTOCOLS["openvla"], choose_tasks(suites=["libero_goal"]), 0)
