"""Text to tokens: Llama's tokenizer as a checkpoint brings it, and small ones of the same kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from common.files import write_bytes
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.config import OpenVlaConfig
from vla_adapters.openvla.processing import prompt

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
)
"""Files of a tokenizer, kept byte for byte: every version of the library writes its own."""
ACTIONS = 256
"""Tokens at the vocabulary's end that stand for actions."""
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Llama's sign for a space, and the empty token between prompt and actions: 29871 in Llama 2."""
_SPECIAL = ("<unk>", "<s>", "</s>")
_PAD = "<PAD>"
_PRIVATE = 0xE000
"""First of Unicode's private characters, which stand for actions."""


class LlamaTokenizer:
    """Prompts to tokens, with what of the tokens the model needs to know.

    Args:
        files: name -> content, of `FILES`.

    Raises:
        AdapterError: there is no `tokenizer.json`, or it is not of Llama's kind.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        if "tokenizer.json" not in files:
            raise AdapterError("the tokenizer.json is missing: copy the tokenizer's files, too")
        self._files = dict(files)
        try:
            self._tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
        except Exception as error:  # the library raises nothing narrower
            raise AdapterError(f"tokenizer.json cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocabulary_size = self._tokenizer.get_vocab_size(with_added_tokens=False)
        self.space = self._id(SPACE)
        self.beginning, self.stop = self._id("<s>"), self._id("</s>")

    @classmethod
    def load(cls, folder: Path) -> LlamaTokenizer:
        """Read the tokenizer of a checkpoint."""
        present = {name: folder / name for name in FILES if (folder / name).is_file()}
        return cls({name: file.read_bytes() for name, file in present.items()})

    @classmethod
    def train(cls, instructions: Iterable[str], vocabulary_size: int = 1024) -> LlamaTokenizer:
        """Return a tokenizer of Llama's kind that learnt from prompts with these instructions.

        Its vocabulary is Llama's in small: `<unk>`, `<s>`, `</s>`, 256 bytes, pieces of words,
        and 256 characters that no text has, for actions.

        Args:
            instructions: text to learn from.
            vocabulary_size: most tokens; few instructions may need less.
        """
        fixed = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
        pieces, merges = _learn(instructions, vocabulary_size - len(fixed) - ACTIONS)
        tokens = [*fixed, *pieces, *(chr(_PRIVATE + i) for i in range(ACTIONS))]
        content = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                *(_added(i, token) for i, token in enumerate(_SPECIAL)),
                _added(len(tokens), _PAD),
            ],
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": SPACE},
                    {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
                ],
            },
            "pre_tokenizer": _SPLIT,
            "post_processor": _POST_PROCESSOR,
            "decoder": {"type": "Sequence", "decoders": _DECODERS},
            "model": {
                "type": "BPE",
                "unk_token": "<unk>",
                "fuse_unk": True,
                "byte_fallback": True,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": merges,
            },
        }
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": _PAD,
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            "processor_class": "PrismaticProcessor",
        }
        return cls({"tokenizer.json": _bytes(content), "tokenizer_config.json": _bytes(settings)})

    def check(self, config: OpenVlaConfig) -> None:
        """Refuse a tokenizer that is not the model's.

        Raises:
            AdapterError: the vocabularies differ.
        """
        if self.vocabulary_size != config.vocabulary_size:
            raise AdapterError(
                f"the tokenizer has {self.vocabulary_size} tokens, but the model was made for "
                f"{config.vocabulary_size}: take the tokenizer that came with the model"
            )

    def prompt(self, instruction: str) -> list[int]:
        """Return the tokens of a prompt: `<s>` first, the empty token last."""
        ids = self._tokenizer.encode(prompt(instruction)).ids
        return ids if ids[-1] == self.space else [*ids, self.space]

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files as they came."""
        for name, content in self._files.items():
            write_bytes(folder / name, content)

    def __getstate__(self) -> dict[str, bytes]:
        """Return the files: readers' worker processes get a tokenizer of their own."""
        return self._files

    def __setstate__(self, files: dict[str, bytes]) -> None:
        self.__init__(files)  # type: ignore[misc]

    def _id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None:
            raise AdapterError(f"tokenizer.json has no token {token!r}: it is not a Llama's")
        return int(index)


_SPLIT = {
    "type": "Split",
    "pattern": {"String": SPACE},
    "behavior": "MergedWithNext",
    "invert": False,
}
_TEXT = {"Sequence": {"id": "A", "type_id": 0}}
_POST_PROCESSOR = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, _TEXT],
    "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, _TEXT],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
}
_DECODERS: list[dict[str, Any]] = [
    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
]


def _learn(instructions: Iterable[str], size: int) -> tuple[list[str], list[str]]:
    """Return pieces of words, and which two make which, of at most `size` pieces."""
    if size < 1:
        raise AdapterError("a vocabulary needs 516 tokens at least: bytes, actions, some text")
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", SPACE)
    learner.pre_tokenizer = pre_tokenizers.Split(SPACE, "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False)
    texts = sorted({" " + prompt(text).replace("\n", " ") for text in instructions})
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]
    pieces = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
    if SPACE not in pieces:
        raise AdapterError(f"a vocabulary of {size} pieces of words is too small for this text")
    return pieces, [" ".join(merge) for merge in learnt["merges"]]


def _added(index: int, token: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": token, **flags, "special": True}


def _bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
