"""`dlr serve`: serve a policy to clients of openpi's and of vla-eval's WebSocket protocols."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UsageError

if TYPE_CHECKING:
    from eval_harness.remote.server import PolicyServer

MIB = 1 << 20


def serve(
    policy: str,
    /,
    protocol: str = "openpi",
    host: str = "127.0.0.1",
    port: int = 8000,
    batch: int | None = None,
    wait_ms: float = 5.0,
    execute: int | None = None,
    connections: int = 256,
    connections_per_address: int = 128,
    memory_mib: int = 48,
    max_message_mib: int = 8,
    policy_timeout: float = 600.0,
    silent_timeout: float = 120.0,
    idle_timeout: float = 1800.0,
    seed: int = 0,
    assets: Path | None = None,
) -> None:
    """Serve a policy until interrupted; `http://HOST:PORT/healthz` answers OK meanwhile.

    Args:
        policy: A policy, named as for `dlr eval`: `lerobot:PATH_OR_HUB_ID`, `random`, ...
        protocol: The protocol for which the policy is loaded; pictures are the client's care.
        host: Address to listen on. Others than loopback let others use the policy.
        port: Port; 0 for any that is free.
        batch: Requests answered together, at most; by default what the policy takes.
        wait_ms: Milliseconds for which a request waits for others, at most.
        execute: Actions of a chunk given to vla-eval's clients, one a step, before the policy
            looks again; by default what the protocol says, or all.
        connections: Clients at a time, at most.
        connections_per_address: Clients at a time of one address (IPv6: of one /64), at most.
        memory_mib: MiB that all clients' messages, waiting observations and replies may take
            together; two pictures of more than 224 pixels of each of 256 clients need more.
        max_message_mib: MiB of a message, at most.
        policy_timeout: Seconds for one answer of the policy; while one takes longer, requests get
            an error and `/healthz` says 503.
        silent_timeout: Seconds until a client's first observation; then it is let go.
        idle_timeout: Seconds for which a client may be silent after an answer.
        seed: The seed with which the policy is loaded.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
    """
    from eval_harness.policies import load_policy
    from eval_harness.protocols import PROTOCOLS
    from eval_harness.remote.server import PolicyServer, ServerConfig
    from eval_harness.remote.wire import Limits
    from simulation.assets.resolve import resolve_assets

    if protocol not in PROTOCOLS:
        raise UsageError(f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
    counts = (connections, connections_per_address, memory_mib, max_message_mib, batch, execute)
    if not 0 <= port < 1 << 16 or any(count is not None and count < 1 for count in counts):
        raise UsageError("--port must be 0 to 65535; counts and sizes must be at least 1")
    if not 0 <= wait_ms <= 10_000:
        raise UsageError("--wait-ms must be 0 to 10000")
    if not min(policy_timeout, silent_timeout, idle_timeout) > 0:
        raise UsageError("the timeouts must be more than 0 seconds")
    if memory_mib < max_message_mib:
        raise UsageError("--memory-mib must hold a message of --max-message-mib")
    logging.basicConfig(level=logging.WARNING, format="dlr serve: %(message)s")
    chosen, pack = PROTOCOLS[protocol], resolve_assets(assets) if assets else None
    config = ServerConfig(
        host=host,
        port=port,
        batch=batch,
        wait_ms=wait_ms,
        execute=execute or chosen.chunk,
        connections=connections,
        connections_per_address=connections_per_address,
        memory=memory_mib * MIB,
        silent_s=silent_timeout,
        idle_s=idle_timeout,
        policy_s=policy_timeout,
        limits=Limits(max_message_mib * MIB, 4 * max_message_mib * MIB),
    )
    loaded = load_policy(policy, chosen, seed, pack)
    try:
        asyncio.run(_serve(PolicyServer(loaded, config), policy))
    finally:
        loaded.close()


async def _serve(server: PolicyServer, name: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    started, loop = asyncio.Event(), asyncio.get_running_loop()
    task = asyncio.create_task(server.run(started))
    task.add_done_callback(lambda _: started.set())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await started.wait()
    if not task.done():
        _announce(server, name)
    try:
        await task
    except asyncio.CancelledError:
        print("stopped", flush=True)


def _announce(server: PolicyServer, name: str) -> None:
    host = server.config.host
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {name} to openpi://{shown}:{server.port} and vla-eval://{shown}:{server.port}")
    print(f"health: http://{shown}:{server.port}/healthz; Ctrl-C stops it", flush=True)
    if not _is_loopback(host):
        print(f"dlr serve: whoever reaches {host} can use this policy", file=sys.stderr, flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
