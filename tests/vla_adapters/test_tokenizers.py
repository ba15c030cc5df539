from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from vla_adapters.tokenizers import libero_instructions, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(libero_instructions(), 512).save_pretrained(str(folder))
    return AutoTokenizer.from_pretrained(folder)


def test_a_prompt_begins_with_bos_and_ends_with_one_newline(tokenizer):
    ids = tokenizer("put the black bowl on the plate\n")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == 2
    assert tokenizer.convert_ids_to_tokens(ids[-1]) == "\n"
    assert tokenizer.pad_token_id == 0 and tokenizer.eos_token_id == 1


def test_every_instruction_comes_back_and_is_short(tokenizer):
    for text in libero_instructions():
        ids = tokenizer(f"{text}\n")["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == f"{text}\n"
        assert len(ids) <= 24 and tokenizer.unk_token_id not in ids


def test_what_was_never_seen_is_spelt_in_bytes(tokenizer):
    text = "schließe <0x41> 抽屉"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert max(ids) < len(tokenizer) <= 512


def test_padding_stands_on_the_right(tokenizer):
    batch = tokenizer(["close it\n", "put the mug on the plate\n"], padding=True)
    assert batch["input_ids"][0][-1] == 0 and batch["attention_mask"][0][-1] == 0
    assert batch["attention_mask"][1] == [1] * len(batch["input_ids"][1])
