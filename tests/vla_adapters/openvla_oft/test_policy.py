"""A small OpenVLA-OFT in the harness: from its folder to chunks, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from eval_harness.policies import load_policy
from eval_harness.policies.recognise import recognise
from eval_harness.policy import EpisodeKey, Observation
from eval_harness.protocols import PROTOCOLS
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.checkpoint import load_checkpoint
from vla_adapters.openvla_oft.policy import OpenVlaOftPolicy, load
from vla_adapters.openvla_oft.state import StateStatistics

pytestmark = pytest.mark.usefixtures("one_thread")

HEAD = "action_head--150000_checkpoint.pt"
PROJECTOR = "proprio_projector--150000_checkpoint.pt"


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.fixture(scope="module")
def policy(saved) -> OpenVlaOftPolicy:
    return OpenVlaOftPolicy(str(saved), device="cpu")


def observe(episode: int, suite: str = "libero_goal", **changes) -> Observation:
    rng = np.random.default_rng(episode)
    words = ("pick up the bowl", "open the top drawer")[episode % 2]
    content = {
        "images": {
            camera: rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            for camera in ("agentview", "robot0_eye_in_hand")
        },
        "state": {"proprio": np.array([-0.1, 0.1, 1.0, 3.0, 0.1, 0.0, 0.02, -0.02]) + episode / 50},
    }
    key = EpisodeKey(f"{suite}/task", episode, episode, 0)
    return Observation(key, 0, words, **{**content, **changes})


def test_the_folder_alone_is_recognised_and_loaded(saved):
    assert recognise(str(saved)) == "openvla_oft"
    found = load_policy(str(saved), PROTOCOLS["openvla_oft"])
    assert isinstance(found, OpenVlaOftPolicy)
    needs = found.requirements
    assert needs.chunk == 8 and needs.state == ("proprio",)
    assert needs.cameras == ("agentview", "robot0_eye_in_hand")
    assert PROTOCOLS["openvla_oft"].chunk == 8


def test_others_in_the_batch_do_not_matter(policy, saved):
    observations = [observe(i) for i in range(7)]
    together = policy.act(observations)
    assert together.shape == (7, 8, 7) and set(np.unique(together[..., 6])) <= {-1.0, 1.0}
    order = [4, 0, 6, 2, 5, 1, 3]
    np.testing.assert_array_equal(policy.act([observations[i] for i in order]), together[order])
    wide = OpenVlaOftPolicy(str(saved), device="cpu", batch=4)
    np.testing.assert_allclose(wide.act(observations), together, atol=1e-5)


def test_every_input_matters(policy):
    given = observe(0)
    first = policy.act([given])
    other = observe(2)
    for camera in given.images:
        images = {**given.images, camera: other.images[camera]}
        assert np.abs(policy.act([observe(0, images=images)]) - first).max() > 1e-6
    assert np.abs(policy.act([observe(0, state=other.state)]) - first).max() > 1e-6


def test_statistics_are_the_suites(policy, saved):
    goal, spatial = policy.act([observe(0), observe(0, "libero_spatial")])
    np.testing.assert_allclose(spatial[:, :6], 0.5 * goal[:, :6], atol=1e-9)
    chosen = load(f"{saved}#libero_spatial_no_noops,chunk=5", None)
    assert chosen.act([observe(0)]).shape == (1, 5, 7)
    with pytest.raises(AdapterError, match=r"no action statistics for libero_90"):
        policy.act([observe(0, "libero_90")])


def test_without_a_projector_it_looks_at_pictures_alone(copy):
    (copy / PROJECTOR).unlink()
    found = load(f"{copy}#cameras=1", None)
    assert found.requirements.state == () and found.requirements.cameras == ("agentview",)
    assert found.act([observe(0, state={})]).shape == (1, 8, 7)


def test_identity_covers_the_parts(policy, copy):
    assert (
        policy.identity()["sha256"]
        == OpenVlaOftPolicy(str(copy), device="cpu").identity()["sha256"]
    )
    part = torch.load(copy / HEAD, weights_only=True)
    torch.save({name: tensor + 1 for name, tensor in part.items()}, copy / HEAD)
    changed = OpenVlaOftPolicy(str(copy), device="cpu").identity()
    assert changed["sha256"] != policy.identity()["sha256"] and changed["chunk"] == 8


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_a_part_that_would_run_code_is_refused(copy, tmp_path):
    trace = tmp_path / "trace"
    torch.save({"model.fc1.weight": Evil(trace)}, copy / HEAD)
    with pytest.raises(AdapterError, match=f"{HEAD} is damaged") as caught:
        OpenVlaOftPolicy(str(copy), device="cpu")
    assert not trace.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04" + b"0" * 100])
def test_a_damaged_part_is_one_line(copy, content):
    (copy / PROJECTOR).write_bytes(content)
    with pytest.raises(AdapterError, match=f"{PROJECTOR} is damaged") as caught:
        OpenVlaOftPolicy(str(copy), device="cpu")
    assert "\n" not in str(caught.value)


def test_parts_that_do_not_fit_are_named(copy):
    part = torch.load(copy / HEAD, weights_only=True)
    torch.save({**part, "model.fc2.weight": torch.zeros(14, 64)}, copy / HEAD)
    with pytest.raises(AdapterError, match=r"model\.fc2\.weight do not match"):
        OpenVlaOftPolicy(str(copy), device="cpu")
    torch.save([1], copy / HEAD)
    with pytest.raises(AdapterError, match="no table of tensors"):
        OpenVlaOftPolicy(str(copy), device="cpu")
    shutil.copy(copy / HEAD, copy / "action_head--5_checkpoint.pt")
    with pytest.raises(AdapterError, match=r"leave only the one"):
        OpenVlaOftPolicy(str(copy), device="cpu")
    for file in copy.glob("action_head*"):
        file.unlink()
    with pytest.raises(AdapterError, match="copy the action head"):
        OpenVlaOftPolicy(str(copy), device="cpu")


@pytest.mark.parametrize(
    ("part", "what"),
    [("noisy_action_projector--5_checkpoint.pt", "diffusion"), ("vision_backbone--5.pt", "FiLM")],
)
def test_other_kinds_of_oft_are_refused(copy, part, what):
    (copy / part).write_bytes(b"weights")
    with pytest.raises(AdapterError, match=f"{what}.*vla-eval"):
        OpenVlaOftPolicy(str(copy), device="cpu")


def test_it_is_not_taken_for_a_plain_openvla(saved):
    with pytest.raises(AdapterError, match="evaluated as openvla_oft:"):
        load_checkpoint(saved)
    with pytest.raises(AdapterError, match="unknown option 'chunk=x'"):
        load(f"{saved}#chunk=x", None)
    with pytest.raises(AdapterError, match="1 or 2 cameras"):
        load(f"{saved}#cameras=3", None)


def test_the_states_statistics_are_needed(copy):
    statistics = json.loads((copy / "dataset_statistics.json").read_text())
    only = {"libero_goal": statistics["libero_goal_no_noops"]}
    only["libero_goal"]["proprio"] = {"q01": [0.0] * 8, "q99": [0.0] * 8}
    (copy / "dataset_statistics.json").write_text(json.dumps(only))
    with pytest.raises(AdapterError, match="not quantiles of 8 numbers"):
        OpenVlaOftPolicy(str(copy), device="cpu")
    with pytest.raises(AdapterError, match="missing or malformed"):
        StateStatistics.from_json({"a": {"action": {}}}, "a")


def test_a_protocol_with_another_state_is_refused(policy):
    with pytest.raises(AdapterError, match="use the protocol openvla_oft"):
        policy.act([observe(0, state={"proprio": np.zeros(9)})])
