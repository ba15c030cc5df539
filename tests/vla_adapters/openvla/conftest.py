"""What the published code computed, and a checkpoint folder of the model it did so with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vla_adapters.openvla.tokenizer import LlamaTokenizer

RECORDING = Path(__file__).with_name("published.npz")


@pytest.fixture(scope="session")
def published() -> Mapping[str, Any]:
    with np.load(RECORDING) as file:
        return dict(file)


@pytest.fixture(scope="session")
def published_folder(published, tmp_path_factory) -> Path:
    """A checkpoint as the published code saves one, in two shards with an index; no tokenizer."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "config.json").write_text(str(published["config"]))
    (folder / "preprocessor_config.json").write_text(str(published["preprocessor"]))
    weights = {
        name.removeprefix("weight/"): value.astype(np.float32)
        for name, value in published.items()
        if name.startswith("weight/")
    }
    shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    index = {name: shards[name.startswith("language_model")] for name in weights}
    for shard in shards:
        content = {name: weights[name] for name, file in index.items() if file == shard}
        save_file(content, folder / shard, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> LlamaTokenizer:
    return LlamaTokenizer.train(["pick up the bowl", "open the top drawer", "turn on the stove"])
