"""Turns of several owners at one thing: whoever has used least of it goes next."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Hashable

_REMEMBERED = 1024
"""Owners without items of whom it is remembered what they have used."""


class Turns[T]:
    """Items of several owners, each owner's in order.

    An owner that comes back after a pause has no claim on what it did not use in the meantime.
    """

    def __init__(self) -> None:
        self._items: dict[Hashable, deque[T]] = {}
        self._used: dict[Hashable, float] = {}
        self._now = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, owner: Hashable, item: T, first: bool = False) -> None:
        """Add an owner's last item, or its `first`."""
        if owner not in self._items:
            self._items[owner] = deque()
            self._used[owner] = max(self._used.get(owner, 0.0), self._now)
        (self._items[owner].appendleft if first else self._items[owner].append)(item)
        self._count += 1

    def take(self) -> tuple[Hashable, T]:
        """Remove and return the next item and its owner.

        Raises:
            IndexError: there is none.
        """
        if not self._items:
            raise IndexError("no item waits")
        owner = min(self._items, key=self._used.__getitem__)
        self._now = max(self._now, self._used[owner])
        item = self._items[owner].popleft()
        self._count -= 1
        if not self._items[owner]:
            del self._items[owner]
        return owner, item

    def charge(self, owner: Hashable, cost: float) -> None:
        """Have an owner's items wait until the others with items have used as much.

        What is used while nobody waits is used at nobody's cost.
        """
        self._used[owner] = max(self._used.get(owner, 0.0), self._now) + cost
        if not self._items:
            self._now = self._used[owner]
        self._forget()

    def _forget(self) -> None:
        if len(self._used) > len(self._items) + _REMEMBERED:
            used = self._used.items()
            self._used = {o: u for o, u in used if o in self._items or u > self._now}


class FairLock:
    """A lock that is given to the owner who has used least of what it guards."""

    def __init__(self) -> None:
        self._turns: Turns[asyncio.Future[None]] = Turns()
        self._taken = False

    @contextlib.asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """Hold the lock within the block."""
        if self._taken:
            await self._wait(owner)
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    def charge(self, owner: Hashable, cost: float) -> None:
        """Take note of what an owner used the lock for."""
        self._turns.charge(owner, cost)

    async def _wait(self, owner: Hashable) -> None:
        mine = asyncio.get_running_loop().create_future()
        self._turns.put(owner, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._turns:
            _, waiting = self._turns.take()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._taken = False
