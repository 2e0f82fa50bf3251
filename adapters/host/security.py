"""Who may speak to a component server: private sockets plain, every port over TLS that knows its client."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

HEALTH = "/grpc.health.v1.Health/"


class ListenError(ValueError):
    """The address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Security:
    """PEM bytes of our certificate and key; with ``authority`` clients need a certificate of it. ``token``:
    clients must send it. ``insecure``: whoever reaches the address may use it."""

    certificate: bytes | None = None
    key: bytes | None = None
    authority: bytes | None = None
    token: str | None = None
    insecure: bool = False

    def check(self, address: str) -> None:
        """Raises ListenError for an address where strangers would be served, or a token sent in the clear."""
        if self.token is not None and self.certificate is None:
            raise ListenError(f"{address}: a token is taken over TLS only")
        if self.insecure:
            return
        if address.startswith("unix:"):
            _check_private(Path(address.removeprefix("unix:")).absolute().parent)
        elif self.certificate is None or (self.authority is None and self.token is None):
            raise ListenError(
                f"{address}: a port, of loopback too, is open to whoever reaches it: clients must show a certificate "
                "(--tls-cert, --tls-key, --tls-ca) or a token (--tls-cert, --tls-key, --token-file); or listen on "
                "unix:PATH, or say --insecure, in a network you trust"
            )

    def add_port(self, server: grpc.Server, address: str) -> int:
        if self.certificate is None or self.key is None:
            return int(server.add_insecure_port(address))
        credentials = grpc.ssl_server_credentials(
            [(self.key, self.certificate)], self.authority, require_client_auth=self.authority is not None
        )
        return int(server.add_secure_port(address, credentials))

    def interceptors(self) -> list[grpc.ServerInterceptor]:
        return [] if self.token is None else [TokenCheck(self.token)]


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc is untyped
    """Refuses calls without the token; the health service tells nothing worth one."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method.startswith(HEALTH):
            return handler
        sent = dict(details.invocation_metadata).get("authorization", "")
        if hmac.compare_digest(sent.encode() if isinstance(sent, str) else sent, self._expected):
            return handler

        def refuse(_: Any, context: grpc.ServicerContext) -> Any:
            context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong" if sent else "a token is missing"
            )

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(refuse)
        return grpc.unary_unary_rpc_method_handler(refuse)


def _check_private(folder: Path) -> None:
    """Raises ListenError for a folder that others may enter; one that is not there is made, with mode 0700."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise ListenError(f"unix:{folder}: cannot be made: {error.strerror}") from None
    if mode & 0o077:
        raise ListenError(
            f"{folder} has mode {mode:04o}: a socket is served in a folder of mode 0700, which others cannot enter "
            "(chmod 700), or with --insecure"
        )
