from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.envs.utils import preprocess_observation
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
from lerobot.processor.env_processor import LiberoProcessorStep
from safetensors.torch import load_file, save_file
from scipy.spatial.transform import Rotation
from transformers import AutoTokenizer

from common.manifest import write_manifest
from eval_harness.policy import EpisodeKey, Observation, PolicyError
from vla_adapters.lerobot.loading import NoRandomWeights, no_remote_code
from vla_adapters.lerobot.policy import LeRobotPolicy
from vla_adapters.lerobot.row_noise import GlobalNoise, RowNoise, noise_seed, seeded

SIZE = 48
CAMERAS = {"image": "agentview", "image2": "robot0_eye_in_hand"}

pytestmark = pytest.mark.usefixtures("one_thread")


def save(folder: Path, kind: str, cameras: tuple[str, ...], **settings) -> Path:
    """Save a small random policy with statistics, as `lerobot-train` does."""
    shapes = {f"observation.images.{name}": (3, SIZE, SIZE) for name in cameras}
    inputs = {k: PolicyFeature(FeatureType.VISUAL, s) for k, s in shapes.items()}
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (8,))
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (7,))}
    config = make_policy_config(
        kind,
        input_features=inputs,
        output_features=outputs,
        device="cpu",
        pretrained_backbone_weights=None,
        normalization_mapping=dict.fromkeys(
            ("VISUAL", "STATE", "ACTION"), NormalizationMode.MEAN_STD
        ),
        **settings,
    )
    torch.manual_seed(0)
    policy = get_policy_class(kind)(config)
    sizes = {**dict.fromkeys(shapes, (3, 1, 1)), "observation.state": (8,), "action": (7,)}
    stats = {
        key: {"mean": 0.2 + 0.1 * torch.rand(size), "std": 0.5 + torch.rand(size)}
        for key, size in sizes.items()
    }
    policy.save_pretrained(folder)
    for pipeline in make_pre_post_processors(config, dataset_stats=stats):
        pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def act_folder(tmp_path_factory) -> Path:
    return save(
        tmp_path_factory.mktemp("act"),
        "act",
        ("image", "image2"),
        chunk_size=6,
        n_action_steps=4,
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        n_vae_encoder_layers=1,
    )


@pytest.fixture(scope="module")
def vqbet_folder(tmp_path_factory) -> Path:
    """Looks back two steps, and samples its actions otherwise than by rows."""
    return save(
        tmp_path_factory.mktemp("vqbet"),
        "vqbet",
        ("image",),
        n_obs_steps=2,
        action_chunk_size=3,
        crop_shape=None,
        gpt_input_dim=32,
        gpt_output_dim=32,
        gpt_hidden_dim=32,
        gpt_n_layer=1,
        gpt_n_head=2,
        vqvae_embedding_dim=16,
        vqvae_enc_hidden_dim=16,
        bet_softmax_temperature=1.0,
    )


@pytest.fixture(scope="module")
def act(act_folder) -> LeRobotPolicy:
    return LeRobotPolicy(str(act_folder), device="cpu", batch=4)


def observe(episode: int, step: int = 0) -> Observation:
    rng = np.random.default_rng([episode, step])
    return Observation(
        EpisodeKey("libero_goal/task", episode, episode, 7),
        step,
        "put the bowl on the plate",
        {c: rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for c in CAMERAS.values()},
        {"proprio": rng.normal(size=8)},
    )


def test_actions_equal_lerobots_own_with_its_libero_environment(act, act_folder):
    kind = get_policy_class("act")
    reference = kind.from_pretrained(act_folder)
    before, after = make_pre_post_processors(reference.config, str(act_folder))
    rng = np.random.default_rng(0)
    rotations = Rotation.random(3, random_state=0)
    positions, fingers = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    raw = rng.integers(0, 256, (2, 3, SIZE, SIZE, 3), dtype=np.uint8)  # LIBERO's own arrays
    quaternions = rotations.as_quat()
    batch = preprocess_observation(
        {
            "pixels": dict(zip(CAMERAS, raw, strict=True)),
            "robot_state": {
                "eef": {"pos": positions, "quat": quaternions},
                "gripper": {"qpos": fingers},
            },
        }
    )
    batch["task"] = ["put the bowl on the plate"] * 3
    batch = before(LiberoProcessorStep().observation(batch))
    wanted = [after(reference.select_action(batch)).numpy() for _ in range(4)]

    angles = 2 * np.arccos(quaternions[:, 3:])
    axis_angle = quaternions[:, :3] / np.sin(angles / 2) * angles
    states = np.concatenate((positions, axis_angle, fingers), axis=1)
    observations = [
        Observation(
            EpisodeKey("libero_goal/task", i, i, 0),
            0,
            "put the bowl on the plate",
            {camera: raw[c, i, ::-1, ::-1] for c, camera in enumerate(CAMERAS.values())},
            {"proprio": states[i]},
        )
        for i in range(3)
    ]
    given = act.act(observations)
    assert given.shape == (3, 4, 7) and act.requirements.chunk == 4
    np.testing.assert_allclose(given, np.stack(wanted, axis=1), atol=2e-5)
    assert np.ptp(given, axis=0).min() > 1e-4  # the observation matters


