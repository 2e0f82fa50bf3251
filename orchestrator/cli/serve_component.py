"""``metronome serve-component``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..coupling import registry
from ..errors import InputError

PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("serve-component")
@click.argument("name")
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="ADDRESS",
    help="unix:PATH or HOST:PORT; beyond loopback with TLS.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML configuration to check at once.",
)
@click.option("--tls-cert", type=PEM, help="Our certificate (PEM): serve over TLS. Beyond loopback this is a must.")
@click.option("--tls-key", type=PEM, help="Its key.")
@click.option("--tls-ca", type=PEM, help="Clients need a certificate of this authority.")
@click.option("--token-file", type=PEM, help="Clients must send the token in this file (over TLS).")
@click.option("--insecure", is_flag=True, help="Listen anywhere without TLS: in a network you trust.")
@click.option(
    "--health", default="", metavar="HOST:PORT", help="The health service there, too, without TLS, for probes."
)
def command(
    name: str,
    listen: str,
    config: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    token_file: Path | None,
    insecure: bool,
    health: str,
) -> None:
    """Host the model NAME as a component process.

    The orchestrator configures a session of it when it connects; --config only checks that a
    configuration would be accepted. NAME is one of `metronome components`, or module:Class.
    """
    from metronome.adapters.host.server import ListenError, Security, serve

    try:
        model = registry.find(name)
    except registry.UnknownComponent as error:
        raise InputError("serve-component", "NAME", name, str(error)) from None
    if config is not None:
        _check(model, config)
    if bool(tls_cert) != bool(tls_key) or (tls_ca and not tls_cert):
        raise InputError("serve-component", "--tls-cert, --tls-key", None, "belong together; --tls-ca needs both")
    token = token_file.read_text().strip() if token_file else None
    if token == "":
        raise InputError("serve-component", "--token-file", str(token_file), "is empty")
    certificate, key, authority = (path.read_bytes() if path else None for path in (tls_cert, tls_key, tls_ca))
    try:
        serve(model, listen, Security(certificate, key, authority, token, insecure), health)
    except ListenError as error:
        raise InputError("serve-component", "--listen", None, str(error)) from None
    os._exit(0)  # gRPC's threads may outlive a stopped server; nothing is left to flush


def _check(model: object, path: Path) -> None:
    import yaml
    from metronome.hwmodels.interface import ConfigError

    try:
        model(yaml.safe_load(path.read_text()) or {}, 0)  # type: ignore[operator]
    except yaml.YAMLError as error:
        raise InputError(str(path), "YAML", None, f"is malformed: {error}") from None
    except ConfigError as error:
        raise InputError(str(path), error.field, error.value, error.allowed) from None
