"""pi0.5, pi0-FAST and SmolVLA: LeRobot's own networks in small, saved as LeRobot saves them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config
from lerobot.policies.pi0.modeling_pi0 import GemmaConfig
from lerobot.processor import PolicyProcessorPipeline, TokenizerProcessorStep
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, SmolVLMConfig

from eval_harness.policies import load_policy
from eval_harness.policy import EpisodeKey, Observation, PolicyError
from eval_harness.protocols import PROTOCOLS
from vla_adapters.lerobot.companions import FastTokenizer, companions
from vla_adapters.lerobot.policy import LeRobotPolicy
from vla_adapters.lerobot.row_noise import RowNoise, noise_seed
from vla_adapters.tokenizers import libero_instructions, train_tokenizer

SIZE, CHUNK, VOCABULARY = 56, 4, 512
FEATURES = {
    "observation.images.image": "agentview",
    "observation.images.image2": "robot0_eye_in_hand",
}
KINDS = ("pi05", "pi0_fast", "smolvla")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Give LeRobot's PaliGemmas a few hundred thousand parameters; all else is LeRobot's own."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("pi05", "pi0_fast"):
            module = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
            patch.setattr(module, "get_gemma_config", lambda _: GemmaConfig(64, 2, 128, 8, 1, 16))
            for name in ("PaliGemmaForConditionalGenerationWithPiGemma", "PiGemmaForCausalLM"):
                if whole := getattr(module, name, None):
                    patch.setattr(module, name, functools.partial(shrunk, whole))
        yield


def shrunk(whole: Callable[..., Any], config: Any) -> Any:
    """Return a network with few tokens and a small vision tower."""
    return whole(config=shrink(config))


def shrink(config: Any) -> Any:
    """Return its configuration."""
    if not hasattr(config, "vision_config"):
        config.vocab_size = 8  # the expert's, which it does without
        return config
    vision = config.vision_config
    vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers = 32, 64, 2
    vision.num_attention_heads, vision.image_size, vision.projection_dim = 2, SIZE, 64
    config.projection_dim, config.text_config.vocab_size = 64, VOCABULARY
    config.image_token_index = config._vocab_size = VOCABULARY - 1
    return config


def write_fast(folder: Path) -> None:
    """Write a FAST tokenizer with the files and entries of the published one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = [chr(code) for code in range(64)]
    trainer = trainers.BpeTrainer(
        vocab_size=512, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    rng = np.random.default_rng(0)
    tokenizer.train_from_iterator(("".join(rng.choice(letters, 30)) for _ in range(200)), trainer)
    from tokenizers import decoders

    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    content = {
        "action_dim": None,
        "auto_map": {"AutoProcessor": "processing_action_tokenizer.UniversalActionProcessor"},
        "min_token": -32,
        "processor_class": "UniversalActionProcessor",
        "scale": 10,
        "time_horizon": None,
        "vocab_size": 512,
    }
    (folder / "processor_config.json").write_text(json.dumps(content))


def write_vlm(folder: Path) -> None:
    """Write configuration and tokenizer of a small SmolVLM, as its repository has them."""
    tokenizer = train_tokenizer(libero_instructions(), VOCABULARY)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token,
        extra_special_tokens={
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
        },
    )
    tokenizer.save_pretrained(folder)
    sizes = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 128}
    text = {
        **sizes,
        "model_type": "llama",
        "hidden_size": 64,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "vocab_size": VOCABULARY + 2,
    }
    vision = {**sizes, "hidden_size": 64, "image_size": SIZE, "patch_size": 14}
    make: Any = SmolVLMConfig
    config = make(
        text_config=text, vision_config=vision, scale_factor=2, image_token_id=VOCABULARY + 1
    )
    config.save_pretrained(folder)


SETTINGS: dict[str, dict[str, Any]] = {
    "pi05": {"image_resolution": (SIZE, SIZE), "num_inference_steps": 3},
    "pi0_fast": {
        "image_resolution": (SIZE, SIZE),
        "fast_skip_tokens": 0,
        "max_decoding_steps": 12,
        "validate_action_token_prefix": False,  # random weights write none
    },
    "smolvla": {
        "resize_imgs_with_padding": (SIZE, SIZE),
        "num_vlm_layers": 2,
        "num_steps": 3,
        "load_vlm_weights": False,
    },
}


