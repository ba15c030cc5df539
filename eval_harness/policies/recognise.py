"""What kind of policy a bare folder or hub id holds, by its config.json."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from common.hub import why_no_folder
from common.json_files import read_json
from eval_harness.policy import PolicyError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CONFIG = "config.json"
_OFT_HEAD = "action_head--*.pt"
"""Part by which an OpenVLA-OFT is told from an OpenVLA: their config.json are alike."""


def recognise(path: str) -> str | None:
    """Return the kind of a checkpoint; None if this is neither a folder nor shaped like a hub id.

    Args:
        path: folder or hub id.

    Returns:
        `openvla`, `openvla_oft` or `lerobot`.

    Raises:
        PolicyError: there is no such checkpoint, or of a kind that cannot be loaded here.
    """
    if "/" in path and ":" not in path and (reason := why_no_folder(path)):
        raise PolicyError(reason)
    if Path(path).is_dir():
        file = Path(path) / _CONFIG
        names = [found.name for found in Path(path).glob(_OFT_HEAD)]
    elif _HUB_ID.fullmatch(path):
        file, names = _fetch(path)
    else:
        return None
    content = read_json(file, "a policy's configuration", PolicyError, "give another folder or id")
    if content.get("model_type") == "openvla":
        return "openvla_oft" if names else "openvla"
    if "type" in content:
        return "lerobot"
    raise PolicyError(
        f"{path} is of model_type {content.get('model_type')!r}; OpenVLAs and LeRobot's policies "
        "are loaded here, others are served and reached by openpi:// or vla-eval://"
    )


def _fetch(path: str) -> tuple[Path, list[str]]:
    """Return a hub repository's config.json, and the names of its action heads."""
    try:
        # `hf_hub_download` would try six times, for half a minute, where there is no network.
        folder = Path(snapshot_download(path, allow_patterns=[_CONFIG]))
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise PolicyError(
            f"{path} is neither a kind of policy, nor a folder, nor a model that can be had from "
            f"the Hugging Face hub: {str(error).splitlines()[0]}"
        ) from error
    try:
        listed = snapshot_download(path, allow_patterns=[_OFT_HEAD], dry_run=True)
    except (HfHubHTTPError, OSError):  # no network: what was fetched before lies beside it
        return folder / _CONFIG, [found.name for found in folder.glob(_OFT_HEAD)]
    return folder / _CONFIG, [found.filename for found in listed]
