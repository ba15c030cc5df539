"""Products, exponentials, logarithms and roots whose bits are those of any x86-64 with AVX2.

PyTorch leaves them to MKL, which takes other instructions on another maker's processor whatever
the environment asks for (`common.machine.instruction_sets`): on an AMD EPYC even a square root
ends in another bit than on an Intel Haswell. OpenBLAS and NumPy take what they are told to, and
are as fast; PyTorch's own loops, such as that of `exp2`, do so too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_LOG2_E = math.log2(math.e)
_LN_2 = math.log(2)


def exp(x: Tensor) -> Tensor:
    """Return e^x, with gradients."""
    return torch.exp2(x * _LOG2_E)


def log(x: Tensor) -> Tensor:
    """Return ln x, with gradients."""
    return torch.log2(x) * _LN_2


def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    """Return ln(e^x + e^y), with gradients; those of PyTorch's own are MKL's."""
    return torch.maximum(x, y) + torch.log1p(exp(-(x - y).abs()))


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """Return ln of the sum of e^x along a dimension, with gradients; PyTorch's own log is MKL's."""
    most = x.detach().amax(dim, keepdim=True)
    return log(exp(x - most).sum(dim)) + most.squeeze(dim)


def sqrt(x: Tensor) -> Tensor:
    """Return the roots of a tensor on the CPU, without gradients."""
    return torch.from_numpy(np.sqrt(x.detach().numpy()))


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `x @ weight.T + bias`; without gradients, each item of x is multiplied by itself.

    A product's rounding depends on its number of rows. Rollouts multiply item by item, so that an
    episode does not depend on how many others run beside it.

    Args:
        x: (n, in), or (n, steps, in), of which an item is (steps, in).
        weight: (out, in).
        bias: (out,).
    """
    if torch.is_grad_enabled():
        if x.device.type != "cpu":
            return torch.nn.functional.linear(x, weight, bias)
        return torch.as_tensor(_Product.apply(x, weight)) + bias
    items = x[:, None] if x.ndim == 2 else x
    if x.device.type == "cpu":
        product = torch.from_numpy(np.matmul(items.numpy(), weight.numpy().T)) + bias
    else:
        n, steps = items.shape[:2]
        columns = weight.t().expand(n, -1, -1)
        product = torch.baddbmm(bias.expand(n, steps, -1), items, columns)
    return product.view(*x.shape[:-1], len(weight))


class _Product(torch.autograd.Function):
    """`x @ weight.T` as one product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        rows = x.detach().flatten(0, -2).numpy()
        return torch.from_numpy(rows @ weight.detach().numpy().T).view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = (saved.detach() for saved in ctx.saved_tensors)
        along = gradients[0].flatten(0, -2).numpy()
        for_x, for_weight = ctx.needs_input_grad
        return (
            torch.from_numpy(along @ weight.numpy()).view(x.shape) if for_x else None,
            torch.from_numpy(along.T @ x.flatten(0, -2).numpy()) if for_weight else None,
        )
