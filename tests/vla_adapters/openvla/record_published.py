"""Records what OpenVLA's published code computes, for the tests to hold ours against.

The published code needs an environment of its own, and a checkout of openvla/openvla, none of
which is copied:

    uv venv --python 3.11 ENVIRONMENT
    uv pip install --python ENVIRONMENT/bin/python torch==2.2.2 torchvision==0.17.2 \
        transformers==4.40.1 tokenizers==0.19.1 timm==0.9.16 "numpy<2" accelerate==0.30.1 pillow
    ENVIRONMENT/bin/python record_published.py CHECKOUT --out published.npz

With `--verify FOLDER` it loads a checkpoint that our code saved, and compares what the published
code makes of `example.npz` in that folder (pixel_values, input_ids, logits) with what ours did.
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

SEED = 7
VISION = ("vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224")
OVERRIDES: list[dict[str, Any]] = [
    {"embed_dim": 16, "depth": 3, "num_heads": 2},
    {"embed_dim": 16, "depth": 3, "num_heads": 2},
]
TEXT = {
    "vocab_size": 32064,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 32000,
}
USED = [*range(64), 29871, *range(31744, 32000)]
"""Tokens whose embeddings are not zero, so that the recording is small."""
STATISTICS = {
    "libero_spatial": {
        "action": {
            "mean": [0.1] * 7,
            "std": [0.3] * 7,
            "max": [0.9, 0.8, 0.7, 0.2, 0.3, 0.4, 1.0],
            "min": [-0.9, -0.8, -0.7, -0.2, -0.3, -0.4, 0.0],
            "q01": [-0.75, -0.66, -0.94, -0.11, -0.17, -0.15, 0.0],
            "q99": [0.94, 0.86, 0.92, 0.1, 0.18, 0.14, 1.0],
            "mask": [True] * 6 + [False],
        },
        "num_transitions": 100,
        "num_trajectories": 2,
    }
}


def main() -> None:
    """Record or verify."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="checkout of openvla/openvla")
    parser.add_argument("--out", type=Path, help="file to record to")
    parser.add_argument("--verify", type=Path, help="folder that our code saved")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    published = load_published(arguments.checkout)
    if arguments.out:
        record(published, arguments.checkout, arguments.out)
    if arguments.verify:
        verify(published, arguments.verify)


