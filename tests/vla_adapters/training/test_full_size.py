"""pi0 and OpenVLA in their full sizes: started, killed, gone on with, saved and asked, on a CPU."""

from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from eval_harness.policy import ACTION_DIM, EpisodeKey, Observation

_MEMORY, _DISK = 21 * 2**30, 36 * 2**30
"""Free bytes that a test needs; each model lives in a process of its own, which gives them back."""
_SAVE = """
from benchmarks.vla_models import make_model
make_model(sys.argv[1], "full", "cpu", "full").adapter.save(Path(sys.argv[2]))
"""
_TRAIN = "from cli.main import main; main()"
_ASK = """
import pickle
import torch
from vla_adapters.lerobot.policy import LeRobotPolicy
from vla_adapters.openvla.policy import OpenVlaPolicy
if sys.argv[1] == "pi0":
    policy = LeRobotPolicy(sys.argv[2], device="cpu", batch=1)
else:
    policy = OpenVlaPolicy(sys.argv[2], device="cpu", dtype=torch.bfloat16, batch=1)
observation = pickle.load(sys.stdin.buffer)
print(json.dumps([policy.requirements.chunk, policy.act([observation]).tolist()]))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def python(code: str, *words: object, **settings) -> subprocess.Popen:
    """Start code in a process of its own."""
    code = f"import json, sys\nfrom pathlib import Path\n{code}"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], **settings)


@pytest.fixture(params=["pi0", "openvla"])
def published(request, tmp_path):
    """Name, and folder with random weights in the full size."""
    free = shutil.disk_usage(tmp_path).free
    if psutil.virtual_memory().available < _MEMORY or free < _DISK:
        pytest.skip("full sizes need 21 GiB of memory and 36 GiB of disk")
    folder = tmp_path / "published"
    assert python(_SAVE, request.param, folder).wait() == 0
    yield request.param, folder
    shutil.rmtree(tmp_path)


def finetune(model: str, init: Path, data: Path, out: Path) -> subprocess.Popen:
    words = f"vla finetune --model {model} --init {init} --data {data} --out {out} --steps 2"
    words += " --batch 1 --precision bfloat16 --gradient-checkpointing --checkpoint-every 1"
    words += f" --train {'lora' if model == 'openvla' else 'expert_only'} --log-every 1"
    return python(_TRAIN, *words.split())


def ask(model: str, path: Path) -> tuple[int, np.ndarray]:
    """Return the policy's chunk, and its answer to an observation."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    observation = Observation(
        EpisodeKey("libero_goal/task", 0, 0, 7),
        0,
        "put the bowl on the plate",
        {"agentview": pictures[0], "robot0_eye_in_hand": pictures[1]},
        {"proprio": np.zeros(8)},
    )
    process = python(_ASK, model, path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    answer, _ = process.communicate(pickle.dumps(observation))
    assert process.returncode == 0
    chunk, actions = json.loads(answer.splitlines()[-1])
    return chunk, np.array(actions)


def test_trained_killed_gone_on_with_and_asked(published, rlds, tmp_path):
    model, init = published
    out = tmp_path / "out"
    process = finetune(model, init, rlds, out)
    while process.poll() is None and not any((out / "resume").glob("step_*")):
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "final").exists()
    assert finetune(model, init, rlds, out).wait() == 0
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]
    told = json.loads((out / "final" / "training.json").read_text())["model"]
    assert told["parameters"] > (3.5e9 if model == "pi0" else 7e9)
    chunk, actions = ask(model, out / "final")
    assert actions.shape == (1, chunk, ACTION_DIM) and np.isfinite(actions).all()
