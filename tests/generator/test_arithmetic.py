"""Arithmetic against PyTorch's own, its rows alone, and its bits on processors of other makers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from common.machine import instruction_sets
from generator import arithmetic

EMULATOR = "qemu-x86_64"
PRINT_BITS = """
import dataclasses, hashlib
import numpy as np
import torch
from generator import discover
from generator.arithmetic import exp, log, logsumexp, sqrt
from generator.config import DiscoverConfig
from generator.networks import mlp
from generator.policies.gaussian import GaussianPolicy

def show(*tensors):
    print(hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest())

torch.set_num_threads(1)
torch.manual_seed(0)
x, target = torch.randn(400, 60), torch.randn(400, 7)
network = mlp(60, (256, 256), 7)
optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
for _ in range(20):
    optimizer.zero_grad()
    error = network(x) - target
    (exp(-error.abs()).mean() + log(1 + error ** 2).mean()).backward()
    torch.nn.utils.clip_grad_norm_(list(network.parameters()), 0.5)
    optimizer.step()
show(*network.parameters())
with torch.no_grad():
    show(network(x), sqrt(x.abs()), logsumexp(3 * x, 1), logsumexp(3 * x, 0))

policy = GaussianPolicy(60, 3, (64, 64))
optimizer = torch.optim.Adam([*policy.network.parameters()], 1e-3, fused=True)
features, chosen = torch.cat([x, x[:, :3]], 1), torch.cat([target[:, :6], target[:, 6:].sign()], 1)
trace, before = {"chosen": chosen}, policy.distribution(features)
before = before.log_probs(trace).detach()
for _ in range(5):
    optimizer.zero_grad()
    ratio = exp(policy.distribution(features).log_probs(trace) - before)
    (ratio.mean() + policy.cloning_loss(features, trace, None)).backward()
    optimizer.step()
show(*policy.state_dict().values())

rng = np.random.default_rng(0)
paths = [np.linspace(0, np.eye(10)[i % 3], 30) + rng.normal(0, 0.01, (30, 10)) for i in range(12)]
model = discover.MixtureVae(3, 4, 64)
model.normalizer.fit(np.concatenate(paths))
shares = np.eye(3)[np.arange(12) % 3]
discover._train(model, paths, shares, dataclasses.replace(DiscoverConfig(), steps=30), 0)
show(*model.state_dict().values())
"""


def run_python(code: str, *before: str, **environment: str) -> str:
    """Return what code prints in a fresh process with the pinned instructions."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [*before, sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **threads, **instruction_sets(), **environment},
    )  # fmt: skip
    return result.stdout


@pytest.mark.parametrize("shape", [(5, 11), (5, 3, 11), (0, 11)])
def test_a_product_and_its_gradients_are_those_of_pytorch(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    given = [torch.randn(s, generator=rng) for s in (shape, (4, 11), (4,))]
    ours, theirs = ([t.clone().requires_grad_() for t in given] for _ in range(2))
    along = torch.randn((*shape[:-1], 4), generator=rng)
    (arithmetic.linear(*ours) * along).sum().backward()
    (functional.linear(*theirs) * along).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    with torch.no_grad():
        torch.testing.assert_close(arithmetic.linear(*given), functional.linear(*given))


@pytest.mark.parametrize("shape", [(24, 256), (24, 4, 256)])
def test_without_gradients_an_item_does_not_depend_on_the_others(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=rng) for s in (shape, (256, 256), (256,)))
    with torch.no_grad():
        together = arithmetic.linear(x, weight, bias)
        for n in (1, 2, 7, 23):
            assert torch.equal(together[:n], arithmetic.linear(x[:n], weight, bias))


@pytest.mark.parametrize("threads", ["1", "2"])
def test_bits_do_not_depend_on_the_number_of_threads(threads: str) -> None:
    code = """
import hashlib, torch
from common.reproducible import reproducible
from generator.networks import mlp
torch.manual_seed(0)
network, x = mlp(60, (256, 256), 7), torch.randn(36, 60)
with reproducible():
    (network(x) ** 2).sum().backward()
print(hashlib.sha256(network[0].weight.grad.numpy().tobytes()).hexdigest())
"""
    several = run_python(code, OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads)
    assert several == run_python(code, OPENBLAS_NUM_THREADS="4", OMP_NUM_THREADS="4")


def test_functions_are_exact_to_rounding_and_have_gradients() -> None:
    x = torch.linspace(-20, 20, 1001, requires_grad=True)
    truth = np.exp(x.detach().double().numpy())
    made = arithmetic.exp(x)
    np.testing.assert_allclose(made.detach().numpy(), truth, rtol=2e-6)
    made.sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), truth, rtol=4e-6)
    y = torch.linspace(1e-3, 50, 1001, requires_grad=True)
    arithmetic.log(y).sum().backward()
    np.testing.assert_allclose(np.asarray(y.grad), 1 / y.detach().numpy(), rtol=1e-6)
    logs = arithmetic.log(y).detach().numpy()
    np.testing.assert_allclose(logs, np.log(y.detach().numpy()), rtol=1e-6, atol=1e-6)
    a, b = (torch.linspace(*ends, 101, requires_grad=True) for ends in ((-9, 9), (4, -5)))
    ours, theirs = arithmetic.logaddexp(a, b), torch.logaddexp(a, b)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(
        *(torch.autograd.grad(t.sum(), (a, b)) for t in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(mine, other)
    table = torch.randn((40, 3), generator=torch.Generator().manual_seed(0)).requires_grad_()
    for dim in (0, 1):
        ours, theirs = arithmetic.logsumexp(table, dim), torch.logsumexp(table, dim)
        torch.testing.assert_close(ours, theirs)
        (mine,), (other,) = (torch.autograd.grad(t.sum(), table) for t in (ours, theirs))
        torch.testing.assert_close(mine, other)
    assert torch.equal(arithmetic.sqrt(y.detach()), torch.from_numpy(np.sqrt(y.detach().numpy())))


@pytest.mark.skipif(not instruction_sets(), reason="a processor without AVX2")
def test_numpy_takes_none_but_the_pinned_instructions() -> None:
    """Its names for them change, and one that it does not know is ignored in silence."""
    code = (
        "from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__\n"
        "print([name for name in __cpu_dispatch__ if __cpu_features__[name]])"
    )
    assert run_python(code).strip() == "['X86_V3']"


def test_a_large_product_ends_with_the_pinned_instructions() -> None:
    """OpenBLAS 0.3.34 overruns its stack on AMD's Zen 4 there, and the process dies."""
    code = "import numpy as np; print((np.ones((64, 1000)) @ np.ones((1000, 64)))[0, 0])"
    assert run_python(code).strip() == "1000.0"


@pytest.mark.skipif(not instruction_sets(), reason="a processor without AVX2")
@pytest.mark.skipif(not shutil.which(EMULATOR), reason="needs the package qemu-user")
@pytest.mark.parametrize("processor", ["Haswell-v4", "EPYC"])
@pytest.mark.slow
def test_bits_are_those_of_another_makers_processor(processor: str) -> None:
    emulated = run_python(PRINT_BITS, EMULATOR, "-cpu", processor)
    assert run_python(PRINT_BITS) == emulated
    assert len(set(emulated.splitlines())) == 4