def load_published(checkout: Path) -> dict[str, types.ModuleType]:
    """Import the published files alone, without the package around them and its dependencies."""
    package = types.ModuleType("published")
    package.__path__ = [str(checkout / "prismatic" / "extern" / "hf")]
    sys.modules["published"] = package
    names = ("configuration", "modeling", "processing")
    modules = {n: importlib.import_module(f"published.{n}_prismatic") for n in names}
    file = checkout / "prismatic" / "vla" / "action_tokenizer.py"
    spec = importlib.util.spec_from_file_location("action_tokenizer", file)
    assert spec and spec.loader
    modules["actions"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(modules["actions"])
    return modules


def override_sizes(overrides: list[dict[str, Any]]) -> None:
    """Make timm build the models of `VISION` in other sizes."""
    import timm

    library: Any = timm
    create = library.create_model
    sizes = dict(zip(VISION, overrides, strict=True))

    def smaller(name: str, **arguments: Any) -> Any:
        return create(name, **{**arguments, **sizes[name]})

    library.create_model = smaller


def parameters_at_full_size(published: dict[str, types.ModuleType]) -> dict[str, list[int]]:
    """Return name -> shape of every tensor of `openvla/openvla-7b`."""
    init_empty_weights = importlib.import_module("accelerate").init_empty_weights

    text = {"vocab_size": 32064, "pad_token_id": 32000}
    config = published["configuration"].OpenVLAConfig(
        vision_backbone_id="dinosiglip-vit-so-224px",
        llm_backbone_id="llama2-7b-pure",
        arch_specifier="no-align+fused-gelu-mlp",
        text_config=text,
    )
    with init_empty_weights():
        model = published["modeling"].OpenVLAForActionPrediction(config)
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def small_model(published: dict[str, types.ModuleType]) -> Any:
    """Return a small network whose random weights float16 can hold."""
    config = published["configuration"].OpenVLAConfig(
        norm_stats=STATISTICS,
        vision_backbone_id="dinosiglip-vit-so-224px",
        llm_backbone_id="llama2-7b-pure",
        arch_specifier="no-align+fused-gelu-mlp",
        image_resize_strategy="resize-naive",
        text_config=TEXT,
        image_sizes=[28, 28],
        timm_overrides=OVERRIDES,
    )
    config.image_sizes = [28, 28]
    model = published["modeling"].OpenVLAForActionPrediction(config).eval()
    generator = torch.Generator().manual_seed(SEED)
    unused = torch.ones(TEXT["vocab_size"], dtype=torch.bool)
    unused[USED] = False
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            values = torch.randn(tensor.shape, generator=generator) * 0.3
            if "norm" in name and name.endswith("weight"):
                values += 1
            if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                values[unused] = 0
            tensor.copy_(values.half().float())
    return model


def processor(published: dict[str, types.ModuleType]) -> Any:
    """Return the image processor, its constants rounded to bfloat16 as in the checkpoints."""
    torch.set_default_dtype(torch.bfloat16)
    made = published["processing"].PrismaticImageProcessor(
        use_fused_vision_backbone=True,
        image_resize_strategy="resize-naive",
        input_sizes=[(3, 28, 28), (3, 28, 28)],
        interpolations=["bicubic", "bicubic"],
        means=[(0.485, 0.456, 0.406), (0.5, 0.5, 0.5)],
        stds=[(0.229, 0.224, 0.225), (0.5, 0.5, 0.5)],
    )
    torch.set_default_dtype(torch.float32)
    return made


def record(published: dict[str, types.ModuleType], checkout: Path, file: Path) -> None:
    """Write weights, inputs and outputs."""
    from PIL import Image

    parameters = parameters_at_full_size(published)
    override_sizes(OVERRIDES)
    model, images = small_model(published), processor(published)
    random = np.random.default_rng(SEED)
    pictures = random.integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    large = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pixels = images([Image.fromarray(p) for p in pictures], return_tensors="pt")["pixel_values"]
    result: dict[str, Any] = {
        "parameters": json.dumps(parameters),
        "config": model.config.to_json_string(use_diff=True),
        "preprocessor": images.to_json_string(),
        "pictures": pictures,
        "pixel_values": pixels.numpy(),
        "large_picture": large,
        "large_pixel_values": images(Image.fromarray(large))["pixel_values"],
    }
    for name, tensor in model.state_dict().items():
        result[f"weight/{name}"] = tensor.numpy().astype(np.float16)
    result |= forward(model, pixels) | act(model, pixels) | tokens(published)
    np.savez_compressed(file, **result)
    print(f"{file}: {file.stat().st_size:,} bytes, {len(parameters)} tensors at full size")


def forward(model: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """Return logits and loss of a batch of texts of different length, padded on the right."""
    generator = torch.Generator().manual_seed(SEED)
    used = torch.tensor(USED)
    lengths = [12, 17, 14]
    ids = torch.full((3, 17), 32000)
    labels = torch.full((3, 17), -100)
    for row, length in enumerate(lengths):
        choice = torch.randint(3, len(USED), (length,), generator=generator)
        ids[row, :length] = used[choice]
        ids[row, 0], ids[row, length - 1] = 1, 2
        labels[row, length - 8 : length] = ids[row, length - 8 : length]
    mask = ids != 32000
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask, pixel_values=pixels, labels=labels)
    kept = output.logits[:, :, used]  # the other tokens' logits are zero
    return {
        "used": used.numpy(),
        "input_ids": ids.numpy(),
        "attention_mask": mask.numpy(),
        "lengths": np.array(lengths),
        "labels": labels.numpy(),
        "logits": kept.numpy(),
        "loss": output.loss.numpy(),
    }


def act(model: Any, pixels: torch.Tensor) -> dict[str, Any]:
    """Return prompts without the empty token, and the actions that follow them."""
    generator = torch.Generator().manual_seed(SEED + 1)
    prompts, actions, generated = [], [], []
    for row, length in enumerate((9, 13, 10)):
        prompt = torch.randint(3, 64, (1, length), generator=generator)
        prompt[0, 0] = 1
        inputs = {"pixel_values": pixels[row : row + 1], "do_sample": False}
        actions.append(
            model.predict_action(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                unnorm_key="libero_spatial",
                **inputs,
            )
        )
        whole = torch.cat([prompt, torch.tensor([[29871]])], dim=1)
        answer = model.generate(whole, max_new_tokens=7, **inputs)
        generated.append(answer[0, -7:].numpy())
        prompts.append(prompt[0].tolist())
    return {
        "prompts": json.dumps(prompts),
        "generated": np.stack(generated),
        "actions": np.stack(actions),
    }


def tokens(published: dict[str, types.ModuleType]) -> dict[str, Any]:
    """Return actions and the tokens that stand for them, and back."""
    tokenizer = types.SimpleNamespace(vocab_size=32000, batch_decode=np.asarray)
    coder = published["actions"].ActionTokenizer(tokenizer)
    actions = np.random.default_rng(SEED).uniform(-1.2, 1.2, (200, 7)).astype(np.float32)
    actions[0] = [-1, 1, 0, -1.5, 1.5, 1 / 255, -1 / 255]
    ids = coder(actions)
    return {
        "action_values": actions,
        "action_ids": ids,
        "action_decoded": coder.decode_token_ids_to_actions(ids),
    }


def verify(published: dict[str, types.ModuleType], folder: Path) -> None:
    """Load a folder of ours in the published way; exit with an error if anything differs."""
    transformers: Any = importlib.import_module("transformers")
    automatic = transformers.AutoModelForVision2Seq

    configuration, modeling = published["configuration"], published["modeling"]
    transformers.AutoConfig.register("openvla", configuration.OpenVLAConfig)
    automatic.register(configuration.OpenVLAConfig, modeling.OpenVLAForActionPrediction)
    config = transformers.AutoConfig.from_pretrained(folder)
    if getattr(config, "timm_overrides", None):
        override_sizes(config.timm_overrides)
    model, report = automatic.from_pretrained(folder, output_loading_info=True)
    example = np.load(folder / "example.npz")
    with torch.no_grad():
        output = model.eval()(
            input_ids=torch.from_numpy(example["input_ids"]),
            attention_mask=torch.ones(example["input_ids"].shape, dtype=torch.long),
            pixel_values=torch.from_numpy(example["pixel_values"]),
        )
    difference = float(np.abs(output.logits.numpy() - example["logits"]).max())
    images = published["processing"].PrismaticImageProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("In: What action should the robot take to open it?\nOut:").input_ids
    print(f"loading: {report}\nlargest difference of logits: {difference:.2e}")
    print(f"pictures: {images.tvf_normalize_params}\nvocabulary: {tokenizer.vocab_size}")
    print(f"prompt: {ids}\nstatistics: {sorted(model.norm_stats)}")
    if any(report.values()) or difference > 1e-5 or ids != example["prompt"].tolist():
        sys.exit("the published code does not agree")


if __name__ == "__main__":
    main()
