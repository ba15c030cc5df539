"""Ours against what OpenVLA's published code computed (see record_published.py)."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from vla_adapters.openvla.actions import ActionStatistics, ActionTokenizer
from vla_adapters.openvla.checkpoint import load_weights, read_config
from vla_adapters.openvla.config import OpenVlaConfig, read_json
from vla_adapters.openvla.generate import generate, pad_left
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla.processing import Preprocessing

TOLERANCE = 1e-5
SPACE = 29871


@pytest.fixture(scope="module")
def model(published_folder) -> OpenVla:
    model = OpenVla.empty(read_config(published_folder), "cpu", torch.float32)
    load_weights(model, published_folder)
    return model.eval()


@pytest.fixture(scope="module")
def prompts(published):
    return [[*prompt, SPACE] for prompt in json.loads(str(published["prompts"]))]


def test_full_size_has_the_published_parameters(published):
    model = OpenVla.empty(OpenVlaConfig(), "meta", torch.bfloat16)
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == json.loads(str(published["parameters"]))


def test_logits(published, model):
    ids = torch.from_numpy(published["input_ids"])
    mask = torch.from_numpy(published["attention_mask"]).long()
    with torch.inference_mode():
        logits = model(torch.from_numpy(published["pixel_values"]), ids, mask)
    ours = logits[..., torch.from_numpy(published["used"])].numpy()
    real = model.extend_mask(mask).bool().numpy()
    np.testing.assert_allclose(ours[real], published["logits"][real], rtol=0, atol=TOLERANCE)


def test_loss_of_texts_aligned_at_their_ends(published, model):
    rows = [
        row[:length].tolist()
        for row, length in zip(published["input_ids"], published["lengths"], strict=True)
    ]
    ids, mask = pad_left(rows, pad=32000)
    with torch.inference_mode():
        logits = model(torch.from_numpy(published["pixel_values"]), ids, mask, last=8)
    loss = functional.cross_entropy(logits.flatten(0, 1), ids[:, -8:].flatten())
    assert loss.item() == pytest.approx(float(published["loss"]), abs=TOLERANCE)


def test_generated_tokens_and_actions(published, model, prompts):
    ids, mask = pad_left(prompts, pad=32000)
    tokens = generate(model, torch.from_numpy(published["pixel_values"]), ids, mask, 7).numpy()
    np.testing.assert_array_equal(tokens, published["generated"])
    statistics = ActionStatistics.from_json(model.config.norm_stats, "libero_spatial")
    actions = statistics.unnormalise(ActionTokenizer(32000).decode(tokens))
    np.testing.assert_allclose(actions, published["actions"], rtol=0, atol=1e-12)


def test_a_row_does_not_depend_on_the_others(published, model, prompts):
    pixel_values = torch.from_numpy(published["pixel_values"])
    together = generate(model, pixel_values, *pad_left(prompts, pad=32000), count=7)
    for row, prompt in enumerate(prompts):
        for length in (len(prompt), 40):
            ids, mask = pad_left([prompt], 32000, length)
            alone = generate(model, pixel_values[row : row + 1], ids, mask, 7)
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=0)


def test_keys_in_the_cache_change_nothing(published, model, prompts):
    pixel_values = torch.from_numpy(published["pixel_values"])[:1]
    tokens = generate(model, pixel_values, *pad_left(prompts[:1], 32000), count=7)[0]
    ids, mask = pad_left([[*prompts[0], *tokens.tolist()]], 32000)
    with torch.inference_mode():
        logits = model(pixel_values, ids, mask, last=7)
    torch.testing.assert_close(logits[0].argmax(dim=-1), tokens, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["pictures", "large_picture"])
def test_pictures(published, published_folder, name):
    config = read_config(published_folder)
    content = read_json(published_folder / "preprocessor_config.json")
    preprocessing = Preprocessing.from_json(content, config)
    pictures = np.atleast_3d(published[name]).reshape(-1, *published[name].shape[-3:])
    resized = torch.from_numpy(np.stack([preprocessing.resize(p) for p in pictures]))
    ours = preprocessing.normalise(resized, torch.float32).numpy()
    wanted = published[name.replace("picture", "pixel_value").rstrip("s") + "s"]
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6)


def test_action_tokens(published):
    coder = ActionTokenizer(32000)
    ids = coder.encode(published["action_values"])
    np.testing.assert_array_equal(ids, published["action_ids"])
    np.testing.assert_array_equal(coder.decode(ids), published["action_decoded"])


def test_files_are_the_published_ones(published, published_folder):
    """What we write has every entry that the published code wrote, with its value."""
    config = read_config(published_folder)
    theirs = json.loads(str(published["config"]))
    ours = config.as_json()
    ours["text_config"] = {key: ours["text_config"][key] for key in theirs["text_config"]}
    assert {key: ours[key] for key in theirs} == theirs
    theirs = json.loads(str(published["preprocessor"]))
    ours = Preprocessing.from_json(theirs, config).as_json()
    rounded = ("means", "stds")  # ours are what tvf_normalize_params has: those are used
    assert {key: ours[key] for key in theirs if key not in rounded} == {
        key: value for key, value in theirs.items() if key not in rounded
    }
