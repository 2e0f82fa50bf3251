"""``metronome serve-component``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..coupling import registry
from ..errors import InputError
from ..scenario.yaml import parse_value, read_mapping

MISSING = "Field required"  # pydantic's words
PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("serve-component")
@click.argument("name")
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="ADDRESS",
    help="unix:PATH (in a folder of mode 0700), or HOST:PORT with TLS and --tls-ca or --token-file.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Our own configuration (YAML): what no client may choose, such as programs and paths, comes from here.",
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="One field of it (a YAML value).")
@click.option("--tls-cert", type=PEM, help="Our certificate (PEM): serve over TLS. On a port this is a must.")
@click.option("--tls-key", type=PEM, help="Its key.")
@click.option("--tls-ca", type=PEM, help="Clients need a certificate of this authority.")
@click.option("--token-file", type=PEM, help="Clients must send the token in this file (over TLS).")
@click.option("--insecure", is_flag=True, help="Serve whoever reaches the address: in a network you trust.")
@click.option(
    "--health", default="", metavar="HOST:PORT", help="The health service there, too, without TLS, for probes."
)
def command(
    name: str,
    listen: str,
    config: Path | None,
    settings: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    token_file: Path | None,
    insecure: bool,
    health: str,
) -> None:
    """Host the model NAME as a component process.

    The orchestrator configures a session of it when it connects, but never says what runs or is read
    here: commands, programs, interpreters and paths come from --config and --set, which are checked at
    once. NAME is one of `metronome components`, or module:Class.
    """
    from metronome.adapters.host.server import ListenError, Security, serve

    try:
        model = registry.find(name)
    except registry.UnknownComponent as error:
        raise InputError("serve-component", "NAME", name, str(error)) from None
    own = _own(model, config, settings)
    if bool(tls_cert) != bool(tls_key) or (tls_ca and not tls_cert):
        raise InputError("serve-component", "--tls-cert, --tls-key", None, "belong together; --tls-ca needs both")
    try:
        token = token_file.read_text().strip() if token_file else None
    except UnicodeDecodeError as error:
        raise InputError("serve-component", "--token-file", str(token_file), f"is no text: {error.reason}") from None
    if token == "":
        raise InputError("serve-component", "--token-file", str(token_file), "is empty")
    certificate, key, authority = (path.read_bytes() if path else None for path in (tls_cert, tls_key, tls_ca))
    try:
        serve(model, listen, Security(certificate, key, authority, token, insecure), health, own)
    except ListenError as error:
        raise InputError("serve-component", "--listen", None, str(error)) from None
    os._exit(0)  # gRPC's threads may outlive a stopped server; nothing is left to flush


def _own(model: Any, path: Path | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """The server's own configuration; what is in it must be right, what is missing clients may send."""
    from metronome.adapters.host.server import COOKIE
    from metronome.hwmodels.interface import ConfigError

    own = read_mapping(path) if path else {}
    for setting in settings:
        field, separator, text = setting.partition("=")
        if not separator or not field:
            raise InputError("serve-component", "--set", setting, "must be FIELD=VALUE")
        own[field] = parse_value("--set", text)
    try:
        if own and COOKIE not in os.environ:  # an orchestrator asks for a session, and says what is wrong itself
            model(own, 0)
    except ConfigError as error:
        if error.allowed != MISSING:
            raise InputError(str(path or "--set"), error.field, error.value, error.allowed) from None
    return own
