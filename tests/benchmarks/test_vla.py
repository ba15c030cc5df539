"""The benchmark of training and acting, with the small variants."""

import json

import pytest

from benchmarks import vla
from benchmarks.vla import main
from common.errors import OutputError, SettingError

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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--batch 0", "--batch must be at least 1, not 0"),
        ("--steps 0", "--steps must be at least 1, not 0"),
        ("--queries -1", "--queries must be at least 1, not -1"),
        ("--query-batch 0", "--query-batch must be at least 1, not 0"),
        ("--workers -1", "--workers must be at least 0, not -1"),
        ("--peak nan", "--peak must be a positive number of TFLOP/s, not nan"),
    ],
)
def test_numbers_are_looked_at_before_anything_is_built(words, said, monkeypatch):
    monkeypatch.delattr(vla, "make_model")
    with pytest.raises(SettingError, match=said):
        main(words.split())


def test_the_file_is_looked_at_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.delattr(vla, "make_model")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        main(["--json", str(tmp_path / "file" / "figures.json")])
    with pytest.raises(OutputError, match="is a folder"):
        main(["--json", str(tmp_path)])
