"""Loads a LeRobot checkpoint with its processors, running no code that comes with it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lerobot.policies  # noqa: F401  (registers the kinds of policies)
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from lerobot.configs import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.processor import PolicyProcessorPipeline, TokenizerProcessorStep
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import dynamic_module_utils

from common.errors import DlrError, one_line
from common.files import check_name
from common.hub import why_no_folder
from common.json_files import read_json
from common.manifest import check_manifest, digest_files
from common.tensors import check_header
from eval_harness.policy import PolicyError
from vla_adapters.lerobot.companions import (
    ACTION_TOKENIZER,
    TOKENIZER,
    VLM,
    companions,
    step_overrides,
)

_WEIGHTS = "model.safetensors"
_PROCESSORS = ("policy_preprocessor.json", "policy_postprocessor.json")
_DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""Files of a hub repository that are fetched: none of them can hold code."""
_OWN_KINDS = ("vla_adapters.pi0.configuration_pi0_small",)
"""Modules that register this project's kinds of LeRobot policies."""
REMEDY = "fetch, copy or save the checkpoint again"
"""What to do with a damaged one."""
_SAMPLE = 64
"""Leading values of a tensor by which it is recognised in a file."""


@dataclass(frozen=True)
class Checkpoint:
    """A policy and the two pipelines around it, on one device, in evaluation mode."""

    policy: PreTrainedPolicy
    """The network."""
    preprocessor: PolicyProcessorPipeline[dict[str, Any], dict[str, Any]]
    """From a batch of LeRobot observations to what the network takes."""
    postprocessor: PolicyProcessorPipeline[torch.Tensor, torch.Tensor]
    """From the network's actions to the environment's."""
    sha256: str
    """Digest of the weights, the configuration and the processors with their statistics."""


class NoRandomWeights(TorchDispatchMode):
    """Has networks made without random numbers in their weights, which a file's will replace.

    To draw pi0's takes minutes. Their first value becomes NaN, so that one without others shows.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Mark a tensor instead of drawing it."""
        if func in (torch.ops.aten.uniform_.default, torch.ops.aten.normal_.default):
            tensor = args[0]
            (tensor[:1] if tensor.dim() else tensor).fill_(torch.nan)
            return tensor
        return func(*args, **(kwargs or {}))


def load_checkpoint(path: str, device: str, revision: str | None = None) -> Checkpoint:
    """Load a checkpoint from a folder or, where there is none of this name, from the hub.

    Args:
        path: folder with `config.json`, `model.safetensors` and the processors, or hub id.
        device: where torch computes, such as `cpu` or `cuda`.
        revision: commit, branch or tag of the hub repository.

    Raises:
        PolicyError: it is missing, incomplete, or would have to run code of its own.
    """
    folder = _find(path, revision)
    known = check_files(folder, PolicyError)
    steps = _check_processors(folder)
    try:
        with no_remote_code(), NoRandomWeights():
            policy = _load_policy(folder, device)
            with companions(policy.config, folder):
                preprocessor, postprocessor = make_pre_post_processors(
                    policy.config,
                    str(folder),
                    preprocessor_overrides={
                        "device_processor": {"device": device},
                        **step_overrides(steps, folder),
                    },
                    postprocessor_overrides={"device_processor": {"device": "cpu"}},
                )
    except PolicyError:
        raise
    except Exception as error:  # (draccus, safetensors and transformers have each their own)
        raise PolicyError(f"LeRobot cannot load {path}: {one_line(error)}") from error
    _check_weights(policy, folder / _WEIGHTS)
    for step in preprocessor.steps:
        if isinstance(step, TokenizerProcessorStep):
            step.padding = "max_length"  # padded to the longest, others' instructions would matter
    return Checkpoint(policy, preprocessor, postprocessor, digest(folder, known))


def _find(path: str, revision: str | None) -> Path:
    """Return a local folder that holds the checkpoint."""
    folder = Path(path)
    if reason := why_no_folder(path):
        raise PolicyError(reason)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(path, revision=revision, allow_patterns=_DOWNLOADED))
        except (HFValidationError, HfHubHTTPError, OSError) as error:
            raise PolicyError(
                f"{path} is neither a folder nor a model that can be had from the Hugging Face "
                f"hub: {str(error).splitlines()[0]}"
            ) from error
    if (folder / "adapter_config.json").exists():
        raise PolicyError(f"{path} is an adapter: merge it into its base policy and save that")
    missing = [n for n in ("config.json", _WEIGHTS, *_PROCESSORS) if not (folder / n).exists()]
    if missing:
        raise PolicyError(
            f"{path} has no {', '.join(missing)}: give the `pretrained_model` folder that "
            "`lerobot-train` saved; checkpoints from before LeRobot 0.4 are converted by "
            "`python -m lerobot.processor.migrate_policy_normalization`"
        )
    return folder


