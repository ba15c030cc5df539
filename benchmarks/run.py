"""`python -m benchmarks.run`: run the benchmarks, print a table, write `results.json`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")


def run(
    assets: Path | None = None,
    quick: bool = False,
    only: tuple[str, ...] = (),
    output: Path = RESULTS,
) -> None:
    """Compare our speed with the peers', side by side in one process.

    Args:
        assets: folder of LIBERO assets; by default the first that is found, at last the
            embedded pack.
        quick: few repetitions, for a rough answer.
        only: names of benchmarks to run; by default all.
        output: JSON file to write, a list of {name, ours, peer, ratio, unit}.
    """
    import benchmarks.stepping  # noqa: F401  (registers its benchmarks)
    from benchmarks.measure import BENCHMARKS, Result, Setting, table, write_results
    from simulation.assets import resolve_assets
    from simulation.errors import OutputError

    unknown = set(only) - set(BENCHMARKS)
    if unknown:
        raise OutputError(f"no benchmark {sorted(unknown)}; there are {', '.join(BENCHMARKS)}")
    setting = Setting(resolve_assets(assets), quick)
    print(f"assets: {setting.assets.name} ({setting.assets.path})", flush=True)
    results: list[Result] = []
    for name in only or BENCHMARKS:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        results += BENCHMARKS[name](setting)
    print(table(results))
    write_results(results, output)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import tyro

    from simulation.errors import DlrError

    try:
        tyro.cli(run, prog="python -m benchmarks.run")
    except DlrError as error:
        sys.exit(f"benchmarks: {error}")
