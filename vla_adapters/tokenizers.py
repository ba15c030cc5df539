"""Tokenizers for small models, trained on LIBERO's instructions and loaded without a network."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from simulation.tasks import list_tasks

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
"""Gemma's special tokens, in the order of their ids."""
_FIXED = (*SPECIAL, "\n", *(f"<0x{byte:02X}>" for byte in range(256)))
"""Tokens that need no training: the newline that ends a prompt is one of its own."""
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


def libero_instructions() -> list[str]:
    """Return the language of LIBERO's 130 tasks, each once, sorted."""
    return sorted({task.language for task in list_tasks()})


def train_tokenizer(instructions: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer of Gemma's kind: BPE with visible spaces, and bytes for what is unknown.

    A prompt becomes `<bos>`, its tokens, and one token for the newline at its end; padding is on
    the right.

    Args:
        instructions: text to learn from.
        vocabulary_size: most tokens, at least 300; few instructions may need less.
    """
    tokenizer = Tokenizer(_train(instructions, vocabulary_size - len(_FIXED)))
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = _split_at_spaces()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens(["\n"])
    tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", _FIXED.index("<bos>"))]
    )
    pad, eos, bos, unknown = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=eos,
        bos_token=bos,
        unk_token=unknown,
        padding_side="right",
    )


def _train(instructions: Iterable[str], vocabulary_size: int) -> models.BPE:
    """Return a model whose vocabulary is `_FIXED`, then what the instructions teach."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", _SPACE)
    learner.pre_tokenizer = _split_at_spaces()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary_size, show_progress=False)
    learner.train_from_iterator(sorted(set(instructions)), trainer)
    learnt = json.loads(learner.to_str())["model"]
    tokens = [*_FIXED, *sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)]
    merges = [tuple(merge) for merge in learnt["merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return models.BPE(vocabulary, merges, unk_token=SPECIAL[3], byte_fallback=True)


def _split_at_spaces() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(_SPACE, "merged_with_next")