def test_other_observations_in_the_batch_do_not_matter(act):
    observations = [observe(i) for i in range(7)]
    together = act.act(observations)
    order = [4, 0, 6, 2, 5, 1, 3]
    assert np.array_equal(act.act([observations[i] for i in order]), together[order])
    for i in (0, 5):
        assert np.array_equal(act.act([observations[i]])[0], together[i])


def test_a_shorter_chunk_is_its_beginning_and_a_longer_one_is_refused(act, act_folder):
    longer = LeRobotPolicy(str(act_folder), device="cpu", batch=4, chunk=6)
    assert np.array_equal(longer.act([observe(0)])[:, :4], act.act([observe(0)]))
    with pytest.raises(PolicyError, match="at most 6"):
        LeRobotPolicy(str(act_folder), device="cpu", chunk=7)


def test_looking_back_is_per_episode_and_as_in_select_action(vqbet_folder):
    policy = LeRobotPolicy(str(vqbet_folder), device="cpu", batch=3)
    assert policy.requirements.stateful and policy.requirements.chunk == 1
    assert policy.requirements.cameras == ("agentview",)
    mixed: dict[int, list[np.ndarray]] = {0: [], 1: []}
    policy.reset([observe(e).key for e in (0, 1)])
    for time in range(7):  # the second episode starts two steps later
        seen = [observe(0, time), *([observe(1, time - 2)] if time >= 2 else [])]
        for o, action in zip(seen, policy.act(seen), strict=True):
            mixed[o.key.episode].append(action[0])

    kind = get_policy_class("vqbet")
    reference = kind.from_pretrained(vqbet_folder)
    before, after = make_pre_post_processors(reference.config, str(vqbet_folder))
    for episode, actions in mixed.items():
        reference.reset()
        for step, action in enumerate(actions):
            o = observe(episode, step)
            picture = torch.from_numpy(o.images["agentview"]).permute(2, 0, 1)[None] / 255
            state = torch.from_numpy(o.state["proprio"])[None].float()
            batch = {"observation.images.image": picture, "observation.state": state}
            with seeded(noise_seed(o)):
                wanted = after(reference.select_action(before(batch))).numpy()[0]
            np.testing.assert_allclose(action, wanted, atol=2e-5)
    assert policy._one_by_one


def test_a_gap_in_what_is_shown_is_refused(vqbet_folder):
    policy = LeRobotPolicy(str(vqbet_folder), device="cpu", batch=2)
    policy.act([observe(0, 0)])
    with pytest.raises(PolicyError, match="every step"):
        policy.act([observe(0, 5)])
    policy.reset([observe(0).key])
    policy.act([observe(0, 0)])


def test_diffusion_policy_draws_its_noise_by_rows(tmp_path):
    pytest.importorskip("diffusers")
    folder = save(
        tmp_path,
        "diffusion",
        ("image", "image2"),
        n_obs_steps=2,
        horizon=8,
        n_action_steps=3,
        down_dims=(16, 32),
        diffusion_step_embed_dim=16,
        n_groups=4,
        num_inference_steps=3,
        crop_shape=None,
        spatial_softmax_num_keypoints=4,
    )
    policy = LeRobotPolicy(str(folder), device="cpu", batch=3)
    together = policy.act([observe(e) for e in range(3)])
    policy.reset([observe(e).key for e in range(3)])
    alone = np.concatenate([policy.act([observe(e)]) for e in (2, 0, 1)])
    assert np.array_equal(alone, together[[2, 0, 1]])
    assert not policy._one_by_one and np.ptp(together, axis=0).min() > 1e-4


