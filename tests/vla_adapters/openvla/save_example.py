"""Saves a checkpoint of ours with what it computes, for `record_published.py --verify FOLDER`.

    PYTHONPATH=. python tests/vla_adapters/openvla/save_example.py FOLDER [--named-sizes]

With `--named-sizes` the vision transformers are of sizes that timm has names for, so that the
published code loads the folder as it stands; by default it is a `small_config`, which needs
`record_published.py` to tell timm the sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from simulation.tasks import list_tasks
from vla_adapters.openvla.checkpoint import Checkpoint, save_checkpoint
from vla_adapters.openvla.config import OpenVlaConfig, small_config
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla.processing import Preprocessing
from vla_adapters.openvla.tokenizer import LlamaTokenizer

SEED = 3
INSTRUCTION = "open it"


def main() -> None:
    """Save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--named-sizes", action="store_true")
    arguments = parser.parse_args()
    tokenizer = LlamaTokenizer.train(task.language for task in list_tasks())
    config = small_config(tokenizer.vocabulary_size)
    if arguments.named_sizes:
        config = with_named_sizes(config)
    model = OpenVla.random(config, seed=SEED).eval()
    checkpoint = Checkpoint(model, Preprocessing.of_config(config), tokenizer)
    save_checkpoint(checkpoint, arguments.folder, shard_bytes=5_000_000)
    generator = torch.Generator().manual_seed(SEED)
    size = config.image_size
    pictures = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=generator)
    pixel_values = checkpoint.preprocessing.normalise(pictures, torch.float32)
    prompt = tokenizer.prompt(INSTRUCTION)
    ids = torch.tensor([prompt, prompt])
    with torch.inference_mode():
        logits = model(pixel_values, ids, torch.ones_like(ids))
    np.savez(
        arguments.folder / "example.npz",
        pixel_values=pixel_values.numpy(),
        input_ids=ids.numpy(),
        logits=logits.numpy(),
        prompt=np.array(prompt[:-1]),
    )


def with_named_sizes(config: OpenVlaConfig) -> OpenVlaConfig:
    """Return the configuration with two of timm's smallest vision transformers."""
    return dataclasses.replace(
        config,
        timm_model_ids=("vit_tiny_patch16_224", "vit_tiny_patch16_384"),
        timm_overrides=(),
    )


if __name__ == "__main__":
    main()
