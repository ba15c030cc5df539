"""A small OpenVLA in training: batches, loss, adapters, what is saved."""

import dataclasses

import numpy as np
import pytest
import torch

from dataset_builders.describing.statistics import openvla_form
from vla_adapters.adapter import AdapterError
from vla_adapters.lora import Lora
from vla_adapters.openvla.actions import ActionStatistics, environment_gripper, open_gripper
from vla_adapters.openvla.adapter import OpenVlaAdapter, OpenVlaOptions
from vla_adapters.openvla.checkpoint import load_checkpoint
from vla_adapters.openvla.config import small_config
from vla_adapters.samples import Moments, Sample, Statistics
from vla_adapters.statistics import as_json

pytestmark = pytest.mark.usefixtures("one_thread")

INSTRUCTIONS = ("pick up the bowl", "open the top drawer of the cabinet")


def moments(size: int, low: float = -0.5, high: float = 0.5) -> Moments:
    one = np.ones(size)
    return Moments(0 * one, one, low * one, high * one, low * one, high * one)


STATISTICS = Statistics(moments(7), moments(8), moments(1, 0, 1), 10, 2, "clicks", "0" * 64)


def make_samples(count: int = 4) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        Sample(
            {"image": rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)},
            rng.normal(size=8).astype(np.float32),
            np.append(rng.uniform(-0.6, 0.6, 6), 1 - 2 * (i % 2)).astype(np.float32)[None],
            np.zeros(1, bool),
            INSTRUCTIONS[i % 2],
            0,
            i,
        )
        for i in range(count)
    ]


def make_adapter(tokenizer, **options) -> OpenVlaAdapter:
    config = small_config(
        tokenizer.vocabulary_size, 32, vision_width=32, vision_depth=2, text_width=64, text_depth=1
    )
    return OpenVlaAdapter.random(
        config, tokenizer, STATISTICS, options=OpenVlaOptions(**options), seed=3
    )


def train(adapter: OpenVlaAdapter, steps: int, rate: float = 3e-3) -> list[float]:
    batch = adapter.collate(make_samples())
    parameters = [p for p in adapter.module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, rate)
    losses = []
    for _ in range(steps):
        loss, _ = adapter.loss(batch, torch.Generator())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_batch_is_prompt_actions_and_stop(tokenizer):
    adapter, samples = make_adapter(tokenizer), make_samples(2)
    batch = adapter.collate(samples)
    assert batch["pictures"].shape == (2, 3, 32, 32) and batch["pictures"].dtype == torch.uint8
    for row, sample in enumerate(samples):
        tokens = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        prompt = tokenizer.prompt(sample.instruction)
        assert tokens[: len(prompt)] == prompt and tokens[-1] == tokenizer.stop
        coder = adapter._actions
        decoded = coder.decode(np.array(tokens[-8:-1]))
        wanted = np.clip(sample.actions[0, :6] / 0.5, -1, 1)
        np.testing.assert_allclose(decoded[:6], wanted, atol=1 / 255 + 1e-6)
        assert decoded[6] == pytest.approx(open_gripper(sample.actions)[0, 6], abs=1 / 255 + 1e-6)


def test_batch_does_not_depend_on_the_other_samples(tokenizer):
    adapter, samples = make_adapter(tokenizer), make_samples(2)
    whole = adapter.collate(samples)
    ids, mask = whole["input_ids"][0], whole["attention_mask"][0].bool()
    alone = adapter.collate(samples[:1])
    assert ids[mask].tolist() == alone["input_ids"][0].tolist()


def test_learns_a_batch_by_heart(tokenizer):
    adapter = make_adapter(tokenizer)
    losses = train(adapter, 60)
    assert losses[0] > 5 and losses[-1] < 0.1
    _, extras = adapter.loss(adapter.collate(make_samples()), torch.Generator())
    assert extras["accuracy"] == 1 and extras["l1"] == 0


def test_gradients_are_the_same_when_activations_are_computed_twice(tokenizer):
    def gradients(**options):
        adapter = make_adapter(tokenizer, **options)
        adapter.module.train()
        loss, _ = adapter.loss(adapter.collate(make_samples(2)), torch.Generator())
        loss.backward()
        return {n: p.grad for n, p in adapter.module.named_parameters() if p.requires_grad}

    plain, checkpointed = gradients(), gradients(gradient_checkpointing=True)
    assert all(g is not None for g in plain.values())  # none is left out of data-parallel training
    torch.testing.assert_close(checkpointed, plain)


@pytest.mark.parametrize("train_what", ["full", "lora"])
def test_saved_model_acts_the_same(tokenizer, tmp_path, train_what):
    adapter = make_adapter(tokenizer, train=train_what, lora=Lora(rank=4))
    before = {n: p.detach().clone() for n, p in adapter.module.named_parameters()}
    train(adapter, 3)
    moved = {n for n, p in adapter.module.named_parameters() if not torch.equal(p, before[n])}
    assert moved and (train_what == "full" or all("lora_" in name for name in moved))
    adapter.save(tmp_path)
    loaded = OpenVlaAdapter(load_checkpoint(tmp_path, dtype=torch.float32), STATISTICS)
    batch = adapter.collate(make_samples())
    torch.testing.assert_close(
        loaded.loss(batch, torch.Generator())[0], adapter.loss(batch, torch.Generator())[0]
    )
    assert loaded.collate(make_samples())["input_ids"].equal(batch["input_ids"])
    assert loaded.model.config.norm_stats.keys() == {"clicks"}


def test_rotary_frequencies_stay_exact_in_bfloat16(tokenizer):
    adapter = make_adapter(tokenizer, precision="bfloat16")
    adapter.module.to(torch.bfloat16)
    frequencies = adapter.model.language_model.model.rotary_emb.inv_freq
    assert frequencies.dtype == torch.float32 and frequencies.device.type == "cpu"
    loss, _ = adapter.loss(adapter.collate(make_samples()), torch.Generator())
    assert loss.dtype == torch.float32 and torch.isfinite(loss)


def test_tokenizer_of_another_model_is_refused(tokenizer):
    config = small_config(tokenizer.vocabulary_size + 1, 32)
    with pytest.raises(AdapterError, match=r"tokenizer has \d+ tokens, but the model was made for"):
        OpenVlaAdapter.random(config, tokenizer, STATISTICS)


def test_identity_tells_sizes_and_options_apart(tokenizer):
    identity = make_adapter(tokenizer, train="lora").identity()
    assert identity["trainable"] < identity["parameters"]
    assert identity["options"]["lora"] == dataclasses.asdict(Lora())
    assert identity != make_adapter(tokenizer).identity()


@pytest.mark.parametrize("gripper", [-1.0, 1.0])
def test_a_gripper_that_the_data_never_move_is_learnt_as_it_is(gripper):
    actions = np.array([[0.3, 0.2, 0.1, 0, 0, 0, gripper]] * 3)
    kept, opened = moments(7), 1.0 if gripper < 0 else 0.0
    statistics = dataclasses.replace(STATISTICS, action=kept, openness=moments(1, opened, opened))
    norm_stats = openvla_form("d", as_json(statistics))
    action = ActionStatistics.from_json(norm_stats, "d")
    learnt = action.normalise(open_gripper(actions))
    assert environment_gripper(action.unnormalise(learnt))[:, -1].tolist() == [gripper] * 3
