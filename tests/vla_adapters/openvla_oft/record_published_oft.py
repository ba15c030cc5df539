"""Records what OpenVLA-OFT's published code computes, for the tests to hold ours against.

It needs checkouts of moojink/openvla-oft and moojink/transformers-openvla-oft, none of which is
copied, and an environment of its own:

    pip install --target LIBRARIES --no-deps tokenizers==0.19.1 timm==0.9.16 \
        "huggingface_hub<0.30" accelerate==0.30.1 diffusers==0.30.3
    PYTHONPATH=FORK/src:LIBRARIES python record_published_oft.py CHECKOUT --out published.npz

The network is the one that the plain OpenVLA's recording has (../openvla/published.npz), so only
the parts beside it and the answers are recorded.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

PLAIN = Path(__file__).parents[1] / "openvla"
_spec = importlib.util.spec_from_file_location("plain", PLAIN / "record_published.py")
assert _spec and _spec.loader
plain: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)

SEED = 11
CHUNK, ACTION, STATE = 8, 7, 8
KEY = "libero_spatial"
PROPRIO = {
    "q01": [-0.4, -0.3, 0.9, 2.6, -0.4, -0.3, 0.0, -0.04],
    "q99": [0.1, 0.3, 1.2, 3.6, 0.6, 0.2, 0.04, 0.0],
}
LENGTHS = (9, 13, 10)


def load_published(checkout: Path) -> dict[str, Any]:
    """Import the published files alone, without the packages around them."""
    for name in ("prismatic", "prismatic.vla", "prismatic.models", "prismatic.training"):
        package = types.ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    package = types.ModuleType("published")
    package.__path__ = [str(checkout / "prismatic" / "extern" / "hf")]
    sys.modules["published"] = package
    return {
        "configuration": importlib.import_module("published.configuration_prismatic"),
        "modeling": importlib.import_module("published.modeling_prismatic"),
        "heads": importlib.import_module("prismatic.models.action_heads"),
        "projectors": importlib.import_module("prismatic.models.projectors"),
    }


def small_model(published: dict[str, Any], recorded: Any) -> Any:
    """Return the network of the plain recording."""
    statistics = json.loads(str(recorded["config"]))["norm_stats"]
    config = published["configuration"].OpenVLAConfig(
        norm_stats=statistics,
        vision_backbone_id="dinosiglip-vit-so-224px",
        llm_backbone_id="llama2-7b-pure",
        arch_specifier="no-align+fused-gelu-mlp",
        image_resize_strategy="resize-naive",
        text_config=plain.TEXT,
        image_sizes=[28, 28],
        timm_overrides=plain.OVERRIDES,
    )
    config.image_sizes = [28, 28]
    model = published["modeling"].OpenVLAForActionPrediction(config).eval()
    weights = {
        name.removeprefix("weight/"): torch.from_numpy(value.astype(np.float32))
        for name, value in recorded.items()
        if name.startswith("weight/")
    }
    model.load_state_dict(weights)
    return model


def randomise(part: torch.nn.Module, generator: torch.Generator) -> torch.nn.Module:
    """Fill a part with weights that float16 can hold."""
    with torch.no_grad():
        for name, tensor in part.named_parameters():
            values = torch.randn(tensor.shape, generator=generator) * 0.3
            if "norm" in name and name.endswith("weight"):
                values += 1
            tensor.copy_(values.half().float())
    return part.eval()


def normalise(state: np.ndarray) -> np.ndarray:
    """Do what `normalize_proprio` of the evaluation script does; importing it needs TensorFlow."""
    low, high = np.array(PROPRIO["q01"]), np.array(PROPRIO["q99"])
    return np.clip(2 * (state - low) / (high - low + 1e-8) - 1, -1, 1)


def record(published: dict[str, Any], recorded: Any, file: Path) -> None:
    """Write weights, inputs and outputs."""
    plain.override_sizes(plain.OVERRIDES)
    model = small_model(published, recorded)
    generator = torch.Generator().manual_seed(SEED)
    width = plain.TEXT["hidden_size"]
    heads, projectors = published["heads"], published["projectors"]
    head = randomise(heads.L1RegressionActionHead(width, width, ACTION), generator)
    projector = randomise(projectors.ProprioProjector(width, STATE), generator)
    pixels = torch.from_numpy(recorded["pixel_values"])
    states = np.random.default_rng(SEED).uniform(-0.6, 3.8, (3, STATE))
    prompts: list[list[int]] = []
    answers: dict[str, list[Any]] = {"both": [], "without_state": [], "one_camera": []}
    for row, length in enumerate(LENGTHS):
        prompt = torch.randint(3, 64, (1, length), generator=generator)
        prompt[0, 0] = 1
        prompts.append(prompt[0].tolist())
        other = (row + 1) % len(pixels)
        for name, found in answers.items():
            cameras = [row] if name == "one_camera" else [row, other]
            model.vision_backbone.set_num_images_in_input(len(cameras))
            state = name != "without_state"
            with torch.inference_mode():
                actions, _ = model.predict_action(
                    input_ids=prompt,
                    attention_mask=torch.ones_like(prompt),
                    pixel_values=torch.cat([pixels[c] for c in cameras])[None],
                    unnorm_key=KEY,
                    proprio=normalise(states[row]) if state else None,
                    proprio_projector=projector if state else None,
                    action_head=head,
                )
            found.append(actions)
    result: dict[str, Any] = {
        "prompts": json.dumps(prompts),
        "proprio": json.dumps(PROPRIO),
        "states": states,
        **{name: np.stack(found) for name, found in answers.items()},
    }
    for name, part in (("head", head), ("projector", projector)):
        for key, tensor in part.state_dict().items():
            result[f"{name}/{key}"] = tensor.numpy().astype(np.float16)
    np.savez_compressed(file, **result)
    print(f"{file}: {file.stat().st_size:,} bytes")


def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="checkout of moojink/openvla-oft")
    parser.add_argument("--out", type=Path, required=True, help="file to record to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with np.load(PLAIN / "published.npz") as recorded:
        record(load_published(arguments.checkout), dict(recorded), arguments.out)


if __name__ == "__main__":
    main()
