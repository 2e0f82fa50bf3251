"""``metronome certs``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from .answers import json_option, written


@click.command("certs")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("certs"), show_default=True
)
@click.option(
    "--days", type=click.IntRange(min=1, max=365), default=7, show_default=True, help="How long they are good."
)
@click.option("--host", "hosts", multiple=True, help="A further host name or address the certificates are good for.")
@json_option
def command(names: tuple[str, ...], output: Path, days: int, hosts: tuple[str, ...], as_json: bool) -> None:
    """Make an authority, a certificate for each component NAME, and one for the orchestrator (`client`).

    \b
      metronome certs nvlink --host sim1.lab
      metronome serve-component fabric --listen 0.0.0.0:50051 \\
          --tls-cert certs/nvlink.pem --tls-key certs/nvlink.key --tls-ca certs/ca.pem
    and in the scenario
      components: {nvlink: {run: address, address: {target: "sim1.lab:50051",
        ca: certs/ca.pem, certificate: certs/client.pem, key: certs/client.key}}}

    The authority's own key is thrown away: nobody can make further certificates of it.
    """
    from ..coupling.launch.certificates import make_certificates

    for name in names:
        if name in ("ca", "client"):
            raise InputError("certs", "NAME", name, "is made anyway, for the authority and the orchestrator")
        if names.count(name) > 1:
            raise InputError("certs", "NAME", name, "is there twice")
    written(make_certificates(output, names, days, hosts), "", as_json)
