"""LeRobot's tokenizer step with the tokenizer inside the checkpoint, wherever the folder is put."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from lerobot.processor import ProcessorStepRegistry, TokenizerProcessorStep
from transformers import AutoTokenizer

_KINDS = (".json", ".txt", ".model", ".jinja")
"""Endings of a tokenizer's files."""


@dataclass
@ProcessorStepRegistry.register(name="dlr_tokenizer_processor")
class CarriedTokenizerStep(TokenizerProcessorStep):
    """A tokenizer without a name on the hub: its files are the step's state, bytes as tensors.

    LeRobot's own step knows a name on the hub, or a path of the machine that saved it.
    """

    def __post_init__(self) -> None:
        """Take the tokenizer that is given; without one it comes with the state."""
        if self.tokenizer is not None:
            super().__post_init__()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tokenizer's files by name, uint8 (length,) each."""
        with tempfile.TemporaryDirectory() as folder:
            self.input_tokenizer.save_pretrained(folder)
            return {
                file.name: torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
                for file in sorted(Path(folder).iterdir())
            }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Make the tokenizer of its files.

        Raises:
            ValueError: a name is none of a tokenizer's files, or they make no tokenizer.
        """
        strange = [n for n in state if Path(n).name != n or Path(n).suffix not in _KINDS]
        if strange:
            raise ValueError(f"{', '.join(strange)} is no file of a tokenizer")
        with tempfile.TemporaryDirectory() as folder:
            for name, content in state.items():
                (Path(folder) / name).write_bytes(content.numpy().tobytes())
            self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        super().__post_init__()
