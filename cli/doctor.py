"""`dlr doctor`: check that this machine simulates and draws LIBERO as it should."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UsageError

if TYPE_CHECKING:
    from simulation.preflight import Check

EXIT_UNSOUND = 1
"""Status of a preflight in which something failed."""


def doctor(assets: Path | None = None, json: Path | None = None) -> None:
    """Check versions, tasks, assets, physics and pictures; say what to do about each fault.

    Ends with status 1 if anything was found that would spoil a result.

    Args:
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        json: Write the outcome to this file, too.
    """
    load_mujoco()
    from common.files import write_json
    from simulation.preflight import preflight

    report = preflight(assets, _print)
    if json is not None:
        write_json(json, report.as_dict())
    if not report.passed:
        print("results from here would not be LIBERO's: mend what FAILed", file=sys.stderr)
        sys.exit(EXIT_UNSOUND)


def load_mujoco() -> None:
    """Import MuJoCo, which binds the OpenGL that `$MUJOCO_GL` names as it loads.

    Raises:
        UsageError: it does not load.
    """
    try:
        import mujoco  # noqa: F401
    except (RuntimeError, AttributeError, ImportError, OSError) as error:
        asked = os.environ.get("MUJOCO_GL", "")
        raise UsageError(
            f"mujoco does not load with MUJOCO_GL={asked!r} ({error}): unset it, so that what "
            "works is found, or install that library (libegl1 or libosmesa6)"
        ) from error


def _print(check: Check) -> None:
    print(f"{check.status:<4}  {check.name}: {check.detail}", flush=True)
    if check.remedy:
        print(f"      -> {check.remedy}", flush=True)