def save(folder: Path, kind: str) -> Path:
    """Save a small random policy with its processors and statistics, as `lerobot-train` does."""
    inputs = {k: PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)) for k in FEATURES}
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (8,))
    config = make_policy_config(
        kind,
        input_features=inputs,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))},
        device="cpu",
        chunk_size=CHUNK,
        n_action_steps=CHUNK,
        **SETTINGS[kind],
    )
    if kind == "smolvla":
        write_vlm(folder / "vlm")
    else:
        tokenizer = train_tokenizer(libero_instructions(), VOCABULARY)
        assert len(tokenizer) == VOCABULARY  # so that whatever is written is a token
        tokenizer.save_pretrained(folder / "tokenizer")
    if kind == "pi0_fast":
        write_fast(folder / "action_tokenizer")
    generator = torch.Generator().manual_seed(1)
    stats = {
        key: {
            "mean": torch.rand(size, generator=generator),
            "std": 0.5 + torch.rand(size, generator=generator),
            "q01": -1 - torch.rand(size, generator=generator),
            "q99": 1 + torch.rand(size, generator=generator),
        }
        for key, size in (("observation.state", 8), ("action", 7))
    }
    torch.manual_seed(0)
    names = {n: getattr(config, n) for n in NAMES if hasattr(config, n)}
    with companions(config, folder):
        get_policy_class(kind)(config).save_pretrained(folder)
        make = getattr(
            importlib.import_module(f"lerobot.policies.{kind}.processor_{kind}"),
            f"make_{kind}_pre_post_processors",
        )
        with published_tokenizer(folder):
            for pipeline in make(config, stats):
                pipeline.save_pretrained(folder)
    publish_names(folder, names)
    return folder


NAMES = ("text_tokenizer_name", "action_tokenizer_name", "vlm_model_name")
PUBLISHED = "google/paligemma-3b-pt-224"


def published_tokenizer(folder: Path):
    """Give LeRobot's step the checkpoint's tokenizer in place of the published one."""
    patch = pytest.MonkeyPatch()
    original = TokenizerProcessorStep.__post_init__

    def own(step: TokenizerProcessorStep) -> None:
        name, kept = step.tokenizer_name, folder / "tokenizer"
        if name == PUBLISHED:
            step.tokenizer_name = str(kept)
        original(step)
        step.tokenizer_name = name

    patch.setattr(TokenizerProcessorStep, "__post_init__", own)
    return _undone(patch)


class _undone:
    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def publish_names(folder: Path, names: dict[str, str]) -> None:
    """Write the published names where this machine's folders stand, as in a hub's checkpoint."""
    for file in folder.glob("*.json"):
        text = file.read_text()
        for field, name in names.items():
            own = {"text_tokenizer_name": "tokenizer", "action_tokenizer_name": "action_tokenizer"}
            text = text.replace(str(folder / own.get(field, "vlm")), name)
        file.write_text(text)


