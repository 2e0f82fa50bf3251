"""``metronome deploy``."""

from __future__ import annotations

from pathlib import Path

import click

from ..scenario.loading import load
from .answers import json_option, written

OUTPUT = click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the manifests."
)
SET = click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
IMAGE = click.option("--image", default="metronome", show_default=True, help="The orchestrator's image.")


@click.group("deploy")
def command() -> None:
    """Write the manifests that run a scenario's components in containers, and the orchestrator beside them.

    Images, limits and GPUs are those of `components.NAME.container` in the scenario; images are built from
    deploy/adapter.Dockerfile and deploy/orchestrator.Dockerfile.
    """


@command.command("compose")
@click.argument("scenario")
@OUTPUT
@SET
@IMAGE
@json_option
def compose(scenario: str, output: Path, overrides: tuple[str, ...], image: str, as_json: bool) -> None:
    """A Compose file: no container has a network; components listen on sockets in shared volumes."""
    from ..deployment.compose import write_compose

    loaded, folder = load(scenario, overrides)
    then = f"docker-compose -f {output / 'docker-compose.yaml'} up --exit-code-from orchestrator"
    written(write_compose(loaded, folder, output, image), then, as_json)


@command.command("k8s")
@click.argument("scenario")
@OUTPUT
@SET
@IMAGE
@click.option("--no-secrets", is_flag=True, help="Do not make certificates: you have your own Secrets.")
@json_option
def k8s(scenario: str, output: Path, overrides: tuple[str, ...], image: str, no_secrets: bool, as_json: bool) -> None:
    """Kubernetes manifests: Deployments, Services, a Job, NetworkPolicies, and Secrets with certificates."""
    from ..deployment.kubernetes import write_kubernetes

    loaded, folder = load(scenario, overrides)
    made = write_kubernetes(loaded, folder, output, image, secrets=not no_secrets)
    written(made, f"kubectl apply -f {output}", as_json)
