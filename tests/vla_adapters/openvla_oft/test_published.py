"""Ours against what OpenVLA-OFT's published code computed (see record_published_oft.py)."""

import json

import numpy as np
import pytest
import torch

from vla_adapters.openvla.actions import ActionStatistics
from vla_adapters.openvla.checkpoint import load_weights, read_config
from vla_adapters.openvla.generate import pad_left
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla_oft.parts import ActionHead, Parts, ProprioProjector, load_parts
from vla_adapters.openvla_oft.predict import predict
from vla_adapters.openvla_oft.state import StateStatistics

TOLERANCE = 1e-5
KEY, SPACE, PAD = "libero_spatial", 29871, 32000
CAMERAS = {"both": [[0, 1], [1, 2], [2, 0]], "one_camera": [[0], [1], [2]]}


@pytest.fixture(scope="module")
def model(published_folder) -> OpenVla:
    model = OpenVla.empty(read_config(published_folder), "cpu", torch.float32)
    load_weights(model, published_folder)
    return model.eval()


@pytest.fixture(scope="module")
def parts(published_folder) -> Parts:
    return load_parts(published_folder, 16, "cpu", torch.float32)[0]


@pytest.fixture(scope="module")
def prompts(recorded):
    return [[*prompt, SPACE] for prompt in json.loads(str(recorded["prompts"]))]


@pytest.fixture(scope="module")
def state(recorded, model) -> torch.Tensor:
    statistics = StateStatistics.from_json(model.config.norm_stats, KEY)
    return torch.from_numpy(statistics.normalise(recorded["states"]))


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    from tests.vla_adapters.openvla_oft.conftest import PLAIN

    with np.load(PLAIN) as plain:
        return torch.from_numpy(plain["pixel_values"])


@pytest.mark.parametrize("name", ["both", "without_state", "one_camera"])
@pytest.mark.parametrize("length", [None, 32])
def test_actions_are_the_published_codes(
    name, length, recorded, model, parts, prompts, pixels, state
):
    shown = pixels[torch.tensor(CAMERAS.get(name, CAMERAS["both"]))]
    used = Parts(parts.head, None) if name == "without_state" else parts
    normalised = predict(model, used, shown, *pad_left(prompts, PAD, length), state, 8)
    statistics = ActionStatistics.from_json(model.config.norm_stats, KEY)
    ours = statistics.unnormalise(normalised.numpy().astype(np.float64))
    assert recorded[name].std() > 0.1
    np.testing.assert_allclose(ours, recorded[name], rtol=0, atol=TOLERANCE)


def test_a_row_does_not_depend_on_the_others(model, parts, prompts, pixels, state):
    shown = pixels[torch.tensor(CAMERAS["both"])]
    ids, mask = pad_left(prompts, PAD, 32)
    together = predict(model, parts, shown, ids, mask, state, 8)
    for row in range(3):
        turned = [(row + k) % 3 for k in range(3)]
        other = predict(model, parts, shown[turned], ids[turned], mask[turned], state[turned], 8)
        torch.testing.assert_close(other[0], together[row], rtol=0, atol=0)


def test_full_size_has_the_published_parameters():
    """The shapes of the published heads: the language model is 4096 wide."""
    with torch.device("meta"):
        head, projector = ActionHead(4096), ProprioProjector(4096)
    shapes = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    assert shapes["model.fc1.weight"] == (4096, 7 * 4096)
    assert shapes["model.mlp_resnet_blocks.1.ffn.1.weight"] == (4096, 4096)
    assert shapes["model.fc2.weight"] == (7, 4096) and len(shapes) == 16
    assert tuple(projector.fc1.weight.shape) == (4096, 8)
