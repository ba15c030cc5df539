"""What LeRobot's checkpoints take from elsewhere: tokenizers and a VLM's configuration, no code.

pi0-FAST's action tokenizer is published with code that turns its tokens into actions, and
SmolVLA asks for its VLM's whole processor, of which two tokens' numbers are used. Here data alone
is read, and from the checkpoint's own folder where it carries a copy.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from common.errors import one_line
from common.hub import why_no_folder
from common.json_files import read_json
from eval_harness.policy import PolicyError

TOKENIZER, ACTION_TOKENIZER, VLM = "tokenizer", "action_tokenizer", "vlm"
"""Folders of a checkpoint with copies of what would be fetched: the tokenizer of its text, that of
its actions, configuration and tokenizer of its VLM."""
_MODULES = (
    "lerobot.processor.tokenizer_processor",
    "lerobot.policies.pi0_fast.modeling_pi0_fast",
    "lerobot.policies.smolvla.smolvlm_with_expert",
)
"""Modules of LeRobot that ask for processors."""
_FAST = "UniversalActionProcessor"
"""Class that FAST's `processor_config.json` names."""
_REMEDY = "fetch or copy it again"


class FastTokenizer:
    """FAST's tokens of actions, as far as LeRobot's pi0-FAST reads them.

    Args:
        bpe_tokenizer: from tokens to characters, each of which is a coefficient.
        scale: coefficients of a unit.
        min_token: coefficient that the first character stands for.
    """

    def __init__(
        self, bpe_tokenizer: PreTrainedTokenizerFast, scale: float, min_token: int
    ) -> None:
        self.bpe_tokenizer, self.scale, self.min_token = bpe_tokenizer, scale, min_token

    @classmethod
    def load(cls, folder: Path) -> FastTokenizer:
        """Read `processor_config.json` and `tokenizer.json`.

        Raises:
            PolicyError: they are missing, or not of a FAST tokenizer.
        """
        content = read_json(folder / "processor_config.json", "FAST's", PolicyError, _REMEDY)
        scale: Any = content.get("scale")
        least: Any = content.get("min_token")
        sound = content.get("processor_class") == _FAST and isinstance(least, int)
        if not sound or not isinstance(scale, (int, float)) or scale <= 0:
            raise PolicyError(
                f"{folder / 'processor_config.json'} is not of a FAST tokenizer "
                f"({_FAST} with scale and min_token): {_REMEDY}"
            )
        try:
            bpe = PreTrainedTokenizerFast(
                tokenizer_file=str(folder / "tokenizer.json"), clean_up_tokenization_spaces=False
            )
        except Exception as error:  # the library raises nothing narrower
            raise PolicyError(
                f"{folder / 'tokenizer.json'} cannot be read ({one_line(error)}): {_REMEDY}"
            ) from error
        return cls(bpe, float(scale), int(least))


@contextmanager
def companions(config: Any, folder: Path) -> Iterator[None]:
    """Have LeRobot read data alone, and a checkpoint's own copies, while it loads it.

    Args:
        config: the policy's configuration; what it names is changed to its own copies.
        folder: of the checkpoint.
    """
    own = {
        "text_tokenizer_name": TOKENIZER,
        "action_tokenizer_name": ACTION_TOKENIZER,
        "vlm_model_name": VLM,
    }
    for field, name in own.items():
        if hasattr(config, field) and (folder / name).is_dir():
            setattr(config, field, str(folder / name))
    modules: list[Any] = [importlib.import_module(name) for name in _MODULES]
    originals = [module.AutoProcessor for module in modules]
    for module in modules:
        module.AutoProcessor = _Processors
    try:
        yield
    finally:
        for module, original in zip(modules, originals, strict=True):
            module.AutoProcessor = original


def step_overrides(steps: set[str], folder: Path) -> dict[str, dict[str, str]]:
    """Return the options of a preprocessor's steps that make them read a checkpoint's own copies.

    Args:
        steps: registered names of its steps.
        folder: of the checkpoint.
    """
    text = next((str(folder / n) for n in (TOKENIZER, VLM) if (folder / n).is_dir()), None)
    found = {
        "tokenizer_processor": {"tokenizer_name": text},
        "action_tokenizer_processor": {
            "paligemma_tokenizer_name": text,
            "action_tokenizer_name": str(folder / ACTION_TOKENIZER)
            if (folder / ACTION_TOKENIZER).is_dir()
            else None,
        },
    }
    given = {
        step: {name: value for name, value in options.items() if value}
        for step, options in found.items()
        if step in steps
    }
    return {step: options for step, options in given.items() if options}


class _Processors:
    """Stands for transformers' `AutoProcessor`."""

    @staticmethod
    def from_pretrained(name: str, **_: Any) -> Any:
        """Return FAST's tokenizer, or what SmolVLA reads of its VLM's processor."""
        folder = _find(name)
        if (folder / "processor_config.json").is_file() and _is_fast(folder):
            return FastTokenizer.load(folder)
        return SimpleNamespace(
            tokenizer=AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        )


def _is_fast(folder: Path) -> bool:
    content = read_json(folder / "processor_config.json", "a processor's", PolicyError, _REMEDY)
    return content.get("processor_class") == _FAST


def _find(name: str) -> Path:
    """Return the folder with the files of a processor, fetched from the hub if need be."""
    if Path(name).is_dir():
        return Path(name)
    reason = why_no_folder(name)
    if reason is None:
        try:
            return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model"]))
        except (HFValidationError, HfHubHTTPError, OSError) as error:
            reason = f"{name} cannot be had from the hub ({str(error).splitlines()[0]})"
    raise PolicyError(
        f"{reason}: copy its files into the checkpoint, as the folder {ACTION_TOKENIZER} or {VLM}"
    )
