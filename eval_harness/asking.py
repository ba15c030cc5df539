"""How a run asks its policy: from one thread, with patience, and each answer checked."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from eval_harness.policy import ACTION_DIM, EpisodeKey, Observation, Policy, PolicyError
from eval_harness.policy_thread import PolicyHungError, PolicyThread

logger = logging.getLogger(__name__)


class Asker:
    """Asks a policy, and tells it of the beginning and end of each episode.

    Args:
        policy: the policy.
        patience: seconds for one answer.
    """

    def __init__(self, policy: Policy, patience: float) -> None:
        self._policy, self._patience = policy, patience
        self._thread = PolicyThread()
        self._begun: dict[EpisodeKey, None] = {}
        self._hung = False

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
        """Return a chunk for each observation, float64 (n, chunk, 7); those of step 0 begin.

        Raises:
            PolicyHungError: there is no answer, and the policy cannot be asked again.
            PolicyError: the answer has another shape, or is no array of numbers.
            Exception: whatever the policy raises.
        """
        begun = [o.key for o in observations if o.step == 0]
        self._begun.update(dict.fromkeys(begun))

        def ask() -> object:
            if begun:
                self._policy.reset(begun)
            return self._policy.act(observations)

        return check_chunks(self._call(ask), len(observations), self._policy.requirements.chunk)

    def end(self, keys: Sequence[EpisodeKey] | None = None) -> None:
        """Tell the policy that these of its episodes, or all, have ended.

        A failure is logged, since no outcome depends on it; a policy that hangs is told nothing.

        Raises:
            PolicyHungError: the policy does not return, and cannot be asked again.
        """
        ended = [key for key in (self._begun if keys is None else keys) if key in self._begun]
        if not ended or self._hung:
            return
        for key in ended:
            del self._begun[key]
        try:
            self._call(lambda: self._policy.end(ended))
        except PolicyHungError:
            raise
        except Exception:
            logger.exception("the policy failed at the end of %d episode(s)", len(ended))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.close()

    def _call[T](self, call: Callable[[], T]) -> T:
        if not self._hung:
            future = self._thread.submit(call)
            self._hung = not concurrent.futures.wait([future], self._patience).done
        if self._hung:
            raise PolicyHungError(self._patience)
        return future.result()


def check_chunks(answer: object, count: int, chunk: int) -> npt.NDArray[np.float64]:
    """Return a policy's answer as float64 (count, chunk, 7).

    Raises:
        PolicyError: it has another shape, or is no array of numbers.
    """
    try:
        chunks = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PolicyError(f"the policy's answer is no array of numbers ({error})") from error
    if chunks.shape != (count, chunk, ACTION_DIM):
        raise PolicyError(
            f"the policy's actions have shape {chunks.shape}, but {(count, chunk, ACTION_DIM)} "
            "is what it declares"
        )
    return chunks
