"""The library `rlds` on a dataset of ours, on a Python that reverb is not built for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

_SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import tensorflow_side
builder = tensorflow_side.write(sys.argv[2], "libero_rl", (5, 3, 8), "dlr")
read = tensorflow_side.read(builder)
actions = read["action"][: read["lengths"][0]]
split = float(actions[2, 0]) - 1e-4  # the third step's, or an earlier one's
from dataset_builders.cloud.load import load
from dataset_builders.rlds_compat import rlds, numbers_of_step
import numpy as np

change = rlds.transformations
episodes = load(builder.data_path, readers=1)
first = next(iter(episodes))
steps = first[rlds.STEPS]
count = lambda dataset: sum(1 for _ in dataset)

lengths = [count(episode[rlds.STEPS]) for episode in episodes]
truncated = change.truncate_after_condition(steps, lambda step: step[rlds.ACTION][0] > split)
windows = list(change.batch(steps, size=3, shift=1, drop_remainder=True))
doubled = change.batched_helpers.batched_map(
    steps, lambda batch: {**batch, rlds.REWARD: 2 * batch[rlds.REWARD]}
)
mapped = change.map_nested_steps(episodes, lambda step: {"action": step[rlds.ACTION]})
both = change.concatenate(steps, steps)
shifted = list(change.shift_keys(steps, [rlds.REWARD], 1))
mean, std = change.mean_and_std(episodes, numbers_of_step)
sar_mean, _ = change.mean_and_std(
    change.map_nested_steps(
        episodes, lambda step: {**step, rlds.OBSERVATION: step[rlds.OBSERVATION]["state"]}
    ),
    change.sar_fields_mask,
)
np.savez(sys.argv[2] + "/read.npz", **read)
print(json.dumps({
    "split": split,
    "lengths": lengths,
    "truncated": count(truncated),
    "windows": [window[rlds.ACTION].numpy().tolist() for window in windows],
    "picture_windows": list(windows[0][rlds.OBSERVATION]["image"].shape),
    "reward": float(change.sum_dataset(doubled, lambda step: step[rlds.REWARD])),
    "mapped": count(mapped.flat_map(lambda episode: episode[rlds.STEPS])),
    "both": count(both),
    "shifted": [float(step[rlds.REWARD]) for step in shifted],
    "last": bool(change.final_step(steps)[rlds.IS_LAST]),
    "mean": {name: np.asarray(value).tolist() for name, value in mean.items()},
    "std": {name: np.asarray(value).tolist() for name, value in std.items()},
    "sar_mean": np.asarray(sar_mean[rlds.ACTION]).tolist(),
}))
"""


def test_the_library_s_transformations_work(tmp_path):
    side = Path(__file__).parents[1] / "vla_adapters"
    command = [sys.executable, "-c", _SCRIPT, str(side), str(tmp_path)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found, read = json.loads(told.stdout.splitlines()[-1]), np.load(tmp_path / "read.npz")
    lengths = read["lengths"].tolist()
    actions = read["action"][: lengths[0]]
    until = int(np.argmax(actions[:, 0] > found["split"])) + 1
    assert found["lengths"] == lengths
    assert found["truncated"] == until
    windows = np.stack([actions[start : start + 3] for start in range(lengths[0] - 2)])
    assert np.array_equal(np.array(found["windows"], np.float32), windows)
    assert found["picture_windows"] == [3, 24, 24, 3]
    assert (found["reward"], found["last"]) == (2.0, True)
    assert (found["mapped"], found["both"]) == (sum(lengths), 2 * lengths[0])
    assert found["shifted"] == [*[0.0] * (lengths[0] - 2), 1.0]
    for name in ("action", "state"):
        assert np.allclose(found["mean"][name], read[name].mean(axis=0), atol=1e-6)
        assert np.allclose(found["std"][name], read[name].std(axis=0, ddof=1), atol=1e-6)
    last = np.cumsum(lengths) - 1
    assert np.allclose(
        found["sar_mean"], np.delete(read["action"], last, 0).mean(axis=0), atol=1e-6
    )
