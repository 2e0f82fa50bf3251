"""Running a component server: where it listens, how it says so, and how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2_grpc as pb_grpc
from metronome.component.v1.frames import beside
from metronome.hwmodels.process import LIFE

from . import frames
from .security import ListenError, Security
from .service import MOST_SESSIONS, ComponentService

COOKIE = "METRONOME_COMPONENT_COOKIE"  # set by an orchestrator that started this process
SERVICE = "metronome.component.v1.ComponentService"
GRACE_S = 5.0
ENDS = (signal.SIGTERM, signal.SIGINT)


def start(
    model: Any,
    address: str,
    security: Security | None = None,
    health_address: str = "",
    own: Mapping[str, Any] | None = None,
    framed: bool = False,
) -> tuple[grpc.Server, health.HealthServicer, str]:
    """Serve ``model`` on ``unix:PATH`` or ``HOST:PORT`` (port 0 = any); returns the real address.

    ``own``: the server's part of every session's configuration.
    ``health_address``: the health service alone there, too, without TLS, for probes that know none
    (Kubernetes). ``framed``: as long as this process lives messages are taken beside a Unix socket, too
    (`frames`). Raises ListenError.
    """
    security = security or Security()
    security.check(address)
    for one in (address, health_address):
        _check_port(one)
    server = grpc.server(
        ThreadPoolExecutor(max_workers=MOST_SESSIONS + 8),  # a session's stream has one to itself
        interceptors=security.interceptors(),
        options=[
            *codec.CHANNEL_OPTIONS,
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5000),
            ("grpc.http2.max_ping_strikes", 0),  # however often a client asks, it is no attack
            ("grpc.so_reuseport", 0),
        ],
    )
    service = ComponentService(model, own)
    pb_grpc.add_ComponentServiceServicer_to_server(service, server)
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    try:
        port = security.add_port(server, address)
        if health_address:
            _start_health(checks, health_address)
    except (RuntimeError, ValueError) as error:
        raise ListenError(f"{address}: {error}") from None
    if framed and address.startswith("unix:") and security.certificate is None:
        frames.listen(service, address)
    server.start()
    for name in ("", SERVICE):
        checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    if not address.startswith("unix:"):
        address = f"{address.rpartition(':')[0]}:{port}"
    return server, checks, address


def _check_port(address: str) -> None:
    """Raises ListenError: gRPC would take what is left of a number that is too large."""
    port = address.rpartition(":")[2]
    if address and not address.startswith("unix:") and (not port.isascii() or not port.isdigit() or int(port) > 65535):
        raise ListenError(f"{address}: a port is a number from 0 to 65535")


def _start_health(checks: health.HealthServicer, address: str) -> None:
    """A server of its own, as TLS is a matter of the port's server; it ends with the process."""
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    server.add_insecure_port(address)
    server.start()
    _HEALTH_SERVERS.append(server)


_HEALTH_SERVERS: list[grpc.Server] = []  # kept: a server that is forgotten stops


def handshake(address: str) -> str:
    """The one line a started component prints: contract version, minor, network, address, protocol."""
    network, _, path = address.partition(":") if address.startswith("unix:") else ("tcp", "", address)
    return f"1|{codec.PROTOCOL_MINOR}|{network}|{path}|grpc"


def _ending() -> tuple[int, int]:
    """A pipe: what comes out of its first end is a reason to end.

    A signal is written by the interpreter's own handler, in whichever thread it comes. A handler in Python would run
    only when the main thread does, and one that waits for a lock may have gone to sleep an instant before.
    """
    ended, ending = os.pipe()
    os.set_blocking(ending, False)
    signal.set_wakeup_fd(ending, warn_on_full_buffer=False)
    for number in ENDS:
        signal.signal(number, lambda *_: None)
    return ended, ending


def _await_orphaned(ending: int) -> None:
    sys.stdin.buffer.read()
    os.write(ending, bytes([signal.SIGTERM]))


def serve(
    model: Any,
    address: str,
    security: Security | None = None,
    health_address: str = "",
    own: Mapping[str, Any] | None = None,
) -> None:
    """Until SIGTERM or SIGINT or, when an orchestrator started this process, until that is gone."""
    server, checks, address = start(model, address, security, health_address, own, framed=True)
    os.environ.setdefault(LIFE, "0")
    ended, ending = _ending()
    if COOKIE in os.environ:
        print(handshake(address), flush=True)
        # What models print later is noise: it goes where stderr goes.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        # The orchestrator holds the other end of stdin: its end, however it comes, closes it.
        threading.Thread(target=_await_orphaned, args=(ending,), daemon=True).start()
    else:
        print(f"{model.description.name} serves on {address}; Ctrl-C ends it", flush=True)
    while os.read(ended, 1)[0] not in ENDS:  # a model may handle signals of its own
        pass
    checks.enter_graceful_shutdown()
    server.stop(GRACE_S).wait()
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        path.unlink(missing_ok=True)
        beside(address).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # only if this was the last socket of a run whose orchestrator is gone


__all__ = ["ListenError", "Security", "handshake", "serve", "start"]
