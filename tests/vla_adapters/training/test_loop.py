from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from common.errors import BusyError, DlrError, StorageError
from common.locks import lock_folder
from eval_harness.policies import load_policy
from eval_harness.protocols import get_protocol
from eval_harness.results import load_results
from simulation.assets.resolve import embedded_pack
from simulation.pictures.transforms import Jpeg, Rotate180, prepare
from simulation.tasks import get_task
from tests.at_rest.disk import small_disk
from vla_adapters.lerobot.loading import load_checkpoint
from vla_adapters.openvla.adapter import OpenVlaAdapter
from vla_adapters.openvla.policy import OpenVlaPolicy
from vla_adapters.pi0.adapter import Pi0Adapter
from vla_adapters.records import open_records
from vla_adapters.training.checkpoints import State, TrainingError, load_state
from vla_adapters.training.config import TrainConfig, ValidationConfig
from vla_adapters.training.loop import train
from vla_adapters.training.validation import PROTOCOLS, read_evaluations

STEPS = 24
TASK = "pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train as the killed child does, which is shown no GPU: equal bits are of one device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def config(rlds, tmp_path) -> TrainConfig:
    return TrainConfig(
        data=(str(rlds),),
        out=tmp_path / "out",
        steps=4,
        batch=2,
        chunk=3,
        accumulate=2,
        learning_rate=1e-3,
        workers=0,
        checkpoint_every=2,
        keep_epochs=0,
        log_every=1,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def state_of(out: Path) -> State:
    state = load_state(out)
    assert state is not None
    return state


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def words_of(config: TrainConfig) -> list[str]:
    """Return the options that stand for a training."""
    options = {
        "data": config.data[0],
        "out": config.out,
        "steps": config.steps,
        "batch": config.batch,
        "chunk": config.chunk,
        "accumulate": config.accumulate,
        "learning-rate": config.learning_rate,
        "workers": 1,
        "checkpoint-every": config.checkpoint_every,
        "keep-epochs": config.keep_epochs,
        "log-every": config.log_every,
    }
    return [str(word) for name, value in options.items() for word in (f"--{name}", value)]


def start(config: TrainConfig, *launcher: str) -> subprocess.Popen:
    """Start the same training as a command, in a process of its own, or by a launcher."""
    command = [sys.executable, "-m", *launcher, "cli.main", "vla", "pretrain", *words_of(config)]
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env={**os.environ, **environment})


TWO = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
"""What starts two processes; where no GPU is to be seen they compute on the CPU, by gloo."""


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.mark.slow
def test_two_processes_train_as_one(config, tmp_path):
    """`accelerate launch`: half of the data each, the same weights each time, one that writes."""
    launcher = (*TWO, "--main_process_port", free_port(), "-m")
    pair = dataclasses.replace(config, out=tmp_path / "pair", accumulate=1)
    assert start(pair, *launcher).wait(300) == 0
    seen = lines(pair.out)
    assert [line["step"] for line in seen] == [1, 2, 3, 4]
    assert state_of(pair.out).decisive["processes"] == 2
    alone = dataclasses.replace(pair, out=tmp_path / "alone")
    train(alone)
    # As many steps see twice the data, so the weights are others, and the epochs shorter.
    again = dataclasses.replace(pair, out=tmp_path / "again")
    assert start(again, *launcher).wait(300) == 0
    first, second, other = (weights(c.out / "final") for c in (pair, again, alone))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert seen[-1]["epoch"] > 1.5 * lines(alone.out)[-1]["epoch"]
    assert {p.name for p in pair.out.iterdir()} >= {"final", "metrics.jsonl"}
    with pytest.raises(TrainingError, match="processes"):
        train(dataclasses.replace(pair, steps=6))