def sample(rows: int) -> torch.Tensor:
    first = torch.randn(rows, 4) + torch.randn_like(torch.zeros(rows, 4))
    second = torch.normal(mean=0.0, std=1.0, size=(rows, 4)) + torch.rand((rows, 4))
    drawn = torch.multinomial(torch.ones(rows, 9), 4, replacement=True)
    return torch.cat((first, second, drawn), dim=1)


def test_noise_of_a_row_depends_on_its_seed_alone():
    unseen = GlobalNoise()
    with RowNoise([1, 2, 3]):
        three = sample(3)
    with RowNoise([3, 1]):
        two = sample(2)
    assert torch.equal(two, three[[2, 0]]) and not torch.equal(three[0], three[1])
    assert not unseen.used()
    with RowNoise([1, 2, 3]):
        torch.randn(5, 3)
    assert unseen.used()


def test_noise_differs_by_step_and_episode():
    seeds = {noise_seed(observe(e, s)) for e in range(5) for s in range(5)}
    assert len(seeds) == 25 and noise_seed(observe(1, 2)) == noise_seed(observe(1, 2))


@pytest.fixture
def copy(act_folder, tmp_path) -> Path:
    return Path(shutil.copytree(act_folder, tmp_path / "copy"))


def test_networks_are_made_without_random_weights_and_those_show():
    state = torch.random.get_rng_state()
    with NoRandomWeights():
        layer, norm = torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)
        normal, computed = torch.nn.init.normal_(torch.empty(4)), torch.arange(4) / 2
        number = torch.empty(()).uniform_()
    assert all(t[:1].isnan().all() for t in (layer.weight, layer.bias, normal)) and number.isnan()
    assert norm.weight.equal(torch.ones(4)) and computed.equal(torch.tensor([0, 0.5, 1, 1.5]))
    assert torch.random.get_rng_state().equal(state)
    assert not torch.nn.Linear(4, 4).weight.isnan().any()


def test_weights_missing_from_the_file_are_an_error(copy):
    weights = load_file(copy / "model.safetensors")
    weights.pop("model.action_head.weight")
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(PolicyError, match=r"model\.action_head\.weight"):
        LeRobotPolicy(str(copy), device="cpu")


def test_a_processor_that_would_run_code_is_refused(copy, tmp_path):
    trace = tmp_path / "trace"
    file = copy / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    step = {"class": "subprocess.Popen", "config": {"args": ["touch", str(trace)]}}
    content["steps"].append(step)
    file.write_text(json.dumps(content))
    with pytest.raises(PolicyError, match=r"subprocess\.Popen"):
        LeRobotPolicy(str(copy), device="cpu")
    assert not trace.exists()


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def state_file(content: dict[str, Any], name: str) -> None:
    next(step for step in content["steps"] if "state_file" in step)["state_file"] = name


@pytest.mark.parametrize(
    "name",
    ["../elsewhere.safetensors", "/elsewhere.safetensors", "absent.safetensors", "config.json"],
)
def test_a_state_that_is_not_the_checkpoints_is_refused(name, copy, tmp_path):
    shutil.copy(next(copy.glob("*normalizer*.safetensors")), tmp_path / "elsewhere.safetensors")
    edit(copy / "policy_preprocessor.json", lambda content: state_file(content, name))
    with pytest.raises(PolicyError, match="state_file"):
        LeRobotPolicy(str(copy), device="cpu")


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "unknown_field": ("config.json", lambda c: c.update(an_unknown_field=1)),
    "unknown_kind": ("config.json", lambda c: c.update(type="unheard_of")),
    "wrong_type": ("config.json", lambda c: c.update(chunk_size="many")),
    "no_steps": ("policy_preprocessor.json", lambda c: c.pop("steps")),
    "steps_are_numbers": ("policy_postprocessor.json", lambda c: c.update(steps=[1])),
    "unknown_step": (
        "policy_preprocessor.json",
        lambda c: c["steps"].append({"registry_name": "unheard_of"}),
    ),
}


