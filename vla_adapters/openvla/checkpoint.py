"""Checkpoints in the published layout: found, loaded strictly, saved so that all can load them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from common.errors import one_line
from common.files import atomic_write, check_name, ensure_writable, follow_umask, write_json
from common.hub import why_no_folder
from common.manifest import check_manifest, digest_files
from common.tensors import check_header
from vla_adapters.adapter import AdapterError
from vla_adapters.openvla.config import OpenVlaConfig, read_json
from vla_adapters.openvla.model import OpenVla
from vla_adapters.openvla.processing import Preprocessing
from vla_adapters.openvla.tokenizer import FILES, LlamaTokenizer

SHARD_BYTES = 2_000_000_000
"""Most bytes of a file: what is in it is in memory a second time while it is written."""
STATISTICS = "dataset_statistics.json"
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_REMEDY = "fetch or copy it again"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_DOWNLOADED = ["*.safetensors", _CONFIG, _PREPROCESSOR, _INDEX, STATISTICS, *FILES]
"""Files of a hub repository that are fetched: none of them can hold code."""
_ADAPTERS = ["lora_adapter/*"]
"""What is merged into the weights already."""
OFT_PARTS = ("action_head--*.pt", "proprio_projector--*.pt")
"""Parts of an OpenVLA-OFT, beside whose `config.json` a plain OpenVLA's looks the same."""
_FOREIGN = {
    "noisy_action_projector--*.pt": "an action head of diffusion",
    "vision_backbone--*.pt": "FiLM",
}
"""Parts of OpenVLA-OFTs that cannot be loaded, and what they mean."""


@dataclass(frozen=True)
class Checkpoint:
    """A network and all that stands around it."""

    model: OpenVla
    """The network; its configuration has the action statistics."""
    preprocessing: Preprocessing
    """What is done to pictures."""
    tokenizer: LlamaTokenizer
    """What is done to text."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Name -> sha256 of those files that were compared with a list of digests."""

    @property
    def config(self) -> OpenVlaConfig:
        """Sizes and action statistics."""
        return self.model.config


def load_checkpoint(
    path: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    revision: str | None = None,
    oft: bool = False,
) -> Checkpoint:
    """Load a checkpoint from a folder or, where there is none of this name, from the hub.

    Args:
        path: folder with `config.json`, or hub id.
        device: where the network lives.
        dtype: type of its parameters.
        revision: commit, branch or tag of the hub repository.
        oft: whether it may be an OpenVLA-OFT, whose other parts the caller loads.

    Raises:
        AdapterError: it is missing, incomplete, or not an OpenVLA.
    """
    folder = find(path, revision, oft)
    digests = check_manifest(folder, AdapterError, _REMEDY)
    config = read_config(folder)
    preprocessing = Preprocessing.from_json(read_json(folder / _PREPROCESSOR), config)
    tokenizer = LlamaTokenizer.load(folder)
    tokenizer.check(config)
    model = OpenVla.empty(config, device, dtype)
    load_weights(model, folder)
    return Checkpoint(model.eval(), preprocessing, tokenizer, digests)


def find(path: str | Path, revision: str | None = None, oft: bool = False) -> Path:
    """Return the local folder of a checkpoint, fetched from the hub if need be.

    Args:
        path: folder with `config.json`, or hub id.
        revision: commit, branch or tag of the hub repository.
        oft: whether it may be an OpenVLA-OFT.

    Raises:
        AdapterError: it can be had neither here nor there, or has parts that would be ignored.
    """
    folder, unwanted = Path(path), [*_FOREIGN, *(() if oft else OFT_PARTS)]
    if folder.is_dir():
        return _check_parts(folder, path, unwanted)
    if reason := why_no_folder(str(path)):
        raise AdapterError(reason)
    for offline in (False, True):
        try:
            if not offline:
                listed = snapshot_download(
                    str(path), revision=revision, allow_patterns=unwanted, dry_run=True
                )
                _refuse((file.filename for file in listed), path)
            fetched = snapshot_download(
                str(path),
                revision=revision,
                allow_patterns=[*_DOWNLOADED, *(OFT_PARTS if oft else ())],
                ignore_patterns=_ADAPTERS,
                local_files_only=offline,
            )
            return _check_parts(Path(fetched), path, unwanted)
        except (HFValidationError, HfHubHTTPError, OSError) as error:
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    raise AdapterError(
        f"{path} is neither a folder, nor in the Hugging Face cache, nor can it be had from the "
        f"hub; where there is a network, run `hf download {path}`, and give that folder ({reason})"
    )


def _check_parts(folder: Path, path: str | Path, unwanted: Iterable[str]) -> Path:
    """Return the folder of a checkpoint that has no parts that would be ignored."""
    _refuse((file.name for pattern in unwanted for file in folder.glob(pattern)), path)
    return folder


def _refuse(parts: Iterable[str], path: str | Path) -> None:
    names = sorted(parts)
    means = [what for pattern, what in _FOREIGN.items() if any(fnmatch(n, pattern) for n in names)]
    if means:
        raise AdapterError(
            f"{path} is an OpenVLA-OFT with {' and '.join(means)} ({', '.join(names)}), which is "
            "not supported here; serve it with its own code, and evaluate the server (vla-eval://)"
        )
    if names:
        raise AdapterError(
            f"{path} is an OpenVLA-OFT ({', '.join(names)}), whose actions are not tokens: it is "
            f"evaluated as openvla_oft:{path}, and not trained further"
        )


