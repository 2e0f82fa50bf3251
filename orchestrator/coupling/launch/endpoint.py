"""Where a component answers, and how to speak to it there: plain on loopback and private sockets, else TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from ...errors import ComponentFailure
from ..interrupts import DOOR

REFUSALS = 3  # of a TLS handshake, one after another, until it is not waited for any longer


def handshake_address(line: str) -> str | None:
    """The address in a started component's handshake line (1|MINOR|unix or tcp|ADDRESS|grpc); None if it is none."""
    parts = line.split("|")
    if len(parts) != 5 or parts[0] != "1" or parts[4] != "grpc":
        return None
    return f"unix:{parts[3]}" if parts[2] == "unix" else parts[3]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM bytes: the authority the component's certificate is of, our own certificate and key, if it asks for one."""

    authority: bytes
    certificate: bytes | None = None
    key: bytes | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``unix:PATH`` or ``HOST:PORT``; ``token`` goes with every call, over TLS only."""

    address: str
    tls: Tls | None = None
    token: str | None = None

    def channel(self, options: tuple[tuple[str, object], ...] = ()) -> grpc.Channel:
        if self.tls is None:
            return grpc.insecure_channel(self.address, options=options)
        credentials = grpc.ssl_channel_credentials(self.tls.authority, self.tls.key, self.tls.certificate)
        if self.token is not None:
            credentials = grpc.composite_channel_credentials(
                credentials, grpc.access_token_call_credentials(self.token)
            )
        if self.tls.server_name:
            options = (*options, ("grpc.ssl_target_name_override", self.tls.server_name))
        return grpc.secure_channel(self.address, credentials, options=options)

    def await_health(self, component: str, limit_s: float, fate: Callable[[], tuple[str, str]]) -> None:
        """Until its health service says SERVING, or it answers that it has none. Raises ComponentFailure after
        ``limit_s``, or at once when
        ``fate`` tells that what hosts it is gone (what happened, last words), or TLS is refused."""
        deadline = time.monotonic() + limit_s
        refused = 0

        def check(stub: health_pb2_grpc.HealthStub) -> None:
            nonlocal refused
            gone, words = fate()
            if gone:
                raise ComponentFailure(component, gone, "starting", words, "dead")
            left = max(0.1, deadline - time.monotonic())
            try:
                with DOOR:
                    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=min(left, 5.0))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return  # it has no health service: it answers, and may be asked
                refused = refused + 1 if "handshake failed" in (error.details() or "").lower() else 0
                if refused >= REFUSALS or error.code() is grpc.StatusCode.UNAUTHENTICATED:
                    raise ComponentFailure(component, self._refused(error), "connecting", words) from None
                raise
            if answer.status != health_pb2.HealthCheckResponse.SERVING:
                raise LookupError("says that it is not serving")

        retrying = Retrying(
            stop=stop_after_delay(limit_s),
            wait=wait_exponential(multiplier=0.05, max=0.5),
            retry=retry_if_exception_type((grpc.RpcError, LookupError)),
        )
        with self.channel(
            (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))
        ) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                for attempt in retrying:
                    with attempt:
                        check(stub)
            except RetryError as error:
                gone, words = fate()
                what = gone or f"never became healthy within {limit_s:g} s ({self._last(error)})"
                code = "dead" if gone else "timeout"
                raise ComponentFailure(component, what, "starting", words, code) from None

    def _last(self, error: RetryError) -> str:
        cause = error.last_attempt.exception()
        if isinstance(cause, grpc.RpcError):
            return self._refused(cause)
        return str(cause)

    def _refused(self, error: grpc.RpcError) -> str:
        """Why it cannot be spoken to, in words that say what to do."""
        details = error.details() or error.code().name
        low = details.lower().replace("_", " ")
        if "certificate has expired" in low:
            return f"its certificate has expired ({self.address})"
        if "certificate required" in low:
            return f"it asks for our certificate: give address.certificate and address.key ({self.address})"
        if "certificate verify failed" in low or "unknown ca" in low:
            return f"its certificate, or ours, is not of the other's authority ({self.address}): {_reason(details)}"
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return f"it refuses our token: {details}"
        if self.tls is None and ("socket closed" in low or "connection reset" in low):
            return f"it closes a connection without TLS; if it serves TLS, give address.ca ({self.address})"
        return f"{error.code().name.lower().replace('_', ' ')}: {details}"


def _reason(details: str) -> str:
    return details.rpartition("handshake failed")[2].strip(" :()") or details
