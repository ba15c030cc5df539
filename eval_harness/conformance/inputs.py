"""Ways in which observations may differ from those that a policy was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from eval_harness.conformance.frames import Change, Frame
from eval_harness.policy import Observation, Requirements
from eval_harness.protocols import Protocol

ORIENTATION = "picture orientation"
COLOURS = "colour channels"
CAMERAS = "cameras"
STATE = "state layout"

_FULL_STATE = ("eef_position", "axis_angle", "gripper")
_PICTURES: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    "turned by 180 degrees": lambda p: p[::-1, ::-1],
    "flipped up-down": lambda p: p[::-1],
    "mirrored left-right": lambda p: p[:, ::-1],
}


@dataclass(frozen=True)
class Hypothesis:
    """The policy was trained on observations that are changed like this."""

    check: str
    """Which check it belongs to."""
    name: str
    """The fault, in words."""
    advice: str
    """What to do about it."""
    change: Change
    """From an observation of the harness to one that the policy would know."""


def hypotheses(needs: Requirements, protocol: Protocol) -> list[Hypothesis]:
    """Return all that apply to what a policy looks at, the simplest first."""
    found = []
    groups = [needs.cameras] if needs.cameras else []
    if len(needs.cameras) > 1:
        groups += [(camera,) for camera in needs.cameras]
    for cameras in groups:
        which = "all pictures" if cameras == needs.cameras else f"pictures of {cameras[0]}"
        for fault, function in _PICTURES.items():
            found.append(
                Hypothesis(
                    ORIENTATION,
                    f"{which} reach the policy {fault}",
                    "give the pictures turned as in training: another protocol, or the policy's "
                    "own preprocessing",
                    _on_pictures(function, cameras),
                )
            )
    if needs.cameras:
        found.append(
            Hypothesis(
                COLOURS,
                "red and blue are swapped (RGB for BGR)",
                "reverse the channels in the policy's preprocessing",
                _on_pictures(lambda p: p[..., ::-1], needs.cameras),
            )
        )
    if len(needs.cameras) == 2:
        found.append(
            Hypothesis(
                CAMERAS,
                f"{needs.cameras[0]} and {needs.cameras[1]} are swapped",
                "swap the camera names where the policy's inputs are put together",
                _swap_cameras(*needs.cameras),
            )
        )
    if "proprio" in needs.state and protocol.state_layout == _FULL_STATE:
        found += [
            Hypothesis(
                STATE,
                f"the policy expects {layout}, the protocol gives position, axis-angle, fingers",
                "convert the state in the policy's preprocessing, or train with the protocol's",
                _on_state(function),
            )
            for layout, function in _LAYOUTS.items()
        ]
    return found


def others_pictures(frames: Sequence[Frame], camera: str) -> Change:
    """Show another frame's picture through one camera."""
    return _from_another(
        frames, lambda o, other: replace(o, images={**o.images, camera: other.images[camera]})
    )


def others_state(frames: Sequence[Frame], name: str) -> Change:
    """Give another frame's set of numbers."""
    return _from_another(
        frames, lambda o, other: replace(o, state={**o.state, name: other.state[name]})
    )


def other_instruction(languages: Sequence[str]) -> Change:
    """Give the language of the next task."""
    following = dict(zip(languages, [*languages[1:], languages[0]], strict=True))
    return lambda o: replace(o, instruction=following[o.instruction])


def _from_another(
    frames: Sequence[Frame], swap: Callable[[Observation, Observation], Observation]
) -> Change:
    half = len(frames) // 2
    partner = {f.looks[0].key: frames[(i + half) % len(frames)] for i, f in enumerate(frames)}
    return lambda o: swap(o, partner[o.key].looks[o.step])


def _on_pictures(
    function: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]], cameras: Sequence[str]
) -> Change:
    def change(o: Observation) -> Observation:
        changed = {c: np.ascontiguousarray(function(o.images[c])) for c in cameras}
        return replace(o, images={**o.images, **changed})

    return change


def _swap_cameras(one: str, other: str) -> Change:
    return lambda o: replace(o, images={**o.images, one: o.images[other], other: o.images[one]})


_Layout = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def _on_state(function: _Layout) -> Change:
    return lambda o: replace(o, state={**o.state, "proprio": function(o.state["proprio"])})


def quaternion(axis_angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the (x, y, z, w) quaternion whose axis-angle is given, w negative beyond pi; (4,)."""
    angle = float(np.linalg.norm(axis_angle))
    axis = axis_angle / angle if angle else np.zeros(3)
    return np.append(axis * np.sin(angle / 2), np.cos(angle / 2))


def antipodal(axis_angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the axis-angle of the same rotation with its angle within pi, (3,)."""
    angle = float(np.linalg.norm(axis_angle))
    return axis_angle * (1 - 2 * np.pi / angle) if angle > np.pi else axis_angle


def _euler(axis_angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return Rotation.from_rotvec(axis_angle).as_euler("xyz")


def _layout(
    rotation: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], fingers: int = 2
) -> _Layout:
    return lambda s: np.concatenate((s[:3], rotation(s[3:6]), s[6 : 6 + fingers]))


_LAYOUTS: dict[str, _Layout] = {
    "position, quaternion (x, y, z, w), one finger": _layout(quaternion, 1),
    "position, quaternion (w, x, y, z), one finger": _layout(
        lambda a: quaternion(a)[[3, 0, 1, 2]], 1
    ),
    "position, quaternion (x, y, z, w), fingers": _layout(quaternion),
    "the axis-angle within pi (antipodal normalisation)": _layout(antipodal),
    "Euler angles": _layout(_euler),
    "the order fingers, position, axis-angle": lambda s: np.concatenate((s[6:], s[:6])),
    "the order axis-angle, position, fingers": lambda s: np.concatenate((s[3:6], s[:3], s[6:])),
}
