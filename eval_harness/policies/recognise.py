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


def recognise(path: str) -> str | None:
    """Return `openvla` or `lerobot`; None if this is neither a folder nor shaped like a hub id.

    Args:
        path: folder or hub id.

    Raises:
        PolicyError: there is no such checkpoint, or of a kind that cannot be loaded here.
    """
    if "/" in path and ":" not in path and (reason := why_no_folder(path)):
        raise PolicyError(reason)
    if Path(path).is_dir():
        file = Path(path) / "config.json"
    elif _HUB_ID.fullmatch(path):
        file = _fetch(path)
    else:
        return None
    content = read_json(file, "a policy's configuration", PolicyError, "give another folder or id")
    if content.get("model_type") == "openvla":
        return "openvla"
    if "type" in content:
        return "lerobot"
    raise PolicyError(
        f"{path} is of model_type {content.get('model_type')!r}; OpenVLAs and LeRobot's policies "
        "are loaded here, others are served and reached by openpi:// or vla-eval://"
    )


def _fetch(path: str) -> Path:
    try:
        # `hf_hub_download` would try six times, for half a minute, where there is no network.
        return Path(snapshot_download(path, allow_patterns=["config.json"])) / "config.json"
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise PolicyError(
            f"{path} is neither a kind of policy, nor a folder, nor a model that can be had from "
            f"the Hugging Face hub: {str(error).splitlines()[0]}"
        ) from error
