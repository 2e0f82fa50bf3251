"""``metronome serve-component``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..coupling import registry
from ..errors import InputError


@click.command("serve-component")
@click.argument("name")
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="ADDRESS",
    help="unix:PATH or a loopback HOST:PORT.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML configuration to check at once.",
)
def command(name: str, listen: str, config: Path | None) -> None:
    """Host the model NAME as a component process.

    The orchestrator configures a session of it when it connects; --config only checks that a
    configuration would be accepted. NAME is one of `metronome components`, or module:Class.
    """
    from adapters.host.server import ListenError, serve

    try:
        model = registry.find(name)
    except registry.UnknownComponent as error:
        raise InputError("serve-component", "NAME", name, str(error)) from None
    if config is not None:
        _check(model, config)
    try:
        serve(model, listen)
    except ListenError as error:
        raise InputError("serve-component", "--listen", None, str(error)) from None
    os._exit(0)  # gRPC's threads may outlive a stopped server; nothing is left to flush


def _check(model: object, path: Path) -> None:
    import yaml

    from hwmodels.interface import ConfigError

    try:
        model(yaml.safe_load(path.read_text()) or {}, 0)  # type: ignore[operator]
    except yaml.YAMLError as error:
        raise InputError(str(path), "YAML", None, f"is malformed: {error}") from None
    except ConfigError as error:
        raise InputError(str(path), error.field, error.value, error.allowed) from None
