"""Who may speak to a component server: loopback and private sockets plain, all else over mutual TLS."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")
HEALTH = "/grpc.health.v1.Health/"


class ListenError(ValueError):
    """The address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class Security:
    """PEM bytes of our certificate and key; with ``authority`` clients need a certificate of it. ``token``:
    clients must send it. ``insecure``: anything may be listened on without TLS."""

    certificate: bytes | None = None
    key: bytes | None = None
    authority: bytes | None = None
    token: str | None = None
    insecure: bool = False

    def check(self, address: str) -> None:
        """Raises ListenError for an address that others can reach without TLS, or a token sent in the clear."""
        if self.certificate is None and not self.insecure and not address.startswith(("unix:", *LOOPBACK)):
            raise ListenError(
                f"{address}: without TLS (--tls-cert, --tls-key, --tls-ca) only unix:PATH, 127.0.0.1:PORT, "
                "localhost:PORT and [::1]:PORT are served, or with --insecure, in a network you trust"
            )
        if self.token is not None and self.certificate is None:
            raise ListenError(f"{address}: a token is taken over TLS only")

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