def read_config(folder: Path) -> OpenVlaConfig:
    """Return a checkpoint's configuration, with `dataset_statistics.json` where there is one.

    Raises:
        AdapterError: there is no usable one.
    """
    config = OpenVlaConfig.from_json(read_json(folder / _CONFIG))
    if (folder / STATISTICS).is_file():
        config = dataclasses.replace(config, norm_stats=read_json(folder / STATISTICS))
    return config


def load_weights(model: OpenVla, folder: Path) -> None:
    """Fill all parameters of a network from safetensors, wherever it lives.

    Raises:
        AdapterError: a file or a parameter is missing, too many, or of another shape.
    """
    state = model.state_dict()
    shards = _shards(folder)
    _compare(state.keys(), (name for names in shards.values() for name in names), folder)
    for file, names in shards.items():
        try:
            check_header(file)
            with safe_open(file, framework="pt") as weights:
                for name in names:
                    tensor = weights.get_tensor(name)
                    if tensor.shape != state[name].shape:
                        raise AdapterError(
                            f"{file}: {name} has shape {tuple(tensor.shape)}, but config.json "
                            f"makes it {tuple(state[name].shape)}"
                        )
                    state[name].copy_(tensor)
        except (SafetensorError, OSError, ValueError) as error:
            raise AdapterError(f"{file} is damaged ({one_line(error)}): {_REMEDY}") from error


def save_checkpoint(
    checkpoint: Checkpoint,
    folder: Path,
    state: Mapping[str, torch.Tensor] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write all that the published code, and this one, loads again.

    `config.json` is written last, so that an interrupted first save is seen to be none.

    Args:
        checkpoint: the network and what stands around it.
        folder: where to; shards of an earlier save are replaced.
        state: parameters to save instead of the network's own, of the same names.
        shard_bytes: most bytes of a file of weights, unless a tensor is larger.

    Raises:
        AdapterError: `state` has other names than the network.
        OutputError: a file cannot be written.
    """
    state = checkpoint.model.state_dict() if state is None else state
    dtype = next(iter(state.values())).dtype
    shapes = OpenVla.empty(checkpoint.config, "meta", dtype).state_dict()
    _compare(shapes, state, folder)
    ensure_writable(folder)
    sizes = {name: tensor.nbytes for name, tensor in shapes.items()}
    kept = _save_weights(state, sizes, folder, shard_bytes)
    for file in folder.glob("model*.safetensors*"):
        if file.name not in kept:
            file.unlink()
    checkpoint.tokenizer.save(folder)
    write_json(folder / _PREPROCESSOR, checkpoint.preprocessing.as_json())
    write_json(folder / STATISTICS, checkpoint.config.norm_stats)
    torch_dtype = str(dtype).removeprefix("torch.")
    write_json(folder / _CONFIG, {**checkpoint.config.as_json(), "torch_dtype": torch_dtype})


def _save_weights(
    state: Mapping[str, torch.Tensor], sizes: Mapping[str, int], folder: Path, most: int
) -> set[str]:
    """Write shards, and their index if there are several; return the files' names.

    `state` may compute a tensor when it is asked for: each is asked for once, a shard at a time.
    """
    groups: list[list[str]] = [[]]
    size = 0
    for name, nbytes in sizes.items():
        if groups[-1] and size + nbytes > most:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += nbytes
    count = len(groups)
    index: dict[str, str] = {}
    for number, names in enumerate(groups, start=1):
        file = f"model-{number:05}-of-{count:05}.safetensors" if count > 1 else _WEIGHTS
        content = {name: state[name].detach().cpu().contiguous() for name in names}
        with atomic_write(folder / file) as temporary:
            save_file(content, temporary, {"format": "pt"})
            follow_umask(temporary)
        index |= dict.fromkeys(names, file)
    if count == 1:
        return {_WEIGHTS}
    total = {"total_size": sum(sizes.values())}
    write_json(folder / _INDEX, {"metadata": total, "weight_map": index})
    return {_INDEX, *index.values()}


def _shards(folder: Path) -> dict[Path, list[str]]:
    """Return file -> names of the parameters in it."""
    if not (folder / _INDEX).is_file():
        file = folder / _WEIGHTS
        if not file.is_file():
            raise AdapterError(f"{folder} has neither {_WEIGHTS} nor {_INDEX}: copy the weights")
        return {file: _names(file)}
    index = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(index, dict):
        raise AdapterError(f"{folder / _INDEX} has no weight_map")
    shards: dict[Path, list[str]] = {}
    for name, file in index.items():
        check_name(file, f"{folder / _INDEX}: a file of weights", AdapterError)
        shards.setdefault(folder / file, []).append(name)
    missing = [file.name for file in shards if not file.is_file()]
    if missing:
        raise AdapterError(f"{folder} lacks {', '.join(missing)}: fetch or copy them")
    return shards


def _names(file: Path) -> list[str]:
    try:
        check_header(file)
        with safe_open(file, framework="pt") as weights:
            return list(weights.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{file} is damaged ({one_line(error)}): {_REMEDY}") from error


def _compare(wanted: Iterable[str], given: Iterable[str], folder: Path) -> None:
    """Refuse parameters that are missing or too many."""
    expected, found = set(wanted), set(given)
    faults = [
        f"{len(names)} {what} ({_listed(names)})"
        for what, names in (("missing", expected - found), ("unexpected", found - expected))
        if names
    ]
    if faults:
        raise AdapterError(
            f"{folder}: parameters do not match config.json: {', '.join(faults)}; merge LoRA "
            "adapters into their base, and give configuration and weights of the same model"
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def digest(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the sha256 of all files that decide a checkpoint's actions; of some it is known."""
    files = (file for pattern in (*_DOWNLOADED, *OFT_PARTS) for file in folder.glob(pattern))
    return digest_files(files, folder, known)
