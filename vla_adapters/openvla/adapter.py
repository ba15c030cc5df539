"""OpenVLA in training: samples to tokens and pictures, its loss, its checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dataset_builders.describing.statistics import openvla_form
from vla_adapters.adapter import Adapter, Batch
from vla_adapters.lora import Lora, MergedWeights, add_adapters
from vla_adapters.openvla.actions import ActionStatistics, ActionTokenizer, open_gripper
from vla_adapters.openvla.checkpoint import (
    Checkpoint,
    digest,
    find,
    load_checkpoint,
    save_checkpoint,
)
from vla_adapters.openvla.config import OpenVlaConfig, small_config
from vla_adapters.openvla.generate import pad_left
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla.processing import Preprocessing
from vla_adapters.openvla.tokenizer import LlamaTokenizer
from vla_adapters.samples import ACTION_DIM, Sample, Statistics
from vla_adapters.statistics import as_json

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_LEARNT = ACTION_DIM + 1
"""Tokens of a sample that count: the action's and the stop token."""


@dataclass(frozen=True)
class OpenVlaOptions:
    """What of OpenVLA is trained, and how."""

    train: Literal["full", "lora"] = "full"
    """All weights, or adapters beside them."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the weights."""
    gradient_checkpointing: bool = False
    """Compute activations a second time instead of keeping them."""
    lora: Lora = Lora()
    """Settings of `lora`; by default, as published, all linear layers but the last."""


