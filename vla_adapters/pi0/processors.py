"""LeRobot's pipelines around pi0, with any tokenizer and our statistics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.policies.pi0.processor_pi0 import Pi0NewLineProcessor
from lerobot.processor import (
    AbsoluteActionsProcessorStep,
    PolicyProcessorPipeline,
    RelativeActionsProcessorStep,
    TokenizerProcessorStep,
    make_default_policy_processor_steps,
    make_policy_processor_pipelines,
)
from lerobot.utils.constants import ACTION, OBS_STATE
from transformers import AutoTokenizer

from common.errors import one_line
from vla_adapters.adapter import AdapterError
from vla_adapters.lerobot.loading import read_steps
from vla_adapters.pi0.tokenizer_step import CarriedTokenizerStep
from vla_adapters.samples import Moments, Statistics

Pipelines = tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]],
    PolicyProcessorPipeline[torch.Tensor, torch.Tensor],
]
"""What goes before the network, and what comes after it."""
PUBLISHED_TOKENIZER = "google/paligemma-3b-pt-224"
"""The tokenizer of all published checkpoints."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def make_processors(
    config: PI0Config, statistics: Statistics, tokenizer: str, published: str | None = None
) -> Pipelines:
    """Return the steps of LeRobot's `make_pi0_pre_post_processors`, in its order.

    LeRobot's own function knows no other tokenizer than the published one, which it downloads.

    Args:
        config: pi0's configuration.
        statistics: of the data that it is trained on.
        tokenizer: hub id, or folder with a tokenizer's files.
        published: where it is a folder, the hub id of the same tokenizer, if it has one: LeRobot
            then loads what is saved without this project's step.

    Raises:
        AdapterError: the tokenizer cannot be loaded.
    """
    stats = {OBS_STATE: _tensors(statistics.state), ACTION: _tensors(statistics.action)}
    default = make_default_policy_processor_steps(config, stats)
    relative = RelativeActionsProcessorStep(enabled=False)
    before = [
        default.rename_observations,
        default.add_batch_dim,
        Pi0NewLineProcessor(),
        _tokenizer_step(tokenizer, published, config.tokenizer_max_length),
        default.to_device,
        relative,
        default.normalize,
    ]
    absolute = AbsoluteActionsProcessorStep(enabled=False, relative_step=relative)
    return make_policy_processor_pipelines(
        input_steps=before, output_steps=[default.unnormalize, absolute, default.to_cpu]
    )


def find_tokenizer(pipeline: PolicyProcessorPipeline[Any, Any]) -> Any:
    """Return the tokenizer of the pipeline that goes before the network."""
    steps = (step for step in pipeline.steps if isinstance(step, TokenizerProcessorStep))
    return next(steps).input_tokenizer


def published_tokenizer(folder: Path) -> str | None:
    """Return the hub id of a checkpoint's tokenizer, None if it names none."""
    file = folder / "policy_preprocessor.json"
    if not file.is_file():
        return None
    for step in read_steps(file, AdapterError):
        name = dict(step.get("config") or {}).get("tokenizer_name")
        if name and _HUB_ID.fullmatch(name):
            return str(name)
    return None


def _tokenizer_step(tokenizer: str, published: str | None, length: int) -> TokenizerProcessorStep:
    """Return the step, which says nothing of where on this machine the tokenizer lies."""
    options: dict[str, Any] = {
        "max_length": length, "padding_side": "right", "padding": "max_length"
    }  # fmt: skip
    try:
        found = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise AdapterError(
            f"the tokenizer {tokenizer} cannot be loaded ({one_line(error)}): give a folder with a "
            "tokenizer.json and no code, or a name on the hub that this machine can reach and may "
            "read"
        ) from error
    carried = Path(tokenizer).is_dir() and published is None
    step = (CarriedTokenizerStep if carried else TokenizerProcessorStep)(tokenizer=found, **options)
    if not carried:  # so that LeRobot writes the name
        step.tokenizer, step.tokenizer_name = None, published or tokenizer
    return step


def _tensors(moments: Moments) -> dict[str, torch.Tensor]:
    """Return LeRobot's statistics of a feature, float32."""
    return {
        name: torch.from_numpy(np.asarray(getattr(moments, name), dtype=np.float32))
        for name in ("mean", "std", "min", "max", "q01", "q99")
    }
