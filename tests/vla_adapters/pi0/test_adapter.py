from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from safetensors.torch import load_file, save_file

from eval_harness.policies import load_policy
from eval_harness.policy import EpisodeKey, Observation
from eval_harness.protocols import get_protocol
from vla_adapters.adapter import AdapterError
from vla_adapters.lerobot.row_noise import RowNoise, noise_seed
from vla_adapters.pi0.adapter import TOKENIZER, Pi0Adapter
from vla_adapters.pi0.tokenizer_step import CarriedTokenizerStep
from vla_adapters.tokenizers import libero_instructions, train_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")


def loss_of(adapter: Pi0Adapter, samples) -> float:
    adapter.module.eval()
    with torch.no_grad():
        return float(adapter.loss(adapter.collate(samples), torch.Generator().manual_seed(5))[0])


def train_a_little(adapter: Pi0Adapter, samples, steps: int = 3) -> None:
    adapter.module.train()
    trained = [p for p in adapter.module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, 1e-2)
    for step in range(steps):
        batch = adapter.collate(samples)
        adapter.loss(batch, torch.Generator().manual_seed(step))[0].backward()
        optimiser.step()
        optimiser.zero_grad()


def test_loss_is_lerobots_own_on_what_lerobots_own_processors_make(saved, make, samples):
    policy = get_policy_class("pi0_small").from_pretrained(saved)
    before, _ = make_pre_post_processors(policy.config, str(saved))
    pictures = {"image": "image", "wrist_image": "image2"}
    batch = before(
        {
            **{
                f"observation.images.{feature}": torch.stack(
                    [torch.from_numpy(s.images[c]).permute(2, 0, 1) / 255 for s in samples]
                )
                for c, feature in pictures.items()
            },
            "observation.state": torch.stack([torch.from_numpy(s.state) for s in samples]),
            "action": torch.stack([torch.from_numpy(s.actions) for s in samples]),
            "task": [s.instruction for s in samples],
        }
    )
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn((3, policy.config.chunk_size, 32), generator=generator)
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
    time = policy.model.sample_time(3, torch.device("cpu"))
    policy.model.sample_noise = lambda shape, device: noise
    policy.model.sample_time = lambda rows, device: time
    policy.eval()
    with torch.no_grad():
        wanted, _ = policy.forward(batch)
    assert loss_of(make(), samples) == pytest.approx(float(wanted), rel=1e-6)


def test_loss_depends_on_the_generator_alone(make, samples):
    adapter = make()
    torch.manual_seed(1)
    first = loss_of(adapter, samples)
    torch.manual_seed(2)
    assert loss_of(adapter, samples) == first
    batch = adapter.collate(samples)
    other, _ = adapter.loss(batch, torch.Generator().manual_seed(6))
    assert float(other.detach()) != first


def test_weights_depend_on_the_seed_alone(make):
    torch.manual_seed(11)
    a = make().module.state_dict()
    torch.manual_seed(12)
    b = make().module.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_and_comes_back_from_disk(make, samples, statistics, tmp_path):
    adapter = make()
    untrained = loss_of(adapter, samples)
    train_a_little(adapter, samples, 10)
    trained = loss_of(adapter, samples)
    assert trained < untrained
    adapter.save(tmp_path)
    loaded = Pi0Adapter.load(str(tmp_path), statistics, adapter.chunk)
    assert loss_of(loaded, samples) == trained
    assert loaded.identity()["variant"] == "pi0_small"


def test_chunk_may_change_from_checkpoint_to_training(saved, statistics):
    assert Pi0Adapter.load(str(saved), statistics, chunk=7).policy.config.n_action_steps == 7


def test_expert_only_leaves_paligemma_alone(make, samples):
    adapter = make(train="expert_only")
    before = {n: t.clone() for n, t in adapter.module.state_dict().items()}
    train_a_little(adapter, samples)
    changed = {n for n, t in adapter.module.state_dict().items() if not torch.equal(t, before[n])}
    assert changed and not any(".paligemma." in name for name in changed)


