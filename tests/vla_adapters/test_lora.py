"""Low-rank adapters: exact beside bfloat16 weights, and merged one weight at a time."""

import copy

import pytest
import torch
from torch import nn

from vla_adapters.adapter import AdapterError
from vla_adapters.lora import Lora, MergedWeights, add_adapters


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 8)).to(torch.bfloat16)


def fill(network):
    """Give the adapters products that are not zero, as training does."""
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.1)


def test_adapters_alone_are_trained_and_in_float32(network):
    add_adapters(network, Lora(rank=4), ["0"])
    trained = {n: p.dtype for n, p in network.named_parameters() if p.requires_grad}
    assert len(trained) == 2 and set(trained.values()) == {torch.float32}
    frozen = {p.dtype for p in network.parameters() if not p.requires_grad}
    assert frozen == {torch.bfloat16}


def test_first_weights_depend_on_the_seed_alone(network):
    def first(seed: int, drawn_before: int) -> torch.Tensor:
        torch.manual_seed(drawn_before)
        copied = copy.deepcopy(network)
        add_adapters(copied, Lora(rank=4, seed=seed), ["0"])
        assert torch.initial_seed() == drawn_before  # what others draw stays as it was
        return copied[0].lora_A["default"].weight.detach()

    assert first(1, 5).equal(first(1, 6))
    assert not first(1, 5).equal(first(2, 5))


def test_small_steps_of_adapters_are_not_lost(network):
    add_adapters(network, Lora(rank=4), ["0", "2"])
    fill(network)
    before = {n: p.detach().clone() for n, p in network.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.randn(4, 16, dtype=torch.bfloat16)).float().square().mean().backward()
    optimiser.step()
    for name, parameter in network.named_parameters():
        if name in before:
            assert (parameter != before[name]).float().mean() > 0.9, name


def test_merged_weights_act_as_the_network_with_its_adapters(network):
    names = list(network.state_dict())
    network.float()
    add_adapters(network, Lora(rank=4, alpha=8), ["0", "2"])
    fill(network)
    merged = MergedWeights(network)
    assert list(merged) == names and len(merged) == len(names)
    plain = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 8))
    plain.load_state_dict(dict(merged))
    inputs = torch.randn(5, 16)
    torch.testing.assert_close(plain(inputs), network(inputs))


def test_merging_rounds_once_and_changes_nothing_in_the_network(network):
    add_adapters(network, Lora(rank=4), ["0"])
    fill(network)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    merged = MergedWeights(network)
    layer = network[0]
    delta = (
        layer.lora_B["default"].weight @ layer.lora_A["default"].weight * layer.scaling["default"]
    )
    wanted = (layer.base_layer.weight.float() + delta).to(torch.bfloat16)
    assert merged["0.weight"].equal(wanted) and merged["0.weight"].dtype == torch.bfloat16
    assert merged["1.weight"].data_ptr() == network[1].weight.data_ptr()
    assert all(t.equal(before[n]) for n, t in network.state_dict().items())
    with pytest.raises(KeyError):
        merged["0.lora_A.default.weight"]


def test_layers_that_are_not_there_are_named(network):
    with pytest.raises(AdapterError, match=r"no layer is named .*attention"):
        add_adapters(network, Lora(modules=r".*attention"), ["0"])
