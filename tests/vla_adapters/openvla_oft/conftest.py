"""Checkpoints in the published format: the plain OpenVLA's recording with the parts beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from vla_adapters.openvla.checkpoint import Checkpoint, save_checkpoint
from vla_adapters.openvla.config import small_config
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla.processing import Preprocessing
from vla_adapters.openvla.tokenizer import LlamaTokenizer
from vla_adapters.openvla_oft.parts import ActionHead, ProprioProjector

PLAIN = Path(__file__).parents[1] / "openvla" / "published.npz"
RECORDING = Path(__file__).with_name("published.npz")
HEAD, PROJECTOR = "action_head--150000_checkpoint.pt", "proprio_projector--150000_checkpoint.pt"


@pytest.fixture(scope="session")
def recorded() -> Mapping[str, Any]:
    with np.load(RECORDING) as file:
        return dict(file)


@pytest.fixture(scope="session")
def published_folder(recorded, tmp_path_factory) -> Path:
    """The checkpoint that the published code was asked with; no tokenizer."""
    folder = tmp_path_factory.mktemp("published")
    with np.load(PLAIN) as file:
        plain = dict(file)
    (folder / "config.json").write_text(str(plain["config"]))
    (folder / "preprocessor_config.json").write_text(str(plain["preprocessor"]))
    statistics = json.loads(str(plain["config"]))["norm_stats"]
    statistics["libero_spatial"]["proprio"] = json.loads(str(recorded["proprio"]))
    (folder / "dataset_statistics.json").write_text(json.dumps(statistics))
    weights = {
        name.removeprefix("weight/"): value.astype(np.float32)
        for name, value in plain.items()
        if name.startswith("weight/")
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for name, file in (("head", HEAD), ("projector", PROJECTOR)):
        part = {
            f"module.{key.removeprefix(f'{name}/')}": torch.from_numpy(value.astype(np.float32))
            for key, value in recorded.items()
            if key.startswith(f"{name}/")
        }
        torch.save(part, folder / file)
    return folder


STATISTICS = {
    suite: {
        "action": {
            "q01": [-0.7 * scale] * 6 + [0.0],
            "q99": [0.8 * scale] * 6 + [1.0],
            "min": [-1.0] * 6 + [0.0],
            "max": [1.0] * 7,
            "mask": [True] * 6 + [False],
        },
        "proprio": {
            "q01": [-0.4, -0.3, 0.9, 2.6, -0.4, -0.3, 0.0, -0.04],
            "q99": [0.1, 0.3, 1.2, 3.6, 0.6, 0.2, 0.04, 0.0],
        },
    }
    for suite, scale in (("libero_goal_no_noops", 1.0), ("libero_spatial_no_noops", 0.5))
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    """A small random OpenVLA-OFT with its tokenizer, of two suites."""
    folder = tmp_path_factory.mktemp("oft")
    tokenizer = LlamaTokenizer.train(["pick up the bowl", "open the top drawer"])
    config = small_config(
        tokenizer.vocabulary_size, 32, vision_width=32, vision_depth=2, text_width=64, text_depth=2
    )
    config = type(config)(**{**vars(config), "norm_stats": STATISTICS})
    made = Checkpoint(OpenVla.random(config), Preprocessing.of_config(config), tokenizer)
    save_checkpoint(made, folder)
    torch.manual_seed(0)
    torch.save(ActionHead(64).state_dict(), folder / HEAD)
    torch.save(ProprioProjector(64).state_dict(), folder / PROJECTOR)
    return folder
