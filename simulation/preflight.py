"""Checks that this machine simulates and draws LIBERO as it should, before results depend on it."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from packaging.requirements import Requirement

from common.errors import DlrError
from common.versions import NOT_INSTALLED, package_versions
from simulation import golden
from simulation.assets.embedded import PACK_NAME
from simulation.assets.published import PUBLISHED_NAME, published_files, unpublished
from simulation.assets.resolve import INSTALL, AssetPack, resolve_assets, verify_pack
from simulation.golden import FRAME_TASK, PROBE_TASKS, Golden
from simulation.pictures.graphics import find_backend

Status = Literal["OK", "WARN", "FAIL"]

REQUIRED: dict[str, tuple[str, str]] = {
    "mujoco": (
        "3.3.2",
        "3.3.3 darkens LIBERO-Object's floors, and 3.4 and later break libero_spatial's ramekin "
        "task (98% to 12%)",
    ),
    "robosuite": ("1.4.0", "later ones have other controllers"),
    "hf-libero": ("0.1.4", "its tasks, init states and predicates define the benchmark"),
}
"""Package -> the only version that gives LIBERO's results, and why."""
REPORTED = ("numpy", "torch", "numba", "h5py", "transformers", "lerobot", "tensorflow-cpu")
"""Packages that are reported, and compared with what this project asks for."""
TASKS_DIGEST = "93ba5b21a5cb87be8e735eaa6a9a505ef932cdd8e0b3f48e18cdaeb3f5630de3"
"""`golden.tasks_digest` of hf-libero 0.1.4."""

POSITION_TOLERANCE = 5e-4
"""Metres and radians. Rounding moves objects by 1e-8 m, mujoco 3.4 a bowl by 2 to 34 mm."""
MASS_TOLERANCE = 1e-3
"""Relative."""
CELL_TOLERANCE = 40
"""Difference of a cell's colour, in 256ths, that counts."""
FRAME_TOLERANCE = 0.05
"""Share of cells that may differ: edges and shadows of another renderer. Mesa's two have none."""
CLEARLY_NEARER = 0.7
"""Factor on the distance to the reference below which a changed picture explains it better."""
_FIRST = "mend what failed above first"


@dataclass(frozen=True)
class Check:
    """Outcome of one check."""

    name: str
    """What was checked, such as `mujoco` or `frame`."""
    status: Status
    """`WARN` leaves results valid; `FAIL` spoils them."""
    detail: str
    """What was found."""
    remedy: str = ""
    """What to do about it, or empty."""


@dataclass(frozen=True)
class Report:
    """Outcome of a preflight."""

    checks: Sequence[Check]
    """In the order in which they were made."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package -> version."""
    assets: Mapping[str, str] = field(default_factory=dict)
    """Name and digest of the asset pack; empty where there is none."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.status != "FAIL" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"passed": self.passed, **asdict(self)}


def preflight(
    assets: str | Path | None = None, show: Callable[[Check], None] = lambda check: None
) -> Report:
    """Make every check; a fault is an outcome, never an exception.

    Args:
        assets: `libero`, `embedded` or a folder of assets; by default as `resolve_assets` finds.
        show: called with each outcome as it comes.
    """
    pack: AssetPack | None = None
    checks: list[Check] = []

    def add(found: Iterator[Check]) -> None:
        for check in found:
            checks.append(check)
            show(check)

    add(check_versions())
    add(_guarded("tasks", check_tasks))
    try:
        pack = resolve_assets(assets)
    except DlrError as error:
        add(iter([Check("assets", "FAIL", str(error))]))
    if pack is not None:
        reference = golden.load_golden(pack)
        add(_guarded("assets", functools.partial(check_assets, pack)))
        for key in PROBE_TASKS:
            settling = functools.partial(check_settling, key, pack, reference)
            add(_guarded(f"settle {key}", settling))
    add(_guarded("renderer", check_renderer))
    if pack is not None and checks[-1].status != "FAIL":
        add(_guarded("frame", functools.partial(check_frame, pack, reference)))
    named = {} if pack is None else {"name": pack.name, "digest": pack.digest}
    return Report(checks, versions(), named)


def _guarded(name: str, check: Callable[[], Check]) -> Iterator[Check]:
    """Yield a check's outcome; whatever stops it is the outcome that it reports."""
    try:
        yield check()
    except Exception as error:  # noqa: BLE001 (a wrong version or file breaks in any way)
        kind = "" if isinstance(error, DlrError) else f"{type(error).__name__}: "
        yield Check(
            name, "FAIL", f"{kind}{error}", _FIRST if name.startswith(("settle", "frame")) else ""
        )