@pytest.fixture(scope="module")
def folders(small_networks, tmp_path_factory) -> dict[str, Path]:
    return {kind: save(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module")
def policies(folders) -> dict[str, LeRobotPolicy]:
    return {k: LeRobotPolicy(str(f), device="cpu", batch=3) for k, f in folders.items()}


def observe(episode: int) -> Observation:
    rng = np.random.default_rng(episode)
    words = ("put the bowl on the plate", "turn on the stove")
    return Observation(
        EpisodeKey("libero_goal/task", episode, episode, 7),
        0,
        words[episode % 2],
        {c: rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for c in FEATURES.values()},
        {"proprio": rng.normal(size=8)},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_the_hub_are_in_the_checkpoint_and_no_machines_paths(kind, folders):
    texts = [file.read_text() for file in folders[kind].glob("*.json")]
    assert not any(str(folders[kind]) in text for text in texts)
    assert json.loads((folders[kind] / "config.json").read_text())["type"] == kind
    assert any("google/paligemma" in t or "HuggingFaceTB/SmolVLM2" in t for t in texts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_alone_is_loaded_and_acts(kind, folders):
    policy = load_policy(str(folders[kind]), PROTOCOLS["lerobot"])
    assert isinstance(policy, LeRobotPolicy)
    needs = policy.requirements
    assert needs.cameras == tuple(FEATURES.values()) and needs.state == ("proprio",)
    assert needs.chunk == CHUNK and not needs.stateful
    assert policy.identity()["type"] == kind


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_lerobots_own(kind, folders, policies):
    """Against LeRobot's classes asked with one observation, given what its environment gives."""
    own = policies[kind]
    o = observe(1)
    batch: dict[str, Any] = {
        feature: torch.from_numpy(o.images[camera]).permute(2, 0, 1)[None] / 255
        for feature, camera in FEATURES.items()
    }
    batch["observation.state"] = torch.from_numpy(o.state["proprio"])[None].float()
    batch["task"] = [o.instruction]
    before: PolicyProcessorPipeline = own._pre
    own._policy.reset()
    with torch.inference_mode(), RowNoise([noise_seed(o)]):
        actions = own._policy.predict_action_chunk(before(batch))
    wanted = np.stack([own._post(actions[:, k]).numpy() for k in range(CHUNK)], axis=1)
    np.testing.assert_allclose(own.act([o]), wanted, atol=2e-4)
    assert wanted.shape == (1, CHUNK, 7) and np.isfinite(wanted).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_matters_and_others_do_not(kind, policies):
    policy = policies[kind]
    observations = [observe(i) for i in range(4)]
    together = policy.act(observations)
    backwards = policy.act(observations[::-1])[::-1]
    np.testing.assert_allclose(backwards, together, atol=2e-4)
    o, other = observations[0], observations[2]
    changes: list[dict[str, Any]] = [
        {"images": {**o.images, c: other.images[c]}} for c in FEATURES.values()
    ]
    changes += [{"state": other.state}, {"instruction": observations[1].instruction}]
    for change in changes:
        changed = policy.act([dataclasses.replace(o, **change)])
        assert np.abs(changed - together[:1]).max() > 1e-6, list(change)


def test_fast_tokens_are_read_over_the_whole_chunk(folders, policies, tmp_path):
    """Whatever is executed of a chunk, its tokens stand for coefficients over all of it."""
    folder = Path(shutil.copytree(folders["pi0_fast"], tmp_path / "copy"))
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "n_action_steps": 2}))
    half = LeRobotPolicy(str(folder), device="cpu", batch=3)
    assert half.requirements.chunk == 2
    whole = policies["pi0_fast"].act([observe(0)])
    np.testing.assert_array_equal(half.act([observe(0)]), whole[:, :2])


def test_fast_tokens_are_the_cosine_transform(tmp_path):
    write_fast(tmp_path)
    fast = FastTokenizer.load(tmp_path)
    assert (fast.scale, fast.min_token) == (10, -32)
    text = "".join(chr(c + 32) for c in (5, -3, 0, 12))
    assert fast.bpe_tokenizer.decode(fast.bpe_tokenizer.encode(text)) == text


@pytest.mark.parametrize("change", [{"processor_class": "Evil"}, {"scale": 0}, {"min_token": "x"}])
def test_what_is_no_fast_tokenizer_is_refused(change, tmp_path):
    write_fast(tmp_path)
    file = tmp_path / "processor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(PolicyError, match="not of a FAST tokenizer"):
        FastTokenizer.load(tmp_path)


def test_code_beside_the_action_tokenizer_is_not_run(folders, tmp_path):
    folder = Path(shutil.copytree(folders["pi0_fast"], tmp_path / "copy"))
    trace = tmp_path / "trace"
    code = folder / "action_tokenizer" / "processing_action_tokenizer.py"
    code.write_text(f"open({str(trace)!r}, 'w')\n")
    LeRobotPolicy(str(folder), device="cpu")
    assert not trace.exists()


@pytest.mark.parametrize(("kind", "name"), [("pi0_fast", "action_tokenizer"), ("smolvla", "vlm")])
def test_without_network_the_error_says_what_to_copy(kind, name, folders, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(folders[kind], tmp_path / "copy"))
    shutil.rmtree(folder / name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(PolicyError) as caught:
        LeRobotPolicy(str(folder), device="cpu")
    assert "\n" not in str(caught.value)
