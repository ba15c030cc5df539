"""The models that `benchmarks.vla` measures, with random weights made where they are to run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from vla_adapters.adapter import Adapter, Batch
from vla_adapters.samples import ACTION_DIM, STATE_DIM, Moments, Sample, Statistics
from vla_adapters.training.config import needs_autocast

_PICTURE = 256
"""Edge of the made-up pictures, pixels, as the datasets store them."""
_INSTRUCTIONS = ("put the black bowl on the plate", "close the top drawer of the cabinet")


@dataclass(frozen=True)
class Model:
    """A model and how to use it."""

    adapter: Adapter
    """For training."""
    act: Callable[[Batch], torch.Tensor]
    """From a collated batch on the device to a chunk of actions for each of its samples."""
    tokens: Callable[[Batch], int]
    """Tokens of a sample of a batch, padding included."""
    dtype: torch.dtype
    """Of its matrix products."""
    autocast: bool
    """Whether it is trained under autocast to bfloat16."""
    checkpoint: Callable[[], None]
    """Has it compute activations a second time from now on instead of keeping them."""

    def sample(self, index: int) -> Sample:
        """Return a made-up sample, a function of its index."""
        rng = np.random.default_rng(index)
        pictures = {
            camera: rng.integers(0, 256, (_PICTURE, _PICTURE, 3), dtype=np.uint8)
            for camera in self.adapter.cameras
        }
        return Sample(
            pictures,
            rng.normal(size=STATE_DIM).astype(np.float32),
            rng.uniform(-1, 1, (self.adapter.chunk, ACTION_DIM)).astype(np.float32),
            np.zeros(self.adapter.chunk, dtype=np.bool_),
            _INSTRUCTIONS[index % 2],
            0,
            index,
        )


def make_model(name: str, size: str, device: str, train: str) -> Model:
    """Return a model with random weights on a device, of full size in bfloat16, else in float32.

    Args:
        name: `pi0` or `openvla`.
        size: `small` or `full`.
        device: such as `cpu` or `cuda`.
        train: `full`, `expert_only` (pi0 alone) or `lora`.
    """
    return _MAKERS[name](size == "full", device, train)


def _statistics() -> Statistics:
    def moments(length: int) -> Moments:
        one = np.ones(length)
        return Moments(0 * one, one, -2 * one, 2 * one, -one, one)

    return Statistics(
        action=moments(ACTION_DIM),
        state=moments(STATE_DIM),
        openness=moments(1),
        transitions=1,
        trajectories=1,
        dataset="made_up",
        digest="0" * 64,
    )


def _pi0(full: bool, device: str, train: str) -> Model:
    from lerobot.policies.pi0.configuration_pi0 import PI0Config
    from lerobot.utils.constants import OBS_IMAGES

    from vla_adapters.pi0.adapter import Pi0Adapter, Pi0Options
    from vla_adapters.pi0.checkpoint import random_policy
    from vla_adapters.pi0.configuration_pi0_small import PI0SmallConfig
    from vla_adapters.tokenizers import train_tokenizer

    config = PI0Config(device=device) if full else PI0SmallConfig(device=device)
    config.dtype = "bfloat16" if full else "float32"
    config.train_expert_only = train == "expert_only"
    options = Pi0Options(
        train=train,  # type: ignore[arg-type]
        precision=config.dtype,
    )
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer(_INSTRUCTIONS, 512).save_pretrained(folder)
        policy = random_policy(config, device=device)
        adapter = Pi0Adapter(policy, _statistics(), folder, options)
    patches = (config.image_resolution[0] // (14 if full else config.patch_size)) ** 2
    length = len(adapter.cameras) * patches + config.tokenizer_max_length + 1 + adapter.chunk

    def act(batch: Batch) -> torch.Tensor:
        pictures = {k: v.float() / 255 for k, v in batch.items() if k.startswith(OBS_IMAGES)}
        actions: torch.Tensor = policy.predict_action_chunk({**batch, **pictures})
        return actions

    dtype = getattr(torch, config.dtype)
    checkpoint = policy.model.gradient_checkpointing_enable
    autocast = needs_autocast(config.dtype, train)
    return Model(adapter, act, lambda batch: length, dtype, autocast, checkpoint)


def _openvla(full: bool, device: str, train: str) -> Model:
    """Return OpenVLA, whose vocabulary is smaller than the published one in full size, too.

    What it lacks are rows of the embedding and of the last layer, 3% of the published weights.
    """
    from vla_adapters.openvla.adapter import OpenVlaAdapter, OpenVlaOptions
    from vla_adapters.openvla.config import OpenVlaConfig, TextConfig, small_config
    from vla_adapters.openvla.generate import generate
    from vla_adapters.openvla.tokenizer import LlamaTokenizer

    tokenizer = LlamaTokenizer.train(_INSTRUCTIONS)
    words = tokenizer.vocabulary_size
    text = TextConfig(vocab_size=words + 64, pad_token_id=words)
    config = OpenVlaConfig(text=text) if full else small_config(words)
    options = OpenVlaOptions(
        train="lora" if train == "lora" else "full",
        precision="bfloat16" if full else "float32",
    )
    adapter = OpenVlaAdapter.random(config, tokenizer, _statistics(), device, options=options)

    def act(batch: Batch) -> torch.Tensor:
        length = batch["input_ids"].shape[1] - ACTION_DIM - 1
        ids, mask = batch["input_ids"][:, :length], batch["attention_mask"][:, :length]
        dtype = next(adapter.module.parameters()).dtype
        pictures = adapter.preprocessing.normalise(batch["pictures"], dtype)
        return generate(adapter.model, pictures, ids, mask, ACTION_DIM)

    patches = (config.image_size // 14) ** 2

    def tokens(batch: Batch) -> int:
        return patches + batch["input_ids"].shape[1]

    dtype = getattr(torch, options.precision)
    checkpoint = adapter.model.gradient_checkpointing_enable
    autocast = needs_autocast(options.precision, train)
    return Model(adapter, act, tokens, dtype, autocast, checkpoint)


_MAKERS = {"pi0": _pi0, "openvla": _openvla}