def versions() -> dict[str, str]:
    """Return the versions in use; of MuJoCo that of the library that is loaded."""
    found = {"python": platform.python_version(), "mujoco": golden.simulator_version()}
    return found | package_versions((*list(REQUIRED)[1:], *REPORTED, "dlr-vla"))


def check_versions() -> Iterator[Check]:
    """Compare versions: those that decide results must be exact, others as this project asks."""
    found = versions()
    python = sys.version_info[:2] == (3, 12)
    remedy = "" if python else "make the environment anew with Python 3.12: `make setup`"
    yield Check("python", "OK" if python else "WARN", found["python"], remedy)
    for name, (wanted, reason) in REQUIRED.items():
        if found[name] == wanted:
            yield Check(name, "OK", found[name])
        else:
            detail = f"{found[name]}, but results need {wanted}: {reason}"
            yield Check(name, "FAIL", detail, f"pip install {name}=={wanted}")
    wishes = _wishes()
    for name in REPORTED:
        wish = wishes.get(name)
        if found[name] == NOT_INSTALLED or (wish and not wish.specifier.contains(found[name])):
            detail = f"{found[name]}, but this project is made for {wish or name}"
            yield Check(name, "WARN", detail, f'pip install "{wish or name}"')
        else:
            yield Check(name, "OK", found[name])


def _wishes() -> dict[str, Requirement]:
    """Return what this project's metadata asks for, by package."""
    wishes = map(Requirement, importlib.metadata.requires("dlr-vla") or ())
    return {wish.name: wish for wish in wishes if wish.marker is None}


def check_tasks() -> Check:
    """Check the definitions and init states of the 130 tasks against hf-libero 0.1.4's."""
    digest = golden.tasks_digest()
    if digest == TASKS_DIGEST:
        return Check("tasks", "OK", "130 definitions and their init states are hf-libero 0.1.4's")
    detail = f"task definitions or init states were changed (digest {digest[:12]})"
    remedy = "pip install --force-reinstall --no-deps hf-libero==0.1.4"
    return Check("tasks", "FAIL", detail, remedy)


def check_assets(pack: AssetPack) -> Check:
    """Check every file: the embedded pack against its code, others against LIBERO's repository."""
    verify_pack(pack)
    what = f"{pack.name} ({pack.digest[:12]}) in {pack.path}"
    total = len(published_files())
    if pack.name == PUBLISHED_NAME:
        return Check("assets", "OK", f"{what}: all {total} files are LIBERO's own")
    if pack.name == PACK_NAME:
        remedy = f"results do not compare with published ones; {INSTALL} fetches LIBERO's assets"
        return Check("assets", "OK", f"{what}: every file is as this version writes it", remedy)
    other = unpublished(pack.path)
    names = ", ".join(other[:3]) + (", ..." if len(other) > 3 else "")
    detail = f"{what}: {len(other)} of {total} files are not LIBERO's own ({names})"
    remedy = (
        "what they show or weigh is not the published benchmark's: say so with results, or "
        f"{INSTALL}"
    )
    return Check("assets", "WARN", detail, remedy)


