"""``python -m metronome.adapters.host.health [ADDRESS]``: exit 0 if a component there says SERVING. For containers."""

from __future__ import annotations

import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SOCKET = Path("/run/metronome/component.sock")  # where a container's component listens,
PLAIN = "127.0.0.1:50052"  # or, if it serves TLS, tells its health
TIMEOUT_S = 2.0


def serving(address: str) -> bool:
    """Whether the component at ``unix:PATH`` or ``HOST:PORT`` answers and says that it serves."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    default = f"unix:{SOCKET}" if SOCKET.exists() else PLAIN
    sys.exit(0 if serving(sys.argv[1] if len(sys.argv) > 1 else default) else 1)
