"""Builds pi0: small with random weights, or from a LeRobot checkpoint with every weight matched."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import lerobot.policies  # noqa: F401  (registers the kinds of policies)
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class
from lerobot.policies.pi0.configuration_pi0 import PI0Config
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from safetensors import SafetensorError
from safetensors.torch import load_file

from common.hub import why_no_folder
from vla_adapters.adapter import AdapterError
from vla_adapters.lerobot.loading import NoRandomWeights, read_config
from vla_adapters.pi0 import configuration_pi0_small  # noqa: F401  (registers the small variant)
from vla_adapters.samples import ACTION_DIM, STATE_DIM

Precision = Literal["float32", "bfloat16"]
FEATURES = {"image": f"{OBS_IMAGES}.image", "wrist_image": f"{OBS_IMAGES}.image2"}
"""Camera of a sample -> feature, by the names of LeRobot's LIBERO datasets."""
_WEIGHTS = "model.safetensors"


def random_policy(config: PI0Config, seed: int = 0, device: str = "cpu") -> PI0Policy:
    """Return pi0 or its small variant with random weights, made where they are to be.

    Args:
        config: sizes; LIBERO's features are put into it.
        seed: on one kind of device the weights depend on it alone.
        device: such as `cpu` or `cuda`.
    """
    config.device = device
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        policy = get_policy_class(config.type)(set_features(config))
    config.device = "cpu"  # the processors', which run in the reader's workers
    return policy


def set_features(config: PI0Config) -> PI0Config:
    """Give a configuration LIBERO's pictures, state and actions as its features."""
    picture = PolicyFeature(FeatureType.VISUAL, (3, *config.image_resolution))
    config.input_features = dict.fromkeys(FEATURES.values(), picture)
    config.input_features[OBS_STATE] = PolicyFeature(FeatureType.STATE, (STATE_DIM,))
    config.output_features = {ACTION: PolicyFeature(FeatureType.ACTION, (ACTION_DIM,))}
    config.empty_cameras = 0
    return config


def load_policy(
    folder: Path, chunk: int, precision: Precision = "float32", expert_only: bool = False
) -> PI0Policy:
    """Load a LeRobot checkpoint of pi0 or its small variant, on the CPU.

    Args:
        folder: of the checkpoint, whose files the caller has compared (`check_files`).
        chunk: actions that it is to predict; no weight depends on it.
        precision: of the weights; LeRobot keeps pictures' and norms' in float32 in any case.
        expert_only: freeze PaliGemma.

    Raises:
        AdapterError: it is missing, of another kind, or a weight is missing, left over or of
            another shape.
    """
    config = _read_config(folder)
    config.device, config.dtype = "cpu", precision
    config.chunk_size = config.n_action_steps = chunk
    config.train_expert_only, config.compile_model = expert_only, False
    with NoRandomWeights():
        policy = get_policy_class(config.type)(set_features(config))
    _load_weights(policy, folder / _WEIGHTS)
    return policy


def find_checkpoint(path: str) -> Path:
    """Return a local folder with the files of a checkpoint.

    Raises:
        AdapterError: it is no folder, and the hub does not give it.
    """
    if Path(path).is_dir():
        return Path(path)
    if reason := why_no_folder(path):
        raise AdapterError(reason)
    try:
        return Path(snapshot_download(path, allow_patterns=["*.json", "*.safetensors"]))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise AdapterError(
            f"{path} is neither a folder nor a model that can be had from the Hugging Face hub "
            f"({type(error).__name__}): download it where there is a network, and give its folder"
        ) from error


def _read_config(folder: Path) -> PI0Config:
    config = read_config(folder, AdapterError)
    if not isinstance(config, PI0Config):
        raise AdapterError(f"{folder} is a checkpoint of {config.type}, not of pi0")
    return config


def _load_weights(policy: PI0Policy, file: Path) -> None:
    """Put a file's weights into a policy, under the names that LeRobot's own loading gives them."""
    if not file.exists():
        raise AdapterError(f"{file} is missing: the checkpoint is incomplete, fetch it again")
    try:
        stored = load_file(file)
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{file} is damaged ({error}): fetch or save it again") from error
    weights = {
        name if name.startswith("model.") else f"model.{name}": tensor
        for name, tensor in policy._fix_pytorch_state_dict_keys(stored, policy.config).items()
    }
    own = policy.state_dict()
    shared = {tensor.data_ptr() for name, tensor in own.items() if name in weights}
    missing = [n for n, t in own.items() if n not in weights and t.data_ptr() not in shared]
    unexpected = sorted(weights.keys() - own.keys())
    misshapen = [n for n, t in weights.items() if n in own and own[n].shape != t.shape]
    if problems := [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for kind, names in (
            ("missing", missing),
            ("unknown", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]:
        raise AdapterError(f"the weights in {file} do not fit {policy.name}: {'; '.join(problems)}")
    policy.load_state_dict(weights, strict=False)
