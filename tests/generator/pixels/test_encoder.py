"""Numbers of a picture depend on nothing else, and gradients reach the encoder in pieces."""

import numpy as np
import pytest
import torch

from common.errors import SettingError
from generator.pixels import encoder as module
from generator.pixels.cloning import shift
from generator.pixels.encoder import Encoder, choose_device
from generator.pixels.memory import check_memory
from generator.pixels.rows import pack, unpack

RNG = np.random.default_rng(0)


def draw(count: int, cameras: int = 1, size: int = 32) -> np.ndarray:
    return RNG.integers(0, 256, (count, cameras, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("kind", "norm"), [("resnet18", "group"), ("efficientnet_lite0", "batch")])
def test_a_picture_is_encoded_alike_wherever_it_stands(kind: str, norm: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(kind, norm, 2, 32, 16, True).eval()  # type: ignore[arg-type]
    pictures = draw(11, 2)
    numbers = encoder.encode(pictures)
    assert numbers.shape == (11, 32) and numbers.dtype == np.float32
    order = RNG.permutation(11)
    np.testing.assert_array_equal(encoder.encode(pictures[order]), numbers[order])
    np.testing.assert_array_equal(encoder.encode(pictures[4:5]), numbers[4:5])
    with torch.no_grad():
        together = encoder(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(together, numbers, atol=1e-4)


def test_gradients_in_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = Encoder("efficientnet_lite0", "group", 1, 32, 8, True).double().train()
    pictures, gradients = torch.from_numpy(draw(5)), []
    monkeypatch.setattr(Encoder, "maps", _double_maps)
    for piece in (64, 2):
        monkeypatch.setattr(module, "_PIECE", piece)
        encoder.zero_grad()
        encoder(pictures).square().sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(encoder.parameters()))
    for whole, pieces in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, pieces)


def _double_maps(self: Encoder, pictures: torch.Tensor) -> torch.Tensor:
    return self.backbone((pictures.movedim(-1, 1).double() - self.mean) / self.std).flatten(1)


def test_statistics_of_pretraining_stay() -> None:
    encoder = Encoder("resnet18", "batch", 1, 32, 8, True).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder(torch.from_numpy(draw(4)))
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


def test_principal_components_are_uncorrelated_and_fall() -> None:
    torch.manual_seed(0)
    encoder = Encoder("efficientnet_lite0", "batch", 1, 32, 4, False).eval()
    pictures = [draw(20), draw(20)]
    encoder.fit_projection(pictures)
    numbers = encoder.encode(np.concatenate(pictures))
    spread = np.cov(numbers.T)
    assert np.all(np.diff(np.diag(spread)) < 0)
    assert np.abs(spread - np.diag(np.diag(spread))).max() < 0.05 * spread[0, 0]
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=1e-2 * np.sqrt(spread[0, 0]))


def test_rows_of_bytes_hold_pictures_and_floats() -> None:
    pictures, proprio = draw(3, 2, 33), RNG.standard_normal((3, 8))
    rows = pack(pictures, proprio)
    assert rows.dtype == np.uint8 and rows.shape == (3, 2 * 33 * 33 * 3 + 32)
    seen, numbers = unpack(torch.from_numpy(rows), 2, 33)
    np.testing.assert_array_equal(seen.numpy(), pictures)
    np.testing.assert_array_equal(numbers.numpy(), proprio.astype(np.float32))


def test_shifts_repeat_borders_and_treat_cameras_alike() -> None:
    pictures = torch.from_numpy(draw(6, 2))
    moved = shift(pictures, 3, torch.Generator().manual_seed(0))
    assert moved.shape == pictures.shape and not torch.equal(moved, pictures)
    assert torch.equal(shift(pictures, 0, torch.Generator()), pictures)
    padded = torch.nn.functional.pad(
        pictures.movedim(-1, 2).flatten(0, 1).float(), (3, 3, 3, 3), mode="replicate"
    ).view(6, 2, 3, 38, 38).movedim(2, -1)  # fmt: skip
    for i in range(6):
        found = [
            (y, x)
            for y in range(7)
            for x in range(7)
            if torch.equal(padded[i, :, y : y + 32, x : x + 32], moved[i].float())
        ]
        assert len(found) == 1


def test_too_much_memory_and_no_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_memory("a test", 2**20, 0.1)
    with pytest.raises(SettingError, match=r"pictures of a test take 2 GiB, but --observe"):
        check_memory("a test", 2**31, 1)
    with pytest.raises(SettingError, match=r"GiB is free"):
        check_memory("a test", 2**60, 2**40)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="no GPU"):
        choose_device("cuda")
