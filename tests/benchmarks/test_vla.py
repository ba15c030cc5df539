"""The benchmark of training and acting, with the small variants."""

import json

import pytest

from benchmarks.vla import main

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def measure(tmp_path):
    def measured(*words: str) -> dict:
        file = tmp_path / "figures.json"
        settings = "--device cpu --batch 2 --steps 2 --queries 1 --workers 1 --peak 0.5"
        main([*words, *settings.split(), "--json", str(file)])
        return json.loads(file.read_text())

    return measured


@pytest.mark.parametrize("model", ["pi0", "openvla"])
@pytest.mark.parametrize("train", ["full", "lora"])
def test_work_of_the_model_is_counted_once(measure, model, train):
    found = measure("--model", model, "--train", train)
    again = measure("--model", model, "--train", train, "--gradient-checkpointing")
    training, checkpointed = found["training"], again["training"]
    assert training["model_tflop_per_step"] == checkpointed["model_tflop_per_step"] > 0
    assert len(training["losses"]) == 5 and training["losses"] == checkpointed["losses"]
    rate = training["model_tflop_per_step"] / training["seconds_per_step"]
    assert training["share_of_chip"] == pytest.approx(rate / 0.5)
    assert found["inference"]["batch_8"]["chunks_per_second"] > 0
    part = found["model"]["trainable"] / found["model"]["parameters"]
    assert part > 0 and (part > 0.8) == (train == "full")  # layers that take no part are frozen
