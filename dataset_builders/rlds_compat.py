"""Makes `import rlds` work where `reverb` has no build (it has none for Python 3.12).

`rlds` imports `reverb` for one module, `rlds.transformations.pattern`. Importing this module puts
an empty module of that name in its place, unless the real one is installed; everything else in
`rlds` then works, and the two functions that do need reverb say so.

    from dataset_builders.rlds_compat import numbers_of_step, rlds

    mean, std = rlds.transformations.mean_and_std(episodes, numbers_of_step)
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_STRUCTURED_WRITER = "reverb.structured_writer"
_ANNOTATED_TYPES = ("Config", "Condition", "Pattern", "ReferenceStep")


def _unavailable(name: str) -> Any:
    raise AttributeError(
        f"reverb.{name} is not available: dm-reverb has no build for this Python. Only "
        "rlds.transformations.pattern_map and pattern_map_from_transform need it; "
        "rlds.transformations.batch makes windows of steps without it."
    )


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name, "Stand-in for dm-reverb, which is not installed.")
    module.__spec__ = ModuleSpec(name, loader=None)
    module.__dict__["__getattr__"] = _unavailable
    return module


def install_reverb_stand_in() -> None:
    """Register a module `reverb` without functions, if the real one is not installed."""
    if "reverb" in sys.modules or find_spec("reverb") is not None:
        return
    writer = _stand_in(_STRUCTURED_WRITER)
    for name in _ANNOTATED_TYPES:
        setattr(writer, name, type(name, (), {"__module__": _STRUCTURED_WRITER}))
    reverb = _stand_in("reverb")
    reverb.__dict__["structured_writer"] = writer
    sys.modules.update({"reverb": reverb, _STRUCTURED_WRITER: writer})


install_reverb_stand_in()
rlds: ModuleType = importlib.import_module("rlds")


def numbers_of_step(step: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a step's numbers for `rlds.transformations.mean_and_std`: `action`, `state`, `reward`.

    The library's own `sar_fields_mask` takes pictures for numbers, and leaves out the action of
    the last step, which in LIBERO's datasets is valid: it is the one that reached the goal.
    """
    state = step[rlds.OBSERVATION]["state"]
    data = {"action": step[rlds.ACTION], "state": state, "reward": step[rlds.REWARD]}
    return data, dict.fromkeys(data, True)
