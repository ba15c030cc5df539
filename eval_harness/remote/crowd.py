"""All connections of a policy's server: who may come in, who has a place, what all of them hold.

Nobody who holds more than others can keep them out: a place goes from the address with the most
connections to one with fewer, and memory from whoever holds most. What a client does is not
judged otherwise, and while nothing is short nobody is let go but the silent.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from eval_harness.remote.wire import MIB

logger = logging.getLogger(__name__)

_DOORWAY = 64
"""Connections beyond the places that are being opened, or told that no place is free."""
_GRACE_S = 5.0
"""Seconds for which a client that has asked nothing keeps its place when others need it."""
_IPV6_SITE = 64
"""Leading bits of an IPv6 address that one client's addresses share."""


@dataclass(frozen=True)
class Bounds:
    """What a server's clients may take, one by one and together."""

    connections: int = 256
    """Clients at a time, at most."""
    connections_per_address: int = 128
    """Clients at a time of one address, or of one IPv6 network of 64 bits, at most."""
    memory: int = 48 * MIB
    """Bytes that all clients together may hold: messages under way, observations that wait,
    replies not taken. Enough for 256 clients with two pictures of 224 pixels each."""
    handshake_s: float = 10.0
    """Seconds for a connection's opening."""
    silent_s: float = 120.0
    """Seconds until a client's first observation or episode."""
    idle_s: float = 1800.0
    """Seconds after which a client that has asked before, and is silent, is let go."""
    message_s: float = 60.0
    """Seconds for a message, from its first byte to its last."""
    reply_s: float = 60.0
    """Seconds for which a client may leave what it was sent unread."""
    ping_s: float = 20.0
    """Seconds between two pings."""
    pong_s: float = 120.0
    """Seconds after which a client is given up that answers no ping and sends nothing."""


class Member(Protocol):
    """A connection, as far as the crowd looks at it."""

    owner: str
    """Whose it is: `owner_of` its address."""
    since: float
    """When it came; monotonic time, s."""
    asked: bool
    """Whether it has asked for anything that makes sense."""
    busy: bool
    """Whether an answer to it is being made."""
    last: float
    """When it last sent a whole message."""
    leaving: bool
    """Whether it is cut off, or about to be."""

    def held(self) -> int:
        """Return the bytes that are kept for it."""

    def overdue(self, now: float) -> str | None:
        """Return why it is to be let go, None while it is not."""

    def let_go(self, reason: str, now: bool = False) -> None:
        """Tell it why, and cut it off: soon, or `now`, so that nothing is kept for it."""


class Crowd[M: Member]:
    """The connections of a server.

    Args:
        bounds: What they may take.

    Attributes:
        seated: those that have a place.
        was_full: whether memory was ever short.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.seated: dict[M, None] = {}
        self._present: dict[M, int] = {}
        self._present_of: Counter[str] = Counter()
        self._seated_of: Counter[str] = Counter()
        self._held = self._peak = 0
        self.was_full = False

    def take_peak(self) -> int:
        """Return the most bytes that were kept for all connections since the last call."""
        peak, self._peak = self._peak, self._held
        return peak

    def enter(self, member: M) -> bool:
        """Take note of a connection, unless too many are being opened."""
        bounds, counts = self.bounds, self._present_of
        spare = min(_DOORWAY, bounds.connections_per_address) // 2
        if counts[member.owner] >= bounds.connections_per_address + spare:
            return False
        if len(self._present) >= bounds.connections + _DOORWAY and not self._make_way(member):
            return False
        self._present[member] = 0
        counts[member.owner] += 1
        return True

    def seat(self, member: M) -> str | None:
        """Give a connection a place; return why it cannot have one."""
        bounds, counts = self.bounds, self._seated_of
        if counts[member.owner] >= bounds.connections_per_address:
            return f"too many clients of one address; at most {bounds.connections_per_address}"
        if len(self.seated) >= bounds.connections:
            other = self._displaced(member)
            if other is None:
                return f"too many clients; at most {bounds.connections}"
            logger.info("a client of %s gives its place to one of %s", other.owner, member.owner)
            other.let_go("another client needs the place")
            self.rise(other)
        self.seated[member] = None
        counts[member.owner] += 1
        return None

    def rise(self, member: M) -> None:
        """Free a connection's place, if it has one."""
        if member in self.seated:
            del self.seated[member]
            _count_down(self._seated_of, member.owner)

    def leave(self, member: M) -> None:
        """Forget a connection."""
        self.rise(member)
        if member in self._present:
            self._held -= self._present.pop(member)
            _count_down(self._present_of, member.owner)

    def weigh(self, member: M) -> None:
        """Take note of what a connection holds; let others go while all hold too much."""
        if member not in self._present or member.leaving:
            return
        held = member.held()
        self._held += held - self._present[member]
        self._present[member] = held
        self._peak = max(self._peak, self._held)
        while self._held > self.bounds.memory:
            heaviest, self.was_full = self._heaviest(), True
            logger.warning(
                "clients hold more than %d MiB in all: one of %s, which holds %.1f MiB, is let go",
                self.bounds.memory // MIB,
                heaviest.owner,
                self._present[heaviest] / MIB,
            )
            heaviest.let_go("the server's memory for messages is full", now=True)
            self._held -= self._present[heaviest]
            self._present[heaviest] = 0

    def sweep(self) -> None:
        """Let those go that are overdue."""
        now = time.monotonic()
        for member in list(self._present):
            if reason := member.overdue(now):
                logger.info("a client of %s is let go: %s", member.owner, reason)
                member.let_go(reason)

    def _make_way(self, member: M) -> bool:
        """Cut off a connection that is being opened, of an address with more than the newcomer."""
        counts = self._present_of
        waiting = [m for m in self._present if m not in self.seated and not m.leaving]
        longest = min(waiting, key=lambda m: (-counts[m.owner], m.since), default=None)
        if longest is None or counts[longest.owner] <= counts[member.owner]:
            return False
        longest.let_go("others wait to come in", now=True)
        return True

    def _displaced(self, member: M) -> M | None:
        """Return who gives a place to a newcomer: a silent one, or one of those with most."""
        latest, counts = time.monotonic() - _GRACE_S, self._seated_of
        silent = [other for other in self.seated if not other.asked and other.since < latest]
        if silent:
            return min(silent, key=lambda other: (-counts[other.owner], other.since))
        owner, most = counts.most_common(1)[0]
        if most <= counts[member.owner] + 1:
            return None
        return min(_of(owner, self.seated), key=lambda m: (m.asked, m.busy, m.last))

    def _heaviest(self) -> M:
        """Return whoever holds most, of the address that does."""
        totals: Counter[str] = Counter()
        for member, held in self._present.items():
            totals[member.owner] += held
        owner = totals.most_common(1)[0][0]
        return max(_of(owner, self._present), key=self._present.__getitem__)


def _of[M: Member](owner: str, members: Iterable[M]) -> list[M]:
    return [member for member in members if member.owner == owner]


def _count_down(counts: Counter[str], owner: str) -> None:
    counts[owner] -= 1
    if not counts[owner]:
        del counts[owner]


def owner_of(host: str) -> str:
    """Return what stands for a client's address: for IPv6 the network, which is one client's."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_SITE), strict=False))
