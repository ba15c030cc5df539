"""What a LeRobotDataset v3 of LIBERO's episodes is called and where it lies.

The names are those of LeRobot's own LIBERO datasets and environment, so that policies for these
take the data without renaming. Pictures are stored as they are in the RLDS dataset, byte for byte:
JPEGs in the Parquet files (`dtype` image), turned by 180 degrees against LIBERO's array, which is
what LeRobot's `LiberoProcessorStep` shows a policy too. There are no videos: nothing is encoded a
second time, and any frame is read without decoding others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.errors import DatasetError

VERSION = "v3.0"
FPS = 20
"""LIBERO's control frequency, Hz."""
FILES_OF_A_CHUNK = 1000
MEGABYTES_OF_A_FILE = 100
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
ORIGIN = "meta/dlr.json"
"""What the dataset was exported from; LeRobot has no such file."""
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
STATE, ACTION = "observation.state", "action"
PICTURES = {"image": "observation.images.image", "wrist_image": "observation.images.image2"}
"""Feature of the RLDS dataset -> LeRobot's name; others keep theirs."""
_STATE_NAMES = ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3", "finger1", "finger2")
_ACTION_NAMES = ("x", "y", "z", "axis_angle1", "axis_angle2", "axis_angle3", "gripper")
_COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def picture_name(camera: str) -> str:
    """Return LeRobot's name of a picture feature of the RLDS dataset."""
    return PICTURES.get(camera, f"observation.images.{camera}")


def features(cameras: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return info.json's features: name -> dtype, shape and names of the axes.

    Args:
        cameras: picture feature of the RLDS dataset -> height and width, pixels.

    Raises:
        DatasetError: two pictures would have one name.
    """
    if len({picture_name(camera) for camera in cameras}) < len(cameras):
        raise DatasetError(
            f"of the pictures {', '.join(cameras)} LeRobot would call two alike: build the dataset "
            "with other names"
        )
    pictures = {
        picture_name(camera): {
            "dtype": "image",
            "shape": [height, width, 3],
            "names": ["height", "width", "channel"],
        }
        for camera, (height, width) in cameras.items()
    }
    return {
        **pictures,
        STATE: _vector(_STATE_NAMES),
        ACTION: _vector(_ACTION_NAMES),
        **{name: {"dtype": kind, "shape": [1], "names": None} for name, kind in _COUNTERS.items()},
    }


def _vector(names: Sequence[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": {"motors": list(names)}}


def huggingface_schema(described: dict[str, Any]) -> dict[str, Any]:
    """Return what the `datasets` library wants to find in a Parquet file's schema."""
    kinds: dict[str, Any] = {}
    for name, feature in described.items():
        if feature["dtype"] == "image":
            kinds[name] = {"_type": "Image"}
            continue
        value = {"dtype": feature["dtype"], "_type": "Value"}
        (length,) = feature["shape"]
        listed = {"feature": value, "length": length, "_type": "List"}
        kinds[name] = value if length == 1 else listed
    return {"info": {"features": kinds}}