class OpenVlaAdapter(Adapter):
    """OpenVLA with its tokenizer and preprocessing, normalising by one dataset's statistics.

    Args:
        checkpoint: network, preprocessing, tokenizer.
        statistics: of the data that it is trained on.
        options: what of it is trained.
        origin: where its weights came from, for the record.

    Raises:
        AdapterError: tokenizer and network do not fit.
    """

    name: ClassVar[str] = "openvla"
    chunk = 1
    cameras = ("image",)

    def __init__(
        self,
        checkpoint: Checkpoint,
        statistics: Statistics,
        options: OpenVlaOptions = OpenVlaOptions(),
        origin: str = "random",
    ) -> None:
        checkpoint.tokenizer.check(checkpoint.config)
        self.model, self.options = checkpoint.model, options
        self.preprocessing, self.tokenizer = checkpoint.preprocessing, checkpoint.tokenizer
        layout = openvla_form(statistics.dataset, as_json(statistics))
        config = dataclasses.replace(checkpoint.config, norm_stats=layout)
        self.model.config = config
        self._statistics = ActionStatistics.from_json(layout, statistics.dataset)
        self._actions = ActionTokenizer(config.vocabulary_size, config.n_action_bins)
        self._record = {"origin": origin, "dataset": statistics.dataset}
        if options.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        if options.train == "lora":
            add_adapters(
                self.model, options.lora, _adapted(self.model), init_lora_weights="gaussian"
            )
        self.module: nn.Module = self.model

    @classmethod
    def small(
        cls,
        statistics: Statistics,
        instructions: Iterable[str],
        seed: int = 0,
        options: OpenVlaOptions = OpenVlaOptions(),
    ) -> OpenVlaAdapter:
        """Return a small OpenVLA with random weights and a tokenizer of its own.

        Args:
            statistics: of the data that it is trained on.
            instructions: text that the tokenizer learns from.
            seed: of the weights.
            options: what of it is trained.
        """
        tokenizer = LlamaTokenizer.train(instructions)
        config = small_config(tokenizer.vocabulary_size)
        return cls.random(config, tokenizer, statistics, "cpu", seed, options)

    @classmethod
    def random(
        cls,
        config: OpenVlaConfig,
        tokenizer: LlamaTokenizer,
        statistics: Statistics,
        device: torch.device | str = "cpu",
        seed: int = 0,
        options: OpenVlaOptions = OpenVlaOptions(),
    ) -> OpenVlaAdapter:
        """Return an OpenVLA of any size whose random weights are drawn on the device itself."""
        model = OpenVla.random(config, device, _DTYPES[options.precision], seed)
        checkpoint = Checkpoint(model, Preprocessing.of_config(config), tokenizer)
        return cls(checkpoint, statistics, options)

    @classmethod
    def load(
        cls,
        path: str | Path,
        statistics: Statistics,
        device: torch.device | str = "cpu",
        options: OpenVlaOptions = OpenVlaOptions(),
    ) -> OpenVlaAdapter:
        """Return a published checkpoint or one of our own, ready for training.

        Args:
            path: folder or hub id, such as `openvla/openvla-7b`.
            statistics: of the data that it will be trained on, not of what it was trained on.
            device: where the weights are put.
            options: what of it is trained.

        Raises:
            AdapterError: the checkpoint is missing, incomplete, or not an OpenVLA.
        """
        folder = find(path)
        checkpoint = load_checkpoint(folder, device, _DTYPES[options.precision])
        adapter = cls(checkpoint, statistics, options, str(path))
        adapter.began_with = digest(folder, checkpoint.digests)
        return adapter

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return pictures (n, 3, size, size) uint8, and tokens and mask, int64 (n, T) each.

        A text is a prompt, seven action tokens and the stop token; texts are aligned at their
        ends (see `pad_left`).
        """
        actions = np.stack([sample.actions[0] for sample in samples])
        tokens = self._actions.encode(self._statistics.normalise(open_gripper(actions)))
        texts = [
            [*self.tokenizer.prompt(sample.instruction), *row, self.tokenizer.stop]
            for sample, row in zip(samples, tokens.tolist(), strict=True)
        ]
        ids, mask = pad_left(texts, self.model.config.text.pad_token_id)
        pictures = np.stack([self.preprocessing.resize(s.images["image"]) for s in samples])
        return {"pictures": torch.from_numpy(pictures), "input_ids": ids, "attention_mask": mask}

    def loss(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the cross-entropy of the action tokens and the stop token.

        Beside it stand the share of action tokens that are right, and how far the others are
        off: the mean absolute difference of normalised actions. It draws nothing at random.
        """
        ids = batch["input_ids"]
        dtype = next(self.module.parameters()).dtype
        pixel_values = self.preprocessing.normalise(batch["pictures"], dtype)
        logits = self.module(pixel_values, ids, batch["attention_mask"], last=_LEARNT).float()
        wanted = ids[:, -_LEARNT:]
        loss = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        with torch.no_grad():
            predicted = logits[:, :ACTION_DIM].argmax(dim=-1)
            wanted = wanted[:, :ACTION_DIM]
            apart = (self._interval(predicted) - self._interval(wanted)).abs().float()
        return loss, {
            "accuracy": (predicted == wanted).float().mean(),
            "l1": apart.mean() * (2 / (self._actions.bins - 1)),
        }

    def save(self, folder: Path) -> None:
        """Write a checkpoint that the published code loads; adapters are added to the weights."""
        checkpoint = Checkpoint(self.model, self.preprocessing, self.tokenizer)
        save_checkpoint(checkpoint, folder, MergedWeights(self.model))

    def identity(self) -> dict[str, Any]:
        """Return the sizes, what of it is trained and where it came from."""
        config = self.model.config
        parameters = list(self.model.parameters())
        return {
            "model": self.name,
            "chunk": self.chunk,
            "vision": list(config.timm_model_ids),
            "image_size": config.image_size,
            "text": asdict(config.text),
            "options": asdict(self.options),
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
            **self._record,
        }

    def _interval(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the intervals that tokens stand for, as `ActionTokenizer.decode` reads them."""
        return (self._actions.vocabulary - tokens - 1).clamp(0, self._actions.bins - 2)


def _adapted(model: OpenVla) -> list[str]:
    """Return the names of the linear layers that take part, but for the last."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module.weight.requires_grad
        and module is not model.language_model.lm_head
    ]
