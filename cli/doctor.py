"""`dlr doctor`: check that this machine simulates and draws LIBERO as it should."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.preflight import Check

EXIT_UNSOUND = 1
"""Status of a preflight in which something failed."""


def doctor(assets: Path | None = None, json: Path | None = None) -> None:
    """Check versions, tasks, assets, physics and pictures; say what to do about each fault.

    Ends with status 1 if anything was found that would spoil a result.

    Args:
        assets: Folder of assets; by default the one that every command finds.
        json: Write the outcome to this file, too.
    """
    from simulation.files import write_json
    from simulation.preflight import preflight

    report = preflight(assets, _print)
    if json is not None:
        write_json(json, report.as_dict())
    if not report.passed:
        print("results from here would not be LIBERO's: mend what FAILed", file=sys.stderr)
        sys.exit(EXIT_UNSOUND)


def _print(check: Check) -> None:
    print(f"{check.status:<4}  {check.name}: {check.detail}", flush=True)
    if check.remedy:
        print(f"      -> {check.remedy}", flush=True)