def test_lora_is_saved_merged_and_goes_on_unchanged(make, samples, statistics, tmp_path):
    adapter = make(train="lora")
    train_a_little(adapter, samples)
    trained = loss_of(adapter, samples)
    adapter.save(tmp_path)
    assert loss_of(adapter, samples) == trained
    assert not (tmp_path / "adapter_config.json").exists()
    merged = Pi0Adapter.load(str(tmp_path), statistics, adapter.chunk)
    assert loss_of(merged, samples) == pytest.approx(trained, rel=1e-4)
    identity = adapter.identity()
    assert 0 < identity["trainable"] < identity["parameters"] / 20
    frozen = [n for n, p in adapter.module.named_parameters() if not p.requires_grad]
    assert frozen and all("lora_" not in name for name in frozen)


def observe(episode: int, size: int) -> Observation:
    rng = np.random.default_rng(episode)
    picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Observation(
        EpisodeKey("libero_goal/task", episode, episode, 7),
        0,
        "put the bowl on the plate",
        {"agentview": picture, "robot0_eye_in_hand": picture[::-1].copy()},
        {"proprio": rng.normal(size=8)},
    )


@pytest.mark.parametrize(("protocol", "size"), [("lerobot", 360), ("openpi", 224)])
def test_the_harness_runs_a_checkpoint_in_chunks(saved, protocol, size):
    policy = load_policy(f"lerobot:{saved}", get_protocol(protocol))
    observations = [observe(episode, size) for episode in range(3)]
    actions = policy.act(observations)
    assert actions.shape == (3, 4, 7) and policy.requirements.chunk == 4
    reference = get_policy_class("pi0_small").from_pretrained(saved)
    before, after = make_pre_post_processors(reference.config, str(saved))
    batch = {"observation.state": torch.from_numpy(observations[1].state["proprio"]).float()[None]}
    for feature, camera in (("image", "agentview"), ("image2", "robot0_eye_in_hand")):
        picture = torch.from_numpy(observations[1].images[camera]).permute(2, 0, 1)[None] / 255
        batch[f"observation.images.{feature}"] = picture
    with RowNoise([noise_seed(observations[1])]):
        wanted = reference.predict_action_chunk(
            before({**batch, "task": [observations[1].instruction]})
        )
    np.testing.assert_allclose(actions[1], after(wanted)[0].numpy(), atol=1e-4)


def tokenizer_entry(content: dict) -> dict:
    return next(step for step in content["steps"] if "tokenizer" in step["registry_name"])


def test_a_moved_checkpoint_is_loaded_by_lerobots_own_factory(make, tmp_path):
    adapter = make()
    adapter.save(tmp_path / "saved")
    moved = (tmp_path / "saved").rename(tmp_path / "moved")
    shutil.rmtree(moved / TOKENIZER)  # LeRobot looks for none
    texts = [file.read_text() for file in moved.rglob("*.json")]
    assert texts and not any(adapter._record["tokenizer"] in text for text in texts)
    policy = get_policy_class("pi0_small").from_pretrained(moved)
    before, _ = make_pre_post_processors(policy.config, str(moved))
    batch = {"observation.state": torch.zeros(1, 8), "task": ["put the bowl on the plate"]}
    theirs, ours = before(dict(batch)), adapter._before(dict(batch))
    for name in ("observation.language.tokens", "observation.language.attention_mask"):
        assert theirs[name].equal(ours[name]) and theirs[name].any()


