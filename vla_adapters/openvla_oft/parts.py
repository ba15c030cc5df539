"""The parts that OpenVLA-OFT has beside an OpenVLA: action head and proprioception's projector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from common.errors import one_line
from vla_adapters.adapter import AdapterError
from vla_adapters.samples import ACTION_DIM, STATE_DIM

HEAD, PROJECTOR = "action_head--*_checkpoint.pt", "proprio_projector--*_checkpoint.pt"
"""Published names; the star is the training step."""
_BLOCKS = 2
_REMEDY = "fetch or copy it again"
_PARALLEL = "module."
"""What the names begin with where several GPUs trained."""


class ResidualBlock(nn.Module):
    """A layer with a residual connection, normalised before it. Shape: (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, of the same shape."""
        return x + self.ffn(x)


class ResidualNetwork(nn.Module):
    """From the hidden states of an action's tokens to the action."""

    def __init__(self, given: int, width: int, wanted: int) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(given)
        self.fc1 = nn.Linear(given, width)
        self.mlp_resnet_blocks = nn.ModuleList(ResidualBlock(width) for _ in range(_BLOCKS))
        self.layer_norm2 = nn.LayerNorm(width)
        self.fc2 = nn.Linear(width, wanted)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return actions. Shapes: (..., given) -> (..., wanted)."""
        x = torch.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class ActionHead(nn.Module):
    """The head that learnt by L1 regression, with the published parameters' names.

    Args:
        width: of the language model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = ResidualNetwork(width * ACTION_DIM, width, ACTION_DIM)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return normalised actions. Shapes: (B, chunk * 7, width) -> (B, chunk, 7)."""
        return self.model(hidden.reshape(len(hidden), -1, ACTION_DIM * hidden.shape[-1]))


class ProprioProjector(nn.Module):
    """From the normalised state to one token, with the published parameters' names.

    Args:
        width: of the language model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(STATE_DIM, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """Return the token. Shapes: (B, 8) -> (B, width)."""
        return self.fc2(nn.functional.gelu(self.fc1(state)))


@dataclass(frozen=True, eq=False)
class Parts:
    """What stands beside the network."""

    head: ActionHead
    """From hidden states to actions."""
    projector: ProprioProjector | None
    """From the state to a token; None for a model that was trained without."""


def load_parts(
    folder: Path, width: int, device: torch.device | str, dtype: torch.dtype
) -> tuple[Parts, tuple[Path, ...]]:
    """Load the parts of a checkpoint's folder, and return with them their files.

    The files are torch's; nothing but tensors is unpickled.

    Args:
        folder: of the checkpoint.
        width: of the language model.
        device: where they live.
        dtype: type of their parameters.

    Raises:
        AdapterError: the head is missing, a part is there twice, damaged or of another size.
    """
    files = [_only(folder, HEAD), _only(folder, PROJECTOR)]
    head_file, projector_file = files
    if head_file is None:
        raise AdapterError(f"{folder} has no {HEAD}: copy the action head of the OpenVLA-OFT, too")
    with torch.device(device):
        head = _fill(ActionHead(width), head_file)
        projector = _fill(ProprioProjector(width), projector_file) if projector_file else None
    for part in (head, projector):
        if part is not None:
            part.to(dtype).eval().requires_grad_(False)
    return Parts(head, projector), tuple(file for file in files if file)


def _only(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        raise AdapterError(
            f"{folder} has {', '.join(file.name for file in found)}: leave only the one of the "
            "training step that the weights are of"
        )
    return found[0] if found else None


def _fill[Part: nn.Module](part: Part, file: Path) -> Part:
    state = _read(file)
    own = part.state_dict()
    names = own.keys() ^ state.keys()
    shapes = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    if names or shapes:
        raise AdapterError(
            f"{file}: {', '.join(sorted([*names, *shapes]))} do not match an OpenVLA-OFT with L1 "
            "regression of this config.json's width, LIBERO's 7 actions and state of 8 numbers"
        )
    part.load_state_dict(state)
    return part


def _read(file: Path) -> Mapping[str, torch.Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and its unpickler have each their own
        raise AdapterError(f"{file} is damaged ({one_line(error)}): {_REMEDY}") from error
    tensors = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()
    )
    if not tensors:
        raise AdapterError(f"{file} is no table of tensors: {_REMEDY}")
    return {name.removeprefix(_PARALLEL): value for name, value in content.items()}
