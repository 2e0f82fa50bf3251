"""Components that somebody else has started: connected to, never ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ...errors import InputError
from ..components import ComponentSpec
from ..link import Link
from ..recovery import connected
from .endpoint import Endpoint, Tls


class Stranger:
    """A host that is not ours: nothing is known of it but what it answers. Who has started it may start it anew."""

    pid, image = 0, ""

    def __init__(self, spec: ComponentSpec) -> None:
        self._spec = spec

    def endpoint(self) -> Endpoint:
        endpoint = endpoint_of(self._spec)
        endpoint.await_health(self._spec.name, self._spec.options.start_timeout_s, self.post_mortem)
        return endpoint

    def give_up(self) -> None:
        pass

    def kill(self) -> None:
        pass

    def last_words(self) -> str:
        return ""

    def post_mortem(self) -> tuple[str, str]:
        return "", ""


def open_addresses(specs: Sequence[ComponentSpec]) -> AbstractContextManager[dict[str, Link]]:
    """Connect to each, waiting for those that are still starting. Raises InputError, ComponentFailure."""
    return connected(specs, lambda spec, life: Stranger(spec))


def endpoint_of(spec: ComponentSpec) -> Endpoint:
    """What its options say, files read. Raises InputError for a file or variable that is not there."""
    options = spec.options.address
    if options is None:
        raise AssertionError("the scenario's schema asks for an address")

    def read(field: str, name: str | None) -> bytes | None:
        if name is None:
            return None
        try:
            return (spec.folder / name).read_bytes()
        except OSError as error:
            where = f"components.{spec.name}.address.{field}"
            raise InputError("scenario", where, name, f"cannot be read: {error.strerror}") from None

    authority = read("ca", options.ca)
    token: str | None = None
    if options.token_file:
        token = (read("token_file", options.token_file) or b"").decode().strip()
    if options.token_env:
        token = os.environ.get(options.token_env, "").strip()
    if token == "":
        field, value = ("token_file", options.token_file) if options.token_file else ("token_env", options.token_env)
        raise InputError("scenario", f"components.{spec.name}.address.{field}", value, "holds no token")
    if authority is None:
        return Endpoint(options.target)
    certificate, key = read("certificate", options.certificate), read("key", options.key)
    return Endpoint(options.target, Tls(authority, certificate, key, options.server_name), token)
