"""Greedy decoding of actions: pictures and prompts of any length in one batch, keys cached."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from vla_adapters.openvla.model import OpenVla


def pad_left(
    rows: Sequence[Sequence[int]], pad: int, length: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens and mask of texts whose ends are aligned.

    The padding stands after the first token, before which nothing may stand.

    Args:
        rows: tokens of each text, BOS first.
        pad: token that fills up.
        length: of the result; by default that of the longest text.

    Returns:
        Tokens and mask, int64 (B, length) each.
    """
    length = length or max(map(len, rows))
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, 0], mask[row, 0] = tokens[0], 1
        ids[row, length - len(tokens) + 1 :] = torch.tensor(tokens[1:])
        mask[row, length - len(tokens) + 1 :] = 1
    return ids, mask


@torch.inference_mode()
def generate(
    model: OpenVla,
    pixel_values: torch.Tensor,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    count: int,
) -> torch.Tensor:
    """Return the most likely next tokens, one after the other.

    Args:
        model: the network.
        pixel_values: normalised pictures. Shape: (B, 3 or 6, size, size).
        input_ids: prompts of `pad_left`. Shape: (B, T).
        attention_mask: its mask. Shape: (B, T).
        count: tokens to generate.

    Returns:
        Shape: (B, count).
    """
    cache = DynamicCache(config=model.language_model.config)
    embeddings = model.embed(pixel_values, input_ids)
    mask = model.extend_mask(attention_mask)
    tokens: list[torch.Tensor] = []
    while True:
        hidden = model.decode(embeddings, mask, cache)[:, -1:]
        tokens.append(model.language_model.lm_head(hidden).argmax(dim=-1))
        if len(tokens) == count:
            return torch.cat(tokens, dim=1)
        embeddings = model.language_model.model.embed_tokens(tokens[-1])
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