def test_a_killed_training_ends_with_the_same_bits(config):
    config = dataclasses.replace(config, steps=STEPS)
    process = start(config)
    resume = config.out / "resume"
    while process.poll() is None and not any(resume.glob("step_*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = state_of(config.out)
    assert 0 < state.step < STEPS
    train(config)
    undisturbed = dataclasses.replace(config, out=config.out.with_name("undisturbed"))
    train(undisturbed)
    resumed, wanted = weights(config.out / "final"), weights(undisturbed.out / "final")
    assert resumed.keys() == wanted.keys()
    assert all(torch.equal(resumed[name], wanted[name]) for name in wanted)
    assert [line["loss"] for line in lines(config.out)] == [
        line["loss"] for line in lines(undisturbed.out)
    ]


def test_checkpoints_of_epochs_and_steps_say_how_they_came_about(config, rlds):
    config = dataclasses.replace(
        config, steps=None, epochs=2, accumulate=1, batch=8, keep_every=3, keep_epochs=2
    )
    final = train(config)
    (first, second) = (
        json.loads((config.out / f"epoch_00{e}" / "training.json").read_text()) for e in (1, 2)
    )
    assert second["step"] == 2 * first["step"] and second["epoch"] == 2
    assert first["settings"]["data_digest"] and first["settings"]["seed"] == 0
    recorded = first["versions"]
    assert recorded["torch"] == torch.__version__.partition("+")[0]
    for package in ("transformers", "lerobot", "timm", "peft", "accelerate", "numpy"):
        assert recorded[package] == importlib.metadata.version(package)
    assert first["model"]["variant"] == "pi0_small"
    assert (config.out / "step_000003" / "model.safetensors").exists()
    assert lines(config.out)[-1]["step"] == second["step"]
    assert any((config.out / "tensorboard").iterdir())
    last = weights(config.out / "epoch_002")
    assert all(torch.equal(tensor, last[name]) for name, tensor in weights(final).items())
    assert load_checkpoint(str(final), "cpu").policy.config.chunk_size == 3


def test_it_is_evaluated_after_epochs_and_stops_once_nothing_gets_better(config):
    """A few steps solve nothing: the second evaluation is no better than the first."""
    pack = embedded_pack()
    wanted = ValidationConfig(
        1, validation_tasks=(TASK,), validation_episodes=1, validation_assets=pack.path
    )
    config = dataclasses.replace(
        config, steps=None, epochs=4, accumulate=1, batch=8, chunk=10, validation=wanted
    )
    train(config)
    found = read_evaluations(config.out)
    assert [(e.epoch, e.successes, e.episodes) for e in found] == [(1, 0, 1), (2, 0, 1)]
    last = json.loads((config.out / "final" / "training.json").read_text())
    assert last["epoch"] == 2
    for epoch in ("epoch_001", "epoch_002"):
        results = load_results(config.out / "validation" / epoch)
        assert results.config["policy"]["sha256"] and results.config["seed"] == 1
        assert results.config["assets"]["digest"] == pack.digest
        assert [result.task for result in results.episodes] == [get_task(TASK).key]
    train(config)
    assert read_evaluations(config.out) == found
    assert not (config.out / "epoch_003").exists()


@pytest.mark.parametrize("model", ["pi0", "openvla"])
def test_training_shows_what_the_protocol_shows(config, model, monkeypatch):
    """The network takes from the data what it would be given of the same scene in evaluation."""
    config = dataclasses.replace(config, model=model, augment=False, batch=5, steps=1)
    kind: Any = {"pi0": Pi0Adapter, "openvla": OpenVlaAdapter}[model]
    taken: list[torch.Tensor] = []

    def noted(adapter, batch, generator, loss=kind.loss):
        taken.append(batch["pictures" if model == "openvla" else "observation.images.image"])
        return loss(adapter, batch, generator)

    monkeypatch.setattr(kind, "loss", noted)
    policy = load_policy(str(train(config)), get_protocol(PROTOCOLS[model]))
    data = open_records(config.data)
    places = [(e, step) for e, steps in enumerate(data.steps) for step in range(steps)]
    stored = [data.picture(*place, "image") for place in places]
    steps = [s for s in get_protocol(PROTOCOLS[model]).picture_steps if not isinstance(s, Jpeg)]
    shown = [prepare(Rotate180()(picture), steps) for picture in stored]
    if isinstance(policy, OpenVlaPolicy):
        resized = [policy._checkpoint.preprocessing.resize(picture) for picture in shown]
    else:
        resized = [picture.transpose(2, 0, 1) for picture in shown]
    wanted = {picture.tobytes() for picture in resized}
    pictures = torch.cat(taken).numpy()
    assert len(pictures) == 10 and {picture.tobytes() for picture in pictures} <= wanted


def test_accumulated_batches_equal_one_large_batch(config):
    """With OpenVLA, whose loss draws nothing at random."""
    config = dataclasses.replace(config, model="openvla", steps=1, augment=False)
    large = dataclasses.replace(config, accumulate=1, batch=4, out=config.out.with_name("large"))
    train(config)
    train(large)
    (parts,), (whole,) = lines(config.out), lines(large.out)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert (config.out / "final" / "config.json").exists()


def test_finetuning_goes_on_from_weights_and_takes_the_datas_statistics(config):
    final = train(config)
    tuned = dataclasses.replace(
        config, out=config.out.with_name("tuned"), init=str(final), steps=1, episodes=3
    )
    result = train(tuned)
    statistics = "policy_preprocessor_step_6_normalizer_processor.safetensors"
    before, after = (load_file(folder / statistics) for folder in (final, result))
    assert not torch.equal(before["action.mean"], after["action.mean"])
    first, second = weights(final), weights(result)
    name = "model.state_proj.weight"
    step = (first[name] - second[name]).abs().max()
    assert 0 < step < 2e-3  # one step of AdamW from there


@pytest.mark.parametrize("kind", ["expert_only", "lora"])
def test_parts_of_the_model_are_trained_and_resumed(config, kind):
    final = train(dataclasses.replace(config, steps=2))
    part = dataclasses.replace(
        config, out=config.out.with_name(kind), init=str(final), train=kind, lora_rank=4
    )
    train(dataclasses.replace(part, steps=4))
    state = state_of(part.out)
    assert state.step == 4
    names = {name for name in state.tensors if name.startswith("parameter.")}
    assert names and all(("lora_" in name) == (kind == "lora") for name in names)
    (part.out / "final" / "model.safetensors").unlink()
    assert train(dataclasses.replace(part, steps=4)) == part.out / "final"
    torch.manual_seed(8)  # as another process would begin
    again = dataclasses.replace(part, out=part.out.with_name("again"))
    train(again)
    assert all(torch.equal(t, state.tensors[n]) for n, t in state_of(again.out).tensors.items())


@pytest.mark.parametrize("model", ["pi0", "openvla"])
@pytest.mark.parametrize(
    ("precision", "what", "of_the_trained", "of_the_policy"),
    [
        ("mixed", "full", torch.float32, torch.float32),
        ("bfloat16", "full", torch.bfloat16, torch.bfloat16),
        ("bfloat16", "lora", torch.float32, torch.bfloat16),
    ],
)
def test_precision_is_that_of_what_is_trained_and_saved(
    config, model, precision, what, of_the_trained, of_the_policy
):
    config = dataclasses.replace(config, model=model, precision=precision, train=what, steps=2)
    policy = weights(train(config))
    trained = state_of(config.out).tensors
    weight = "model.layers.1.self_attn.q_proj"  # vision, LeRobot keeps in float32 throughout
    kept = [t.dtype for n, t in trained.items() if n.startswith("parameter.") and weight in n]
    assert kept and set(kept) == {of_the_trained}
    saved = [t.dtype for n, t in policy.items() if f"{weight}.weight" in n]
    assert saved and set(saved) == {of_the_policy}


def test_a_loss_that_is_not_finite_names_its_step(config):
    config = dataclasses.replace(config, learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(TrainingError, match=r"step [234] is not finite"):
        train(config)
    assert state_of(config.out).step >= 1


def test_going_on_with_other_settings_is_refused(config):
    train(config)
    with pytest.raises(TrainingError, match="seed was 0 and is 1"):
        train(dataclasses.replace(config, seed=1))
    train(dataclasses.replace(config, workers=1, log_every=2, keep_every=2, keep_epochs=9))


def test_what_another_training_left_is_refused_where_its_states_are_gone(config):
    train(config)
    shutil.rmtree(config.out / "resume")
    with pytest.raises(TrainingError, match=r"learning_rate was 0\.001 and is 0\.01"):
        train(dataclasses.replace(config, learning_rate=1e-2))
    with pytest.raises(TrainingError, match="a training whose state is gone: move the folder"):
        train(config)


def test_data_that_changed_is_noticed(config):
    train(config)
    with pytest.raises(TrainingError, match="data_digest was"):
        train(dataclasses.replace(config, episodes=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": ("nowhere",)}, "nowhere"),
        ({"init": "no/where/at/all"}, "there is no folder no/where"),
        ({"batch": 100_000}, "fill no batch"),
        ({"episodes": 1000}, "1000 episodes"),
        ({"tokenizer": "some/folder"}, "--tokenizer is of pi0 with --init"),
        ({"validation": ValidationConfig(1, ("libero_spatal",))}, "libero_spatal"),
    ],
    ids=["data", "init", "batch", "episodes", "tokenizer", "validation"],
)
def test_mistakes_are_one_clear_line(config, change, message):
    with pytest.raises(DlrError, match=message):
        train(dataclasses.replace(config, **change))


def test_a_second_training_of_a_folder_is_refused(config):
    with lock_folder(config.out), pytest.raises(BusyError, match="is being written by process"):
        train(config)
    assert os.listdir(config.out) == []


@pytest.mark.parametrize("model", ["pi0", "openvla"])
def test_a_training_goes_on_once_there_is_room(config, model, tmp_path):
    """First no state fits on the disk, then a state but no policy."""
    config = dataclasses.replace(config, model=model, steps=2)
    undisturbed = train(config)
    size = sum(path.stat().st_size for path in (config.out / "resume").rglob("*.safetensors"))
    with small_disk(tmp_path / "disk", 512) as disk:
        config = dataclasses.replace(config, out=disk.path / "out")
        for room in (100_000, size + 100_000):
            disk.fill(room)
            with pytest.raises(StorageError, match="No space left on device; make room"):
                train(config)
            assert not (config.out / "final").exists()
            disk.free()
        resumed, wanted = weights(train(config)), weights(undisturbed)
    assert all(torch.equal(resumed[name], wanted[name]) for name in wanted)


def test_it_does_not_go_on_from_another_base_at_the_same_place(config, tmp_path):
    base = tmp_path / "base"
    train(dataclasses.replace(config, out=tmp_path / "first", steps=1))
    shutil.copytree(tmp_path / "first" / "final", base)
    tuned = dataclasses.replace(config, init=str(base), train="lora", steps=2)
    train(tuned)
    shutil.rmtree(base)
    train(dataclasses.replace(config, out=tmp_path / "second", steps=1, seed=1))
    shutil.copytree(tmp_path / "second" / "final", base)
    with pytest.raises(TrainingError, match="init_sha256 was"):
        train(tuned)


def test_a_policy_that_is_to_be_kept_is_there_before_the_state_after_it(config, monkeypatch):
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    keeping = dataclasses.replace(config, keep_every=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("vla_adapters.training.loop.save_state", killed)
        train(keeping)
    assert (config.out / "step_000002" / "model.safetensors").is_file()
    train(keeping)
    assert {path.name for path in config.out.glob("step_*")} == {"step_000002", "step_000004"}


def test_what_a_training_says_of_itself_without_settings_is_one_clear_line(config):
    config.out.mkdir()
    (config.out / "training.json").write_text("{}")
    with pytest.raises(TrainingError, match="does not say what was trained: delete it"):
        train(config)
