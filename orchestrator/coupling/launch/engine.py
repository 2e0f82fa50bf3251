"""The container engine: reached, its errors named, what killed runs have left on it removed."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException

from ...errors import ComponentFailure
from . import owner

LABEL = "metronome"  # metronome.run, .component, .owner, .host


def socket_of(client: Any) -> str:
    """The path of the Unix socket that it speaks to its engine through; empty where it does otherwise."""
    for prefix, adapter in client.api.adapters.items():
        if prefix == "http+docker://":
            return str(adapter.socket_path)
    return ""


def engine(component: str) -> Any:
    """A client of the container engine; raises ComponentFailure where none answers."""
    try:
        client = docker.from_env(timeout=30)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        why = f"needs a container engine, and none answers ({reason(error)}); is Docker running, is DOCKER_HOST right?"
        raise ComponentFailure(component, why, "starting") from None
    return client


def sweep(client: Any) -> list[str]:
    """Remove containers and networks whose owner on this machine is gone; returns their names."""
    found = []
    filters = {"label": [f"{LABEL}.owner", f"{LABEL}.host={platform.node()}"]}
    for made in client.containers.list(all=True, ignore_removed=True, filters=filters):
        if not owner.alive(made.labels[f"{LABEL}.owner"]):
            with contextlib.suppress(APIError):  # gone, or its own keeper is removing it
                made.remove(v=True, force=True)
            found.append(made.name)
    for network in client.networks.list(filters=filters):
        if not owner.alive(network.attrs["Labels"][f"{LABEL}.owner"]):
            with contextlib.suppress(APIError):
                network.remove()
            found.append(network.name)
    return found


def tagged(name: str) -> tuple[str, str | None]:
    """Repository and tag: without one docker would pull all."""
    if "@" in name or ":" in name.rpartition("/")[2]:
        return name, None
    return name, "latest"


@contextmanager
def naming(component: str, doing: str) -> Iterator[None]:
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        raise ComponentFailure(component, reason(error), doing) from None


def reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error).strip()
