"""A chunk of actions in one pass: pictures, state, prompt and empty tokens in, actions out."""

from __future__ import annotations

import torch

from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla_oft.parts import Parts
from vla_adapters.samples import ACTION_DIM


@torch.inference_mode()
def predict(
    model: OpenVla,
    parts: Parts,
    pixel_values: torch.Tensor,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    state: torch.Tensor,
    chunk: int,
) -> torch.Tensor:
    """Return normalised actions, the gripper 0 to 1 as OpenVLA has it.

    Follows predict_action of prismatic/extern/hf/modeling_prismatic.py in moojink/openvla-oft with
    its transformers, in which every token sees every other: the sequence is the first token, the
    cameras' patches, the state's token, the prompt, `chunk` x 7 empty tokens and the stop token;
    an action's hidden states are those of the tokens before its own.

    Args:
        model: the network.
        parts: action head and projector.
        pixel_values: normalised pictures of each camera. Shape: (B, cameras, 3 or 6, size, size).
        input_ids: prompts of `pad_left`. Shape: (B, T).
        attention_mask: its mask. Shape: (B, T).
        state: normalised. Shape: (B, 8).
        chunk: actions of an answer.

    Returns:
        Shape: (B, chunk, 7), float32.
    """
    rows = len(pixel_values)
    patches = model.projector(model.vision_backbone(pixel_values.flatten(0, 1)))
    seen = [patches.reshape(rows, -1, patches.shape[-1])]
    if parts.projector is not None:
        seen.append(parts.projector(state.to(patches.dtype))[:, None])
    embedding = model.language_model.model.embed_tokens
    text = embedding(input_ids)
    empty = text.new_zeros(rows, chunk * ACTION_DIM, text.shape[-1])
    stop = embedding(input_ids.new_full((rows, 1), model.config.text.eos_token_id))
    whole = torch.cat([text[:, :1], *seen, text[:, 1:], empty, stop], dim=1)
    between = sum(part.shape[1] for part in seen)
    mask = torch.cat(
        [
            attention_mask[:, :1],
            attention_mask.new_ones(rows, between),
            attention_mask[:, 1:],
            attention_mask.new_ones(rows, empty.shape[1] + 1),
        ],
        dim=1,
    )
    hidden = model.decode(whole, mask, causal=False)
    return parts.head(hidden[:, -empty.shape[1] - 2 : -2]).float()