def test_a_tokenizer_of_the_hub_keeps_its_name(saved, statistics, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    file = copy / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    entry = tokenizer_entry(content)
    entry["registry_name"], entry["config"]["tokenizer_name"] = "tokenizer_processor", "me/words"
    del entry["state_file"]
    file.write_text(json.dumps(content))
    Pi0Adapter.load(str(copy), statistics, 4).save(tmp_path / "again")
    saved_again = json.loads((tmp_path / "again" / file.name).read_text())
    assert tokenizer_entry(saved_again) == entry


def test_a_tokenizers_state_holds_its_files_alone():
    for name in ("../tokenizer.json", "tokenizer.py"):
        with pytest.raises(ValueError, match=r"is no file of a tokenizer"):
            CarriedTokenizerStep().load_state_dict({name: torch.zeros(1, dtype=torch.uint8)})


def test_others_may_read_what_is_saved(make, tmp_path):
    before = os.umask(0o027)
    try:
        make().save(tmp_path / "saved")
    finally:
        os.umask(before)
    files = [file for file in (tmp_path / "saved").rglob("*") if file.is_file()]
    assert {"model.safetensors", "config.json"} <= {file.name for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}


def test_a_checkpoint_that_names_a_path_that_is_gone_has_its_own_copy(saved, tmp_path):
    """As earlier versions saved them."""
    copy = shutil.copytree(saved, tmp_path / "copy")
    file = copy / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    entry = tokenizer_entry(content)
    entry["registry_name"] = "tokenizer_processor"
    entry["config"]["tokenizer_name"] = str(tmp_path / "gone")
    del entry["state_file"]
    file.write_text(json.dumps(content))
    moved = load_policy(f"lerobot:{copy}", get_protocol("openpi"))
    still = load_policy(f"lerobot:{saved}", get_protocol("openpi"))
    assert np.array_equal(moved.act([observe(0, 64)]), still.act([observe(0, 64)]))


def spoil_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def test_published_names_without_prefix_are_understood(saved, statistics, samples, make, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    plain = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    save_file(plain, copy / "model.safetensors")
    loaded = Pi0Adapter.load(str(copy), statistics, 4)
    assert loss_of(loaded, samples) == loss_of(make(), samples)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("model.state_proj.weight"), r"1 missing \(model\.state_proj\.weight\)"),
        (lambda w: w.update(stray=torch.zeros(2)), r"1 unknown \(model\.stray\)"),
        (lambda w: w.update({"model.state_proj.bias": torch.zeros(2)}), r"of another shape"),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_weights_that_do_not_fit_are_named(saved, statistics, tmp_path, change, message):
    copy = shutil.copytree(saved, tmp_path / "copy")
    spoil_weights(copy, change)
    with pytest.raises(AdapterError, match=message):
        Pi0Adapter.load(str(copy), statistics, 4)


def test_incomplete_damaged_and_foreign_checkpoints_are_one_clear_line(saved, statistics, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(AdapterError, match="damaged"):
        Pi0Adapter.load(str(copy), statistics, 4)
    (copy / "model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"model\.safetensors is missing"):
        Pi0Adapter.load(str(copy), statistics, 4)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "type": "unheard_of"}))
    with pytest.raises(AdapterError, match="unheard_of"):
        Pi0Adapter.load(str(copy), statistics, 4)
    with pytest.raises(AdapterError, match="there is no folder"):
        Pi0Adapter.load(str(tmp_path / "nowhere"), statistics, 4)


def test_a_foreign_tokenizer_is_refused(saved, statistics, tmp_path):
    words = [f"{text} {number}" for number, text in enumerate(libero_instructions())]
    train_tokenizer(words, 700).save_pretrained(str(tmp_path))
    with pytest.raises(AdapterError, match="but this pi0 knows 512"):
        Pi0Adapter.load(str(saved), statistics, 4, str(tmp_path))
    with pytest.raises(AdapterError, match=r"cannot be loaded"):
        Pi0Adapter.load(str(saved), statistics, 4, str(tmp_path / "nowhere"))


def test_a_tokenizer_s_own_code_is_not_run_whoever_asks(saved, statistics, tmp_path, monkeypatch):
    own = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(own))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(AdapterError, match="cannot be loaded"):
        Pi0Adapter.load(str(saved), statistics, 4, str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_processors_without_steps_are_one_clear_line(saved, statistics, tmp_path):
    copy = shutil.copytree(saved, tmp_path / "copy")
    (copy / "digests.json").unlink(missing_ok=True)
    (copy / "policy_preprocessor.json").write_text("{}")
    with pytest.raises(AdapterError, match="is not a processor"):
        Pi0Adapter.load(str(copy), statistics, 4)
