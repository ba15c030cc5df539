"""pi0 in training: samples to LeRobot's batches, its flow-matching loss, its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from torch import nn

from common.files import follow_umask
from vla_adapters.adapter import Adapter, AdapterError, Batch
from vla_adapters.lerobot.loading import check_files, digest
from vla_adapters.lora import Lora, MergedWeights, add_adapters
from vla_adapters.pi0.checkpoint import (
    FEATURES,
    Precision,
    find_checkpoint,
    load_policy,
    random_policy,
)
from vla_adapters.pi0.configuration_pi0_small import PI0SmallConfig
from vla_adapters.pi0.processors import (
    PUBLISHED_TOKENIZER,
    find_tokenizer,
    make_processors,
    published_tokenizer,
)
from vla_adapters.samples import Sample, Statistics
from vla_adapters.tokenizers import libero_instructions, train_tokenizer

TOKENIZER = "tokenizer"
"""Folder of a checkpoint with the files of its tokenizer."""
_TOKENS, _MASK = "observation.language.tokens", "observation.language.attention_mask"


@dataclass(frozen=True)
class Pi0Options:
    """What of pi0 is trained, and how."""

    train: Literal["full", "expert_only", "lora"] = "full"
    """All weights, those of the action expert and its projections, or adapters beside them."""
    precision: Precision = "float32"
    """Of the weights."""
    gradient_checkpointing: bool = False
    """Compute activations a second time instead of keeping them."""
    lora: Lora = Lora(rank=16)
    """Settings of `lora`; by default LeRobot's: queries and values of the action expert, and the
    projections of state, actions and time."""


class Pi0Adapter(Adapter):
    """LeRobot's `PI0Policy` or its small variant, with LeRobot's processors.

    Args:
        policy: the network.
        statistics: of the data that it is trained on.
        tokenizer: hub id, or folder with a tokenizer's files.
        options: what of it is trained.
        origin: where its weights came from, for the record.
        published: where the tokenizer is a folder, the hub id of the same one, if it has one.

    Raises:
        AdapterError: the tokenizer cannot be loaded or has more tokens than the network.
    """

    name: ClassVar[str] = "pi0"

    def __init__(
        self,
        policy: PI0Policy,
        statistics: Statistics,
        tokenizer: str,
        options: Pi0Options = Pi0Options(),
        origin: str = "random",
        published: str | None = None,
    ) -> None:
        self.policy, self.options = policy, options
        self.cameras = tuple(FEATURES)
        self.chunk = int(policy.config.chunk_size)
        self._before, self._after = make_processors(policy.config, statistics, tokenizer, published)
        self._tokenizer = find_tokenizer(self._before)
        self._check_tokenizer(tokenizer)
        self._record = {"origin": origin, "dataset": statistics.dataset, "tokenizer": tokenizer}
        if options.gradient_checkpointing:
            policy.model.gradient_checkpointing_enable()
        self.module: nn.Module = policy
        if options.train == "lora":
            add_adapters(policy, options.lora, policy._get_default_peft_targets()["target_modules"])

    @classmethod
    def small(
        cls,
        statistics: Statistics,
        folder: Path,
        chunk: int = 10,
        seed: int = 0,
        options: Pi0Options = Pi0Options(),
    ) -> Pi0Adapter:
        """Return a small pi0 with random weights and a tokenizer of LIBERO's instructions.

        Args:
            statistics: of the data that it is trained on.
            folder: where the tokenizer's files are put.
            chunk: actions that it predicts.
            seed: seed of the weights.
            options: what of it is trained.
        """
        config = PI0SmallConfig(chunk_size=chunk, n_action_steps=chunk, device="cpu")
        config.dtype, config.train_expert_only = options.precision, options.train == "expert_only"
        tokenizer = train_tokenizer(libero_instructions(), config.vocabulary_size)
        tokenizer.save_pretrained(str(folder))
        return cls(random_policy(config, seed), statistics, str(folder), options, "random")

    @classmethod
    def load(
        cls,
        path: str,
        statistics: Statistics,
        chunk: int = 50,
        tokenizer: str | None = None,
        options: Pi0Options = Pi0Options(),
    ) -> Pi0Adapter:
        """Return a published checkpoint or one of our own, ready for training.

        Args:
            path: folder or hub id, such as `lerobot/pi0_base`.
            statistics: of the data that it will be trained on, not of what it was trained on.
            chunk: actions that it is to predict.
            tokenizer: hub id or folder; by default the checkpoint's own copy, or the published.
            options: what of it is trained.

        Raises:
            AdapterError: checkpoint or tokenizer are missing or do not fit.
        """
        expert_only = options.train == "expert_only"
        folder = find_checkpoint(path)
        known = check_files(folder, AdapterError)
        policy = load_policy(folder, chunk, options.precision, expert_only)
        own, published = folder / TOKENIZER, None
        if tokenizer is None and own.is_dir():
            tokenizer, published = str(own), published_tokenizer(folder)
        used = tokenizer or PUBLISHED_TOKENIZER
        adapter = cls(policy, statistics, used, options, path, published)
        adapter.began_with = digest(folder, known)
        return adapter

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return pictures (n, 3, H, W) uint8, state (n, 8), actions (n, chunk, 7), tokens, mask.

        State and actions are normalised by LeRobot's own step; pictures become floats on the
        device. Actions after an episode's end count like others, as in openpi and LeRobot.
        """
        batch: dict[str, Any] = {
            OBS_STATE: torch.from_numpy(np.stack([s.state for s in samples])),
            ACTION: torch.from_numpy(np.stack([s.actions for s in samples])),
            "task": [s.instruction for s in samples],
        }
        done = self._before(batch)
        pictures = {
            feature: torch.from_numpy(np.stack([s.images[camera] for s in samples]))
            for camera, feature in FEATURES.items()
        }
        return {
            **{f: p.permute(0, 3, 1, 2).contiguous() for f, p in pictures.items()},
            **{key: done[key] for key in (OBS_STATE, ACTION, _TOKENS, _MASK)},
        }

    def loss(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the flow-matching loss of LeRobot's `PI0Policy.forward`.

        Its noise and times are drawn on the CPU from the generator; LeRobot draws them from
        torch's global ones.
        """
        policy = self.policy
        pictures = {k: v.float() / 255 for k, v in batch.items() if k.startswith(OBS_IMAGES)}
        images, masks = policy._preprocess_images({**batch, **pictures})
        actions, state = policy.prepare_action(batch), policy.prepare_state(batch)
        noise = torch.randn(actions.shape, generator=generator).to(actions.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            time = policy.model.sample_time(len(actions), actions.device)
        losses = policy.model.forward(
            images, masks, batch[_TOKENS], batch[_MASK], state, actions, noise, time
        )
        losses = losses[..., : batch[ACTION].shape[-1]]
        return losses.mean(), {"gripper_loss": losses[..., -1].mean().detach()}

    def save(self, folder: Path) -> None:
        """Write a checkpoint that LeRobot loads; adapters are added to the weights beside them.

        A tokenizer without a name on the hub goes with it, in a step that LeRobot knows once
        `vla_adapters.pi0.configuration_pi0_small` has been imported.
        """
        merged = dict(MergedWeights(self.policy)) if self.options.train == "lora" else None
        self.policy.save_pretrained(folder, state_dict=merged)
        for pipeline in (self._before, self._after):
            pipeline.save_pretrained(folder)
        self._tokenizer.save_pretrained(str(folder / TOKENIZER))
        follow_umask(folder)

    def identity(self) -> dict[str, Any]:
        """Return the variant, its sizes, what of it is trained and where it came from."""
        parameters = list(self.module.parameters())
        return {
            "model": self.name,
            "variant": self.policy.config.type,
            "chunk": self.chunk,
            "options": asdict(self.options),
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
            **self._record,
        }

    def _check_tokenizer(self, name: str) -> None:
        embedding = self.policy.model.paligemma_with_expert.paligemma.get_input_embeddings()
        tokens, room = len(self._tokenizer), embedding.num_embeddings
        if tokens > room or self._tokenizer.pad_token_id is None:
            raise AdapterError(
                f"the tokenizer {name} has {tokens} tokens"
                f"{'' if self._tokenizer.pad_token_id is not None else ' and none for padding'}, "
                f"but this pi0 knows {room}: give the tokenizer that it was trained with"
            )