def _check_processors(folder: Path) -> set[str]:
    """Return the steps' names; refuse those that could run code or read files from elsewhere.

    A step named by import path could run anything, and a state outside the folder is not covered
    by the checkpoint's digest.
    """
    known: set[str] = set()
    for name in _PROCESSORS:
        steps = read_steps(folder / name, PolicyError)
        if strange := [s.get("class") for s in steps if "registry_name" not in s]:
            raise PolicyError(
                f"{folder / name} names steps by import path ({', '.join(map(str, strange))}), "
                "which could run any code: only registered steps are loaded"
            )
        for file in [step["state_file"] for step in steps if step.get("state_file") is not None]:
            check_name(file, f"{folder / name}: a state_file", PolicyError)
            if not (folder / file).is_file() or Path(file).suffix != ".safetensors":
                raise PolicyError(
                    f"{folder / name} names the state_file {file}, which is no .safetensors file "
                    f"of the folder: {REMEDY}"
                )
        known |= {step["registry_name"] for step in steps}
    return known


def read_steps(file: Path, error: type[DlrError]) -> list[dict[str, Any]]:
    """Return the steps of a processor's file.

    Raises:
        DlrError: `error`: it is missing or damaged, or no processor.
    """
    steps = read_json(file, "a processor", error, REMEDY).get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise error(f"{file} is not a processor (it has no steps): {REMEDY}")
    return steps


@contextmanager
def no_remote_code() -> Iterator[None]:
    """Make transformers refuse classes that come with a checkpoint, whatever LeRobot asks for.

    Steps of a processor may ask for them as they are made, and as they first run.
    """
    token = _REFUSES.set(True)
    try:
        yield
    finally:
        _REFUSES.reset(token)


def _refusing(load: Callable[..., type]) -> Callable[..., type]:
    """Return what loads a class of a model's own code, unless that is refused here."""

    @functools.wraps(load)
    def refuse_or_load(class_name: str, module_path: Any, **options: Any) -> type:
        if not _REFUSES.get():
            return load(class_name, module_path, **options)
        raise PolicyError(
            f"this policy wants to run {class_name} from {module_path}, code that came with a "
            "model: serve it where that may run, and evaluate the server (openpi:// or vla-eval://)"
        )

    return refuse_or_load


_REFUSES: ContextVar[bool] = ContextVar("_REFUSES", default=False)
"""Whether classes that come with a checkpoint are refused, in this thread."""
dynamic_module_utils.get_class_in_module = _refusing(dynamic_module_utils.get_class_in_module)


def _load_policy(folder: Path, device: str) -> PreTrainedPolicy:
    for module in _OWN_KINDS:
        importlib.import_module(module)
    config = read_config(folder, PolicyError)
    config.device = device
    changes = {
        "compile_model": False,  # compiled kernels depend on the batch
        "pretrained_backbone_weights": None,  # the checkpoint's own weights follow
        "load_vlm_weights": False,
    }
    for name, value in changes.items():
        if hasattr(config, name):
            setattr(config, name, value)
    with companions(config, folder):
        policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    return policy.to(device).eval()


def read_config(folder: Path, error: type[DlrError]) -> PreTrainedConfig:
    """Return a checkpoint's configuration.

    Raises:
        DlrError: `error`: it is missing, of an unknown kind, or has fields or values that this
            LeRobot does not know.
    """
    read_json(folder / "config.json", "a LeRobot policy's configuration", error, REMEDY)
    try:
        return PreTrainedConfig.from_pretrained(folder)
    except Exception as fault:
        raise error(
            f"{folder / 'config.json'} is not of a policy that this LeRobot knows "
            f"({one_line(fault)}): {REMEDY}"
        ) from fault


def check_files(folder: Path, error: type[DlrError]) -> dict[str, str]:
    """Compare a checkpoint's files with its list of digests, where it has one; see its headers.

    Returns:
        Name -> sha256 of the files that were compared.

    Raises:
        DlrError: `error`: a file is missing or damaged.
    """
    known = check_manifest(folder, error, REMEDY)
    for file in sorted(folder.glob("*.safetensors")):
        try:
            check_header(file)
        except (OSError, ValueError) as fault:
            raise error(f"{file} is damaged ({one_line(fault)}): {REMEDY}") from fault
    return known


def _check_weights(policy: PreTrainedPolicy, file: Path) -> None:
    """Refuse a policy with weights that are not in its file, which LeRobot leaves random.

    Tensors are told by shape and leading values, because policies rename them as they load.
    """
    present = set()
    with safe_open(file, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118
            present.add(_fingerprint(weights.get_tensor(name)))
    state = policy.state_dict()
    absent = [name for name, tensor in state.items() if _fingerprint(tensor) not in present]
    if absent:
        raise PolicyError(
            f"{len(absent)} of {len(state)} tensors of the policy are not in {file.name}, "
            f"{', '.join(absent[:3])} among them: the checkpoint is not of this LeRobot version"
        )


def _fingerprint(tensor: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    leading = tensor.detach().reshape(-1)[:_SAMPLE].cpu().to(torch.bfloat16).to(torch.float32)
    return tuple(tensor.shape), leading.numpy().tobytes()


def digest(folder: Path, known: Mapping[str, str]) -> str:
    """Return the sha256 of all files that decide the policy's actions; of some it is known."""
    texts = (f"{name}/*.json" for name in (TOKENIZER, ACTION_TOKENIZER, VLM))
    wanted = ("*.safetensors", "config.json", "policy_*.json", *texts)
    return digest_files((f for pattern in wanted for f in folder.glob(pattern)), folder, known)