def check_settling(key: str, pack: AssetPack, reference: Golden) -> Check:
    """Check masses, gravity and where objects are after settling against the recorded values."""
    name = f"settle {key}"
    faults = compare_settled(golden.settle(key, pack), reference.settled[key])
    if not faults:
        return Check(name, "OK", f"everything rests within {POSITION_TOLERANCE * 1e3} mm")
    detail = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
    remedy = (
        f"the physics are not those of mujoco {REQUIRED['mujoco'][0]} with the {reference.pack} "
        "assets: install the versions above, and fetch the assets again"
    )
    return Check(name, "FAIL", detail, remedy)


def compare_settled(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return, in words, how what `golden.settle` found differs from what was recorded."""
    faults = []
    if found["state_size"] != wanted["state_size"]:
        faults.append(f"a state has {found['state_size']} numbers, not {wanted['state_size']}")
    for name in ("timestep", "gravity"):
        if not np.allclose(found[name], wanted[name], rtol=0, atol=1e-9):
            faults.append(f"{name} is {found[name]}, not {wanted[name]}")
    for kind in ("masses", "positions", "joints"):
        if found[kind].keys() != wanted[kind].keys():
            faults.append(f"{kind} of {sorted(found[kind])}, not of {sorted(wanted[kind])}")
    for name, mass in wanted["masses"].items():
        if abs(found["masses"].get(name, mass) / mass - 1) > MASS_TOLERANCE:
            faults.append(f"{name} weighs {found['masses'][name]:.4g} kg, not {mass:.4g}")
    for kind, unit in (("positions", "mm"), ("joints", "mm or mrad")):
        for name, value in wanted[kind].items():
            offset = np.linalg.norm(np.subtract(found[kind].get(name, value), value))
            if not offset <= POSITION_TOLERANCE:
                faults.append(f"{name} is {offset * 1e3:.1f} {unit} from where it should be")
    return faults


def check_renderer() -> Check:
    """Find the OpenGL that draws without a display."""
    return Check("renderer", "OK", find_backend().reason)


def check_frame(pack: AssetPack, reference: Golden) -> Check:
    """Draw a known state and compare with the recorded picture."""
    picture = golden.draw_frame(pack)
    fault = frame_fault(picture, reference.frame)
    wrong = wrong_cells(picture, reference.frame)
    detail = f"{wrong:.0%} of a known picture's cells are off"
    if not fault:
        return Check("frame", "OK", detail)
    remedy = (
        f"try MUJOCO_GL=osmesa, update the graphics driver, and see that mujoco is "
        f"{REQUIRED['mujoco'][0]}; `dlr view {FRAME_TASK}` shows it"
    )
    return Check("frame", "FAIL", f"{fault}: {detail}", remedy)


def wrong_cells(picture: np.ndarray, reference: np.ndarray) -> float:
    """Return the share of cells (N, N, 3) whose colour is off by more than the tolerance."""
    difference = np.abs(picture.astype(int) - reference.astype(int)).max(axis=2)
    return float((difference > CELL_TOLERANCE).mean())


def frame_fault(picture: np.ndarray, reference: np.ndarray) -> str:
    """Return, in words, what is wrong with a picture, uint8 (N, N, 3); empty if nothing is.

    A flipped or recoloured picture is one that, changed back, is clearly nearer the reference.
    """
    if np.ptp(picture.reshape(-1, 3), axis=0).max() < 10:
        return "the picture is empty"
    changes = {
        "": picture,
        "the picture is upside down": picture[::-1],
        "the picture is mirrored": picture[:, ::-1],
        "the picture is rotated by 180 degrees": picture[::-1, ::-1],
        "red and blue are exchanged": picture[:, :, ::-1],
    }
    distance = {
        words: float(np.abs(changed.astype(float) - reference).mean())
        for words, changed in changes.items()
    }
    best = min(distance, key=lambda words: distance[words])
    if distance[best] < CLEARLY_NEARER * distance[""]:
        return best
    if wrong_cells(picture, reference) > FRAME_TOLERANCE:
        light = float(picture.mean() / reference.mean())
        return f"the picture shows something else, or in another light ({light:.0%} as bright)"
    return ""
