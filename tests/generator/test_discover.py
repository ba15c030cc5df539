"""Discovery finds ways of doing the whole task, on synthetic and varied pick-and-place."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from common.errors import CheckpointError
from generator.config import DiscoverConfig
from generator.discover import MixtureVae, PatternEncoder, discover, mutual_information
from generator.paths import FLOORS, DiscoveryError, count_ways, features, resample
from tests.generator.conftest import DIFFERENCES, synthetic_trajectories

FAST = DiscoverConfig(steps=700)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_finds_ways(difference: str) -> None:
    trajectories, ways = synthetic_trajectories(difference, 90)
    encoder = discover(trajectories, FAST, 0)
    found = [encoder.classify_trajectory(t) for t in trajectories]
    assert mutual_information(found, ways) >= 0.8
    fresh, fresh_ways = synthetic_trajectories(difference, 60, 100)
    again = [encoder.classify_trajectory(t) for t in fresh]
    assert mutual_information(again, fresh_ways) >= 0.7


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_ways_are_counted(difference: str) -> None:
    trajectories, ways = synthetic_trajectories(difference, 90)
    for among in (("way0", "way1", "way2"), ("way0", "way2"), ("way1",)):
        paths = [features(t) for t, way in zip(trajectories, ways, strict=True) if way in among]
        assert count_ways(paths, 4, 0)[0] == len(among)


def test_patterns_are_as_many_as_the_ways() -> None:
    trajectories, ways = synthetic_trajectories("carry_side", 90)
    config = DiscoverConfig(steps=200, choose_patterns=True)
    for among in (("way0", "way2"), ("way1",)):
        some = [(t, way) for t, way in zip(trajectories, ways, strict=True) if way in among]
        encoder = discover([t for t, _ in some], config, 0, [way for _, way in some])
        assert encoder.patterns == encoder.report["distinct_ways"] == len(among)
        assert encoder.label(some[0][0]).max() < len(among)
        assert encoder.report["agreement"]["trajectory"] == 1


def test_report_compares_labels_with_known_ways() -> None:
    trajectories, ways = synthetic_trajectories("carry_side", 90)
    report = discover(trajectories, FAST, 0, [*ways[:-1], ""]).report
    assert report["distinct_ways"] == 3
    assert report["agreement"].keys() == {"trajectory", "state", "state_majority", "path_mixture"}
    assert report["agreement"]["trajectory"] > 0.9 > report["agreement"]["state"]
    assert "agreement" not in discover(trajectories, DiscoverConfig(steps=10), 0).report


def state_labels(trajectories: list[np.ndarray], patterns: int) -> np.ndarray:
    """Label states by a plain Gaussian mixture over states, the comparison that finds phases."""
    states = np.concatenate([features(t) for t in trajectories])
    normal = (states - states.mean(axis=0)) / np.maximum(states.std(axis=0), FLOORS)
    mixture = GaussianMixture(patterns, n_init=FAST.restarts, random_state=0, reg_covar=1e-3)
    return mixture.fit(normal).predict(normal)


def test_posterior_is_flat_where_ways_share_states_and_sharp_where_they_differ() -> None:
    trajectories, ways = synthetic_trajectories("carry_side", 90)
    encoder = discover(trajectories, FAST, 0)
    start = np.concatenate([np.exp(encoder.log_posterior(t[:3])) for t in trajectories])
    middle = np.stack([np.exp(encoder.log_posterior(t)).max(axis=0).max() for t in trajectories])
    assert start.max(axis=1).mean() < 0.6
    assert middle.mean() > 0.9
    np.testing.assert_allclose(start.sum(axis=1), 1, rtol=1e-5)
    phases = state_labels(trajectories, FAST.patterns)
    by_state = [way for way, t in zip(ways, trajectories, strict=True) for _ in t]
    assert mutual_information(phases, by_state) < 0.3


def test_result_is_reproducible_and_survives_a_file(tmp_path: Path) -> None:
    trajectories, _ = synthetic_trajectories("yaw", 30)
    config = DiscoverConfig(steps=200)
    encoder, again = discover(trajectories, config, 0), discover(trajectories, config, 0)
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = PatternEncoder.load(tmp_path / "encoder.safetensors")
    for other in (again, loaded):
        np.testing.assert_array_equal(
            encoder.log_posterior(trajectories[0]), other.log_posterior(trajectories[0])
        )
        assert encoder.report == other.report
    assert loaded.config == config
    assert loaded.embed(trajectories[0]).shape == (len(trajectories[0]), config.latent_dim)


def test_labels_by_state_and_by_trajectory() -> None:
    trajectories, _ = synthetic_trajectories("yaw", 30)
    by_trajectory = discover(trajectories, DiscoverConfig(steps=200), 0)
    by_state = discover(trajectories, DiscoverConfig(steps=200, labels="state"), 0)
    assert {len(set(by_trajectory.label(t))) for t in trajectories} == {1}
    assert max(len(set(by_state.label(t))) for t in trajectories) > 1
    assert len(by_state.label(trajectories[0])) == len(trajectories[0])


def test_rotation_features_do_not_jump() -> None:
    near_pi = np.zeros((2, 8))
    near_pi[0, 3], near_pi[1, 3] = np.pi - 1e-3, -np.pi + 1e-3
    assert np.abs(np.diff(features(near_pi), axis=0)).max() < 0.01


def test_resampling_forgets_speed_and_pauses() -> None:
    path = np.zeros((50, 10))
    path[:, 0] = np.linspace(0, 1, 50)
    slow = np.concatenate([np.repeat(path[:20], 4, axis=0), path[20:]])
    np.testing.assert_allclose(resample(path), resample(slow), atol=1e-3)


def test_bad_input() -> None:
    trajectories, _ = synthetic_trajectories("yaw", 12)
    with pytest.raises(DiscoveryError, match="too few"):
        discover(trajectories[:3], FAST, 0)
    trajectories[0][2, 1] = np.nan
    with pytest.raises(DiscoveryError, match="NaN"):
        discover(trajectories, FAST, 0)


def test_another_bit_in_an_encoder_is_found(tmp_path: Path) -> None:
    path, config = tmp_path / "encoder.safetensors", DiscoverConfig(hidden=4)
    torch.manual_seed(0)
    model = MixtureVae(config.patterns, config.latent_dim, config.hidden)
    PatternEncoder(model.eval(), config, {"elbo": 1.5}).save(path)
    PatternEncoder.load(path)
    whole = path.read_bytes()
    for bit in np.random.default_rng(0).integers(8 * len(whole), size=200):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            PatternEncoder.load(path)