@pytest.mark.parametrize(("name", "change"), BROKEN.values(), ids=BROKEN)
def test_configurations_that_lerobot_does_not_know_are_one_line(name, change, copy):
    edit(copy / name, change)
    with pytest.raises(PolicyError) as caught:
        LeRobotPolicy(str(copy), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "policy_preprocessor.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b'{"a": ' + b"1" * 400 + b"}"])
def test_files_of_nonsense_are_one_line(name, content, copy):
    (copy / name).write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        LeRobotPolicy(str(copy), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_match_its_digest_is_refused(copy):
    write_manifest(copy)
    LeRobotPolicy(str(copy), device="cpu")
    stats = next(copy.glob("*normalizer*.safetensors"))
    content = bytearray(stats.read_bytes())
    content[-1] ^= 1
    stats.write_bytes(content)
    with pytest.raises(PolicyError, match=f"{stats.name} is damaged"):
        LeRobotPolicy(str(copy), device="cpu")


def test_code_that_comes_with_a_model_is_refused(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: pass\n")
    settings = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(PolicyError, match="came with a"), no_remote_code():
        AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    assert not trace.exists()


def test_code_is_refused_where_a_step_asks_for_it_as_it_first_runs(copy, tmp_path):
    trace, model = tmp_path / "trace", copy / "model"
    model.mkdir()
    (model / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: pass\n")
    settings = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    file = copy / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"] += [
        {"registry_name": "groot_n1_7_pack_inputs_v1", "config": {}},
        {"registry_name": "groot_n1_7_vlm_encode_v1", "config": {"model_name": str(model)}},
    ]
    file.write_text(json.dumps(content))
    policy = LeRobotPolicy(str(copy), device="cpu", batch=1)
    with pytest.raises(PolicyError, match=r"wants to run Evil .* came with a"):
        policy.act([observe(0)])
    assert not trace.exists()


def test_incomplete_or_foreign_folders_are_named(copy, tmp_path):
    (copy / "policy_postprocessor.json").unlink()
    with pytest.raises(PolicyError, match=r"no policy_postprocessor\.json"):
        LeRobotPolicy(str(copy), device="cpu")
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(PolicyError, match=r"model\.safetensors"):
        LeRobotPolicy(str(copy), device="cpu")
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(PolicyError, match="merge it"):
        LeRobotPolicy(str(copy), device="cpu")
    with pytest.raises(PolicyError, match="there is no folder"):
        LeRobotPolicy(str(tmp_path / "nowhere"), device="cpu")


def rename_camera(folder: Path, renamed: dict[str, str]) -> None:
    """Rename the policy's features, and have its pipeline rename them back, where said so."""
    names = {"observation.images.image": "observation.images.lens"}
    for file in folder.glob("*.json"):
        file.write_text(
            file.read_text().replace(
                '"observation.images.image"', f'"{names["observation.images.image"]}"'
            )
        )
    file = folder / "policy_preprocessor.json"
    content = json.loads(file.read_text())
    content["steps"][0]["config"]["rename_map"] = renamed
    file.write_text(json.dumps(content))
    stats = folder / "policy_preprocessor_step_3_normalizer_processor.safetensors"
    tensors = load_file(stats)
    save_file({k.replace("images.image.", "images.lens."): v for k, v in tensors.items()}, stats)


def test_cameras_are_found_through_the_checkpoints_renaming(copy, act):
    rename_camera(copy, {"observation.images.image": "observation.images.lens"})
    renamed = LeRobotPolicy(str(copy), device="cpu", batch=4)
    assert np.array_equal(renamed.act([observe(3)]), act.act([observe(3)]))


def test_an_unknown_camera_must_be_named(copy, act):
    rename_camera(copy, {})
    with pytest.raises(PolicyError, match=r"observation\.images\.lens"):
        LeRobotPolicy(str(copy), device="cpu")
    named = LeRobotPolicy(
        str(copy), device="cpu", batch=4, cameras={"observation.images.lens": "agentview"}
    )
    assert np.array_equal(named.act([observe(3)]), act.act([observe(3)]))


def test_identity_tells_checkpoints_apart(act, copy):
    same = LeRobotPolicy(str(copy), device="cpu", batch=4)
    assert same.identity()["sha256"] == act.identity()["sha256"]
    stats = copy / "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    save_file({k: v + 1 for k, v in load_file(stats).items()}, stats)
    other = LeRobotPolicy(str(copy), device="cpu", batch=4)
    assert other.identity()["sha256"] != act.identity()["sha256"]
