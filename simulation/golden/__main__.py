"""Records the golden values of one asset pack: `python -m simulation.golden [ASSETS]`."""

from __future__ import annotations

import sys

import imageio.v3 as iio

from common.files import write_bytes, write_json
from simulation.assets.resolve import embedded_pack, resolve_assets
from simulation.golden import FOLDER, PROBE_TASKS, draw_frame, golden_name, settle


def main() -> None:
    """Record the embedded pack's values, or those of the assets that are given."""
    pack = resolve_assets(sys.argv[1]) if len(sys.argv) > 1 else embedded_pack()
    path = FOLDER / golden_name(pack)
    write_json(path.with_suffix(".json"), {key: settle(key, pack) for key in PROBE_TASKS})
    frame = draw_frame(pack)
    write_bytes(path.with_suffix(".png"), iio.imwrite("<bytes>", frame, extension=".png"))
    print(path.with_suffix(".json"), path.with_suffix(".png"), sep="\n")


if __name__ == "__main__":
    main()
