"""Ways in which observations may differ from those that a policy was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.spatial.transform import Rotation

from eval_harness.conformance.frames import Change, Frame
from eval_harness.policy import Observation, Requirements
from eval_harness.protocols import Protocol
from simulation.pictures.transforms import CentreCrop

ORIENTATION = "picture orientation"
COLOURS = "colour channels"
CAMERAS = "cameras"
STATE = "state layout"
CROP = "picture crop"
SCALE = "state scale"

_Numbers = npt.NDArray[np.float64]
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
    if needs.cameras:
        cropped = any(isinstance(step, CentreCrop) for step in protocol.picture_steps)
        found.append(_WHOLE if cropped else _CROPPED)
        found[-1] = replace(found[-1], change=_on_pictures(_CROPS[cropped], needs.cameras))
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


def scales(frames: Sequence[Frame], needs: Requirements) -> list[Hypothesis]:
    """Return the ways in which a state may have been scaled otherwise in training.

    Both scales are the demonstrations' own: what a policy makes of a state by one of them, it
    makes by the other of the state that is returned.
    """
    if "proprio" not in needs.state:
        return []
    states = np.concatenate([[look.state["proprio"] for look in f.looks] for f in frames])
    known = bounds(states)
    found = []
    for used, meant in (("min and max", "quantiles"), ("quantiles", "min and max")):
        found.append(
            Hypothesis(
                SCALE,
                f"the state is scaled by {used}, in training it was by {meant}",
                f"give the policy's preprocessing the {meant} of the data it was trained on",
                _on_state(exchange(known[meant], known[used])),
            )
        )
    return found


def bounds(values: npt.NDArray[np.float64]) -> dict[str, tuple[_Numbers, _Numbers]]:
    """Return what becomes -1 and 1 by each way of scaling; values are (steps, size)."""
    low, high = np.quantile(values, (0.01, 0.99), axis=0)
    return {"min and max": (values.min(axis=0), values.max(axis=0)), "quantiles": (low, high)}


def exchange(
    one: tuple[_Numbers, _Numbers], other: tuple[_Numbers, _Numbers]
) -> Callable[[_Numbers], _Numbers]:
    """Return what maps a value to that which stands by `other` where it stands by `one`."""
    (low, high), (least, most) = one, other
    span = np.where(high > low, high - low, 1)
    return lambda values: (values - low) / span * (most - least) + least


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


_CROPPED = Hypothesis(
    CROP,
    "all pictures reach the policy whole, in training they were cropped",
    "crop the centre, 0.9 of the area, as the protocols openvla and openvla_oft do",
    lambda o: o,
)
_WHOLE = Hypothesis(
    CROP,
    "all pictures reach the policy cropped, in training they were whole",
    "give whole pictures: another protocol than openvla and openvla_oft",
    lambda o: o,
)
_AREA = 0.9
"""Share of a picture that OpenVLA's evaluation keeps after training with random crops."""


def _crop(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return CentreCrop(_AREA, picture.shape[0])(picture)


def _widen(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Shrink a picture to where it would be in a wider one, whose edge is its own."""
    side = picture.shape[0]
    inner = round(side * _AREA**0.5)
    small = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((inner, inner)))
    before = (side - inner) // 2
    margin = (before, side - inner - before)
    return np.pad(small, (margin, margin, (0, 0)), mode="edge")


_CROPS = {False: _crop, True: _widen}
"""What shows a policy its training's pictures, by whether the protocol crops them."""

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


def grip_site(axis_angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the axis-angle of the gripper's site, a quarter turn about z from the hand's, (3,)."""
    return (Rotation.from_rotvec(axis_angle) * _SITE).as_rotvec()


_SITE = Rotation.from_euler("z", -90, degrees=True)
"""From the hand's body, which observations tell, to the site, which the controller turns."""


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
    "the controller's pose, of the gripper's site": _layout(grip_site),
    "both fingers' distances from the middle": lambda s: np.concatenate((s[:6], np.abs(s[6:]))),
    "the fingers' width": lambda s: np.append(s[:6], s[6] - s[7]),
    "the order fingers, position, axis-angle": lambda s: np.concatenate((s[6:], s[:6])),
    "the order axis-angle, position, fingers": lambda s: np.concatenate((s[3:6], s[:3], s[6:])),
}
